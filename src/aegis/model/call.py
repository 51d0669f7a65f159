"""The life of one governed call, and of the idempotency key that it holds.

States of a call, and what moves it:

    (none)     -> denied | held | decided | executing       commit 1
    denied, held, reopened -> the same                       the identical request comes again and is decided again
    executing  -> done | failed | unknown | reopened        commit 2, recovery
    decided    -> done | reopened                            the outcome that a decide-only caller reports
    unknown    -> done | reopened                            a person who looked

`done`: the effect happened. `failed`: it ended without one that we know of and is not to be repeated under this key. `reopened`:
surely no effect, or the tool makes a repetition safe; the key may be used again. `unknown`: nobody knows, a person must look.
`LIVE` calls are the only ones that a delegated call may name as its parent.
"""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from aegis.model.decision import Redaction


class CallState(StrEnum):
    """Where a call stands."""

    DENIED = "denied"
    HELD = "held"
    DECIDED = "decided"
    EXECUTING = "executing"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REOPENED = "reopened"


LIVE = frozenset({CallState.DECIDED, CallState.EXECUTING})
LEGAL = {
    CallState.EXECUTING: frozenset({CallState.DONE, CallState.FAILED, CallState.UNKNOWN, CallState.REOPENED}),
    CallState.DECIDED: frozenset({CallState.DONE, CallState.REOPENED}),
    CallState.UNKNOWN: frozenset({CallState.DONE, CallState.REOPENED}),
}
AGAIN = frozenset({CallState.DENIED, CallState.HELD, CallState.REOPENED})


class Call(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The row of one call.

    `instance` names the gateway process that executes it: when that process is gone, the call was interrupted. `claim` is the id
    of the idempotency claim that it holds; empty for a read without a key. `decision_event` and `outcome_event` are the events
    beside which arguments and result are sealed; `redactions` still bind the result. `note` says what kind of end it was
    (`withheld`, `refused`, `interrupted`). `remembered` is the entry that history keeps of the call, if it keeps one. `txn` is the
    run that it belongs to. `sealed_for` is the name of the keys of its data subject; empty for those of the whole tenant.
    `resource` is the row of what it changes, where its contract keeps others out meanwhile.
    """

    request_id: str
    agent_id: str
    tool: str
    state: CallState
    request_hash: str
    at: datetime
    tool_digest: str = ""
    effect: str = ""
    instance: str = ""
    claim: str = ""
    idempotency_key: str = ""
    approval_id: str = ""
    decision_event: str = ""
    outcome_event: str = ""
    note: str = ""
    redactions: tuple[Redaction, ...] = ()
    remembered: str = ""
    txn: str = ""
    traceparent: str = ""
    sealed_for: str = ""
    resource: str = ""


class ClaimState(StrEnum):
    """Where an idempotency key stands."""

    IN_FLIGHT = "in_flight"
    FINAL = "final"
    REOPENED = "reopened"
    UNKNOWN = "unknown"


class Claim(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one agent's idempotency key stands for: the hash of the request, and the call that holds or finished it.

    `broken` remembers that an attempt under this key broke off and may have had its effect. `charged` are the ids of the tokens
    whose allowance an attempt under this key has used: another attempt under it is not counted again, unless only the caller
    itself says that this one came to nothing.
    """

    request_hash: str
    request_id: str
    state: ClaimState
    instance: str = ""
    broken: bool = False
    charged: tuple[str, ...] = ()


def claim_id(agent_id: str, idempotency_key: str) -> str:
    """Key of the claim's row: keys of two agents never meet."""
    return f"{agent_id}\x1f{idempotency_key}"
