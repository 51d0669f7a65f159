"""Sealed credentials of tenants: kept in the store under a data key, opened here, and followed while the gateway serves.

A credential is a row of its tenant. The secret is sealed with a data key of that tenant, and tied to tenant, name and the origin of
the server that it is for: moved to another tenant, name or server, it does not open. Every change is an event of the tenant that
says who did what to which name, and never holds the secret. A process reads the rows that its contracts name again and again, so
that a credential is replaced or withdrawn everywhere within a second, without a restart.

What does not open is not there: it is logged once, and a call that needs it is not sent.
"""

import logging
from collections.abc import Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError, SealError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Payload, Put, Require, Row, Unit
from aegis.model.contract import Contract
from aegis.model.credential import check_secret, is_name, origin_of
from aegis.model.event import Event
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.tenant import Snapshot, Tenant
from aegis.runtime.vault import Vault

log = logging.getLogger("aegis.credentials")
KIND = "credential"
SUBJECT = "credentials"
EVERY_SECONDS = 0.4
ATTEMPTS = 5
_PAGE = 1000


class Sealed(Struct, frozen=True, kw_only=True):
    """A credential as it is stored. `origin` is the server that it is for; a withdrawn one holds no bytes."""

    name: str
    origin: str
    by: str
    at: datetime
    key_id: str = ""
    nonce: bytes = b""
    ciphertext: bytes = b""


class Listed(Struct, frozen=True, kw_only=True):
    """What may be told of a credential. `version` counts its changes."""

    tenant: str
    name: str
    origin: str
    by: str
    at: datetime
    version: int
    tools: tuple[str, ...] = ()


class _Opened(Struct, frozen=True):
    version: int
    origin: str
    secret: str


