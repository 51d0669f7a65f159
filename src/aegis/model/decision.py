"""Verdicts (one reviewer's answer) and the decision (all verdicts combined)."""

from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from aegis.model.facts import Facts
from aegis.model.proposal import Proposal


class Outcome(StrEnum):
    """The four outcomes of POL-2."""

    ALLOW = "allow"
    SANITIZE = "sanitize"
    APPROVAL_NEEDED = "approval_needed"
    DENY = "deny"


class Stage(StrEnum):
    """Whether an obligation edits the request before it is forwarded or the result before it is handed back."""

    REQUEST = "request"
    RESPONSE = "response"


class Redaction(Struct, frozen=True, kw_only=True, order=True):
    """An obligation to change what stands at `path` (RFC 6901, below `/args` or `/result`) in the way of `form`.

    `form` is one of `drop`, `mask`, `hash`, `tokenise`, `last4`, `regex:<RE2 pattern>`.
    """

    stage: Stage
    path: str
    form: str


class ApprovalTerms(Struct, frozen=True, kw_only=True):
    """Who must say yes. Each entry of `approver_sets` must be satisfied by somebody; `quorum` counts distinct people."""

    approver_sets: tuple[tuple[str, ...], ...]
    quorum: int = 1
    ttl: timedelta = timedelta(minutes=30)
    not_requester: bool = True


class Verdict(Struct, frozen=True, kw_only=True):
    """What one guard says through one of its rules.

    `effect` is an `Outcome`, or `error` for a contract violation or a guard that could not judge. `field` and `limit` tell a
    person what was compared; the observed value is never here. A verdict with `live=False` is in shadow.
    """

    guard: str
    effect: str
    rule: str
    reason: str = ""
    field: str = ""
    limit: Any = None
    redactions: tuple[Redaction, ...] = ()
    terms: ApprovalTerms | None = None
    live: bool = True


class Reason(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why, for a person and for a program: rule, text, and where it applies, the field and the limit."""

    rule: str
    text: str = ""
    field: str = ""
    limit: Any = None


class PolicyRef(Struct, frozen=True, kw_only=True):
    """Which version of the rules decided."""

    name: str = ""
    version: str = ""
    digest: str = ""


class Decision(Struct, frozen=True, kw_only=True):
    """All verdicts combined. Pure data: the same proposal, facts and guards give the same decision, byte for byte.

    `rules` are the ids that produced the outcome, sorted; `matched` every live rule that fired, sorted; `shadow` those that
    fired in shadow, and `would_be` the outcome had they been live. `redactions` are the obligations of the enforcement point.
    `approval_id` names the approval that was used as evidence, if any.
    """

    outcome: Outcome
    rules: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    redactions: tuple[Redaction, ...] = ()
    terms: ApprovalTerms | None = None
    approval_id: str = ""
    shadow: tuple[str, ...] = ()
    would_be: Outcome | None = None
    policy: PolicyRef = PolicyRef()

    @property
    def permits(self) -> bool:
        """Whether the effect may happen, after the obligations are met."""
        return self.outcome in (Outcome.ALLOW, Outcome.SANITIZE)


class Guard(Protocol):
    """A reviewer: pure, no await, no I/O. It may raise; then the answer is deny."""

    @property
    def name(self) -> str:
        """Stable name that events and errors show."""

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:
        """All that this guard has to say; an empty tuple is no opinion (which allows nothing)."""
