"""What the world looked like when a decision was made. Time and every reading arrive here; a guard reads nothing else."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from aegis.model.allowance import Left
from aegis.model.approval import Approval


class ParentCall(Struct, frozen=True, kw_only=True):
    """What the journal knows of the request that a delegated call names as its parent."""

    request_id: str
    agent_id: str
    state: str
    version: int = 0
    txn: str = ""


class Facts(Struct, frozen=True, kw_only=True):
    """Readings for one decision.

    `now` is aware UTC. `parent` is `None` when the journal has no such request in this tenant. `approval` is the approval that
    is bound to this request hash, if any. `stale` names readings that could not be taken: a guard that needs one denies.
    `halted` is the kill switch, in the words shown to people; `safe_mode` holds writes for a person.

    `lineage` are the requests that the caller's token stands on, by id, as far as the journal knows them; `allowances` say what is
    left of every counted token in its chain.

    `history` maps the id of a history term to its reading. `call_labels` are labels found on the arguments of this call,
    `run_labels` those that earlier results of the run carry; `None` is unknown. `stated` are numbers at `budget.*`, `risk.*` and
    `confidence.*` as the issuer of the token signed them. `engine` maps the digest of a policy set to the verdicts
    (`aegis.model.decision.Verdict`) that a policy engine outside this process came to by it.
    """

    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    environment: str = ""
    parent: ParentCall | None = None
    lineage: Mapping[str, ParentCall] = {}
    allowances: tuple[Left, ...] = ()
    approval: Approval | None = None
    halted: str = ""
    safe_mode: str = ""
    stale: frozenset[str] = frozenset()
    history: Mapping[str, int | bool | None] = {}
    call_labels: tuple[str, ...] | None = None
    run_labels: tuple[str, ...] | None = None
    stated: Mapping[str, int] = {}
    engine: Mapping[str, tuple[Any, ...]] = {}