class SealedCredentials:
    """The sealed credentials of the tenants that this process serves: `model.credential.Credentials`, and how they change."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, snapshot: Snapshot) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._snapshot = snapshot
        self._opened: Mapping[tuple[str, str], _Opened] = {}
        self._closed: set[tuple[str, str, int]] = set()
        self._named: dict[str, tuple[Mapping[str, Contract], tuple[str, ...]]] = {}

    def secret(self, tenant: str, name: str, url: str) -> str | None:
        """As the port says."""
        found = self._opened.get((tenant, name))
        return found.secret if found is not None and found.origin == origin_of(url) else None

    async def refresh(self) -> None:
        """Read what the contracts of the served tenants name."""
        opened: dict[tuple[str, str], _Opened] = {}
        for tenant in self._snapshot:
            names = self._names(tenant)
            rows = await self._store.rows(tenant.name, [(KIND, name) for name in names]) if names else {}
            for row in rows.values():
                found = await self._open(row) if row.state == "set" else None
                if found is not None:
                    opened[tenant.name, row.id] = found
        self._opened = opened

    async def put(self, tenant: str, name: str, secret: str, *, url: str, by: str, statement: str) -> int:
        """Seal a secret as the tenant's credential `name` for the server of `url`; its version. Whatever it was before is gone."""
        if not is_name(name):
            raise ConfigError(f"a credential cannot be called `{name[:80]}`: expected up to 64 of a-z, 0-9, `.`, `_` and `-`")
        origin = origin_of(url)
        sealed = await self._vault.seal(tenant, _place(name), origin, check_secret(secret).encode(), SUBJECT)
        kept = Sealed(
            name=name,
            origin=origin,
            by=by,
            at=self._clock.now(),
            key_id=sealed.key_id,
            nonce=sealed.nonce,
            ciphertext=sealed.ciphertext,
        )
        return await self._write(tenant, kept, "set", statement)

    async def remove(self, tenant: str, name: str, *, by: str, statement: str) -> bool:
        """Withdraw a credential; false when there is none of this name."""
        row = (await self._store.rows(tenant, [(KIND, name)])).get((KIND, name))
        if row is None or row.state != "set":
            return False
        former = msgspec.json.decode(row.body, type=Sealed)
        kept = Sealed(name=name, origin=former.origin, by=by, at=self._clock.now())
        await self._write(tenant, kept, "removed", statement)
        return True

    async def unset(self, tenant: str) -> list[tuple[str, str]]:
        """The names in the tenant's contracts that no call could use now, each with the reason."""
        await self.refresh()
        found: dict[str, str] = {}
        for known in self._snapshot:
            for contract in known.by_digest.values() if known.name == tenant else ():
                wanted, url = contract.upstream.credential, contract.upstream.url
                if wanted is not None and wanted.sealed and self.secret(tenant, wanted.sealed, url) is None:
                    what = f"tool `{contract.name}` needs it for {origin_of(url)}, where it is not set"
                    found[wanted.sealed] = f"{what}: run `aegis credentials set {wanted.sealed}`"
        return sorted(found.items())

    async def listed(self, tenant: str, contracts: Mapping[str, Contract]) -> tuple[Listed, ...]:
        """The credentials that are set, each with the tools whose contracts name it."""
        found: list[Row] = []
        while rows := await self._store.find(tenant, KIND, state="set", after=found[-1].id if found else "", limit=_PAGE):
            found += rows
        tools = named_by(contracts)
        return tuple(_listed(row, tools.get(row.id, ())) for row in found)

    def _names(self, tenant: Tenant) -> tuple[str, ...]:
        """The names in a tenant's contracts, found once for each set of contracts: there may be many tenants."""
        known = self._named.get(tenant.name)
        if known is None or known[0] is not tenant.by_digest:
            known = self._named[tenant.name] = (tenant.by_digest, tuple(sorted(named_by(tenant.by_digest))))
        return known[1]

    async def _open(self, row: Row) -> _Opened | None:
        known = self._opened.get((row.tenant, row.id))
        if known is not None and known.version == row.version:
            return known
        try:
            kept = msgspec.json.decode(row.body, type=Sealed)
            payload = Payload(
                event_id=_place(row.id), name=kept.origin, key_id=kept.key_id, nonce=kept.nonce, ciphertext=kept.ciphertext
            )
            return _Opened(row.version, kept.origin, (await self._vault.open(row.tenant, payload)).decode())
        except (msgspec.DecodeError, SealError, ConfigError) as error:
            if (place := (row.tenant, row.id, row.version)) not in self._closed:
                self._closed.add(place)
                log.error("unusable", extra={"tenant": row.tenant, "credential": row.id, "code": type(error).__name__})  # noqa: TRY400 - once, in a line
            return None

    async def _write(self, tenant: str, kept: Sealed, state: str, statement: str) -> int:
        for _ in range(ATTEMPTS):
            row = (await self._store.rows(tenant, [(KIND, kept.name)])).get((KIND, kept.name))
            version = row.version if row else 0
            data = {
                "name": kept.name,
                "state": state,
                "origin": kept.origin,
                "version": version + 1,
                "by": kept.by,
                "statement": statement,
            }
            event = Event(id=f"credential:{ids.uuid7(kept.at)}", type="credential", tenant=tenant, time=kept.at, data=data)
            unit = Unit(
                tenant=tenant,
                events=(event,),
                requires=(Require(kind=KIND, id=kept.name, version=version),),
                writes=(Put(kind=KIND, id=kept.name, body=msgspec.json.encode(kept), state=state),),
            )
            if isinstance(await self._store.commit(unit), Committed):
                return version + 1
        raise ConfigError("others are changing the same credential at this moment: look at `aegis credentials list` and try again")


def named_by(contracts: Mapping[str, Contract]) -> dict[str, tuple[str, ...]]:
    """The sealed credentials that contracts name, each with the tools that do."""
    found: dict[str, set[str]] = {}
    for contract in contracts.values():
        wanted = contract.upstream.credential
        if wanted is not None and wanted.sealed:
            found.setdefault(wanted.sealed, set()).add(contract.name)
    return {name: tuple(sorted(tools)) for name, tools in found.items()}


def server_of(name: str, contracts: Mapping[str, Contract]) -> str:
    """The one server to which contracts send the credential `name`.

    Raises:
        ConfigError: No contract names it, or several do for different servers.
    """
    origins = {
        origin_of(contract.upstream.url)
        for contract in contracts.values()
        if contract.upstream.credential is not None and contract.upstream.credential.sealed == name
    }
    if len(origins) != 1:
        why = "contracts name it for different servers" if origins else "no contract names it"
        raise ConfigError(f"for which server is the credential `{name}`? {why}: pass --for https://HOST")
    return origins.pop()


def _listed(row: Row, tools: tuple[str, ...]) -> Listed:
    kept = msgspec.json.decode(row.body, type=Sealed)
    return Listed(tenant=row.tenant, name=row.id, origin=kept.origin, by=kept.by, at=kept.at, version=row.version, tools=tools)


def _place(name: str) -> str:
    return f"sealed-credential:{name}"
