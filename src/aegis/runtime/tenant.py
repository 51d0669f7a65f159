"""Everything that one tenant's decisions read, as one immutable value: a decision sees one whole version."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.identity.directory import Directory
from aegis.model.contract import Contract
from aegis.model.decision import Guard, PolicyRef
from aegis.policy.ir import Policy
from aegis.policy.memory import Memory
from aegis.runtime.judge import Engine, EngineJudge

_NOTHING = Memory((), b"")


class Ruling(Struct, frozen=True, kw_only=True):
    """A policy set with its data, and where it came from: the version `number` of the registry, or 0 for the tenant's files.

    `revision` is that of its bundle, if it came in one.
    """

    policy: Policy
    data: dict[str, Any]
    ref: PolicyRef
    number: int = 0
    sha256: str = ""
    revision: str = ""


class Tenant(Struct, frozen=True, kw_only=True):
    """Directory, contracts and guards of a tenant.

    `contracts` maps a tool to its current contract; `by_digest` also holds older versions. `redaction_key` keys the hashes that
    stand in for redacted values. `memory` says what the policy needs to know of the past; `judge` is asked before every decision
    about its tools, if `engine` decides about any. `enforced` is the set that the guards were made from, `shadow` the one that is
    only recorded.
    """

    name: str
    directory: Directory
    contracts: Mapping[str, Contract]
    by_digest: Mapping[str, Contract]
    guards: tuple[Guard, ...]
    policy: PolicyRef
    environment: str
    redaction_key: bytes
    memory: Memory = _NOTHING
    engine: Engine | None = None
    judge: EngineJudge | None = None
    enforced: Ruling | None = None
    shadow: Ruling | None = None


class Snapshot:
    """The tenants that this process serves; replaced whole by one assignment."""

    def __init__(self, tenants: Mapping[str, Tenant]) -> None:
        self._tenants = tenants

    def get(self, tenant: str) -> Tenant | None:
        """The tenant, or `None` when it is not served here."""
        return self._tenants.get(tenant)

    def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204 - a plain iterator
        return iter(self._tenants.values())

    def swap(self, tenants: Mapping[str, Tenant]) -> None:
        """Serve `tenants` from now on; decisions under way keep the values that they hold."""
        self._tenants = tenants

    def put(self, made: Tenant, *, base: Tenant) -> None:
        """Serve what `made` changes of `base`, on top of what serves now: something else of the tenant may have changed meanwhile.

        Call it from the event loop.
        """
        now = self._tenants.get(made.name, base)
        names = [name for name in Tenant.__struct_fields__ if getattr(made, name) is not getattr(base, name)]
        changed = {name: getattr(made, name) for name in names}
        if "guards" in changed and now.guards is not base.guards:
            changed["guards"] = _merged(base.guards, made.guards, now.guards)
        self.swap({**self._tenants, made.name: replace(now, **changed)})


def _merged(base: tuple[Guard, ...], made: tuple[Guard, ...], now: tuple[Guard, ...]) -> tuple[Guard, ...]:
    """The guards that were made, but those that only the present changed. A tenant has at most one guard of a type."""
    before, present = {type(guard): guard for guard in base}, {type(guard): guard for guard in now}
    return tuple(present.get(type(guard), guard) if before.get(type(guard)) is guard else guard for guard in made)
