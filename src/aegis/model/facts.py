"""What the world looked like when a decision was made. Time and every reading arrive here; a guard reads nothing else."""

from datetime import UTC, datetime

from msgspec import Struct

from aegis.model.approval import Approval


class ParentCall(Struct, frozen=True, kw_only=True):
    """What the journal knows of the request that a delegated call names as its parent."""

    request_id: str
    agent_id: str
    state: str
    version: int = 0


class Facts(Struct, frozen=True, kw_only=True):
    """Readings for one decision.

    `now` is aware UTC. `parent` is `None` when the journal has no such request in this tenant. `approval` is the approval that
    is bound to this request hash, if any. `stale` names readings that could not be taken: a guard that needs one denies.
    `halted` is the kill switch, in the words shown to people; `safe_mode` holds writes for a person.
    """

    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    environment: str = ""
    parent: ParentCall | None = None
    approval: Approval | None = None
    halted: str = ""
    safe_mode: str = ""
    stale: frozenset[str] = frozenset()
