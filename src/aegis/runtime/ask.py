"""What a door hands to `enforce`, and what it gets back."""

from enum import StrEnum
from typing import Any

from msgspec import Struct

from aegis.model.approval import Approval
from aegis.model.decision import Decision
from aegis.model.principal import Principal
from aegis.policy.guards import HALTED
from aegis.runtime.resources import Holder

LACKS = ("opa#", "engine#", "facts#", "policy#")
"""How the rules of denials begin by which nothing is known to be wrong: the gateway lacks something that it needs to decide."""


class Ask(Struct, frozen=True, kw_only=True):
    """One call as a door understood it. The principal is verified, the arguments are strictly parsed, nothing is decided.

    `request_id` is the caller's own, or empty for a new one. `override_hash` is what a verified override token opens.
    """

    principal: Principal
    tool: str
    arguments: dict[str, Any]
    version: str = ""
    idempotency_key: str = ""
    request_id: str = ""
    override_hash: str = ""
    traceparent: str = ""
    door: str = "http"


class Kind(StrEnum):
    """How an ask ended."""

    DONE = "done"
    """The tool acted (or answered); `result` is what the caller may see."""
    DECIDED = "decided"
    """Decide-only: the caller may act and then reports the outcome."""
    DENIED = "denied"
    HELD = "held"
    """Waiting for a person; `approval` says for whom and how long."""
    WITHHELD = "withheld"
    """The tool acted, but its result broke its contract: it is not shown, and the call is never repeated."""
    GONE = "gone"
    """The tool acted, once; what it returned was erased or is no longer kept. It is never repeated."""
    FAILED = "failed"
    """The tool refused or could not be reached: surely no effect. The same key may be used again."""
    INTERRUPTED = "interrupted"
    """The call broke off; the tool makes a repetition safe, so the same key may be used again."""
    UNKNOWN = "unknown"
    """The call broke off and nobody knows whether the tool acted. A person must look; it is not repeated."""
    SETTLING = "settling"
    """The call broke off, and the tool is being asked what became of it. The same key gets the outcome soon."""
    IN_FLIGHT = "in_flight"
    """The same key is at work right now."""
    CONFLICT = "conflict"
    """The key or the request id stands for another request."""
    BUSY = "busy"
    """Decided anew too often against concurrent changes, or another write has the resource; nothing happened. Try again."""


class Answer(Struct, frozen=True, kw_only=True):
    """How an ask ended, in our own words; each door puts it into its protocol.

    `repeat_of` is the request whose recorded answer this is. `reason` is a stable word, `upstream_status` the tool's HTTP status.
    `holder` is whose write has the resource that this one needs.
    """

    kind: Kind
    request_id: str
    tool: str
    decision: Decision | None = None
    result: Any = None
    arguments: dict[str, Any] | None = None
    approval: Approval | None = None
    repeat_of: str = ""
    reason: str = ""
    upstream_status: int = 0
    seq: int = -1
    holder: Holder | None = None

    @property
    def undecided(self) -> bool:
        """Whether it was denied only because this gateway could not decide; ask again when it can."""
        rules = self.decision.rules if self.kind is Kind.DENIED and self.decision else ()
        return any(rule.startswith(LACKS) and not rule.endswith("#input") for rule in rules)

    @property
    def passing(self) -> bool:
        """Whether it was denied for what passes: it could not be decided, or something is halted."""
        return self.undecided or (self.kind is Kind.DENIED and self.decision is not None and HALTED in self.decision.rules)
