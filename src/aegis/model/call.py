"""The life of one governed call, and of the idempotency key that it holds.

States of a call, and what moves it:

    (none)     -> denied | held | decided | executing       commit 1
    executing  -> done | failed | unknown | reopened        commit 2, recovery
    decided    -> done | failed                              the outcome that a decide-only caller reports
    unknown    -> done | failed                              a person who looked, or the tool when asked

`live` calls are the only ones that a delegated call may name as its parent.
"""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


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
    CallState.DECIDED: frozenset({CallState.DONE, CallState.FAILED}),
    CallState.UNKNOWN: frozenset({CallState.DONE, CallState.FAILED}),
}


class Call(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The row of one call.

    `instance` names the gateway process that executes it: when that process is gone, the call was interrupted. `claim` is the
    idempotency key that it holds, qualified by agent; empty for a read without a key.
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


class ClaimState(StrEnum):
    """Where an idempotency key stands."""

    IN_FLIGHT = "in_flight"
    FINAL = "final"
    REOPENED = "reopened"
    UNKNOWN = "unknown"


class Claim(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one agent's idempotency key stands for: the hash of the request, and the call that holds or finished it."""

    request_hash: str
    request_id: str
    state: ClaimState
    instance: str = ""
    upstream_status: int = 0


def claim_id(agent_id: str, idempotency_key: str) -> str:
    """Key of the claim's row: keys of two agents never meet."""
    return f"{agent_id}\x1f{idempotency_key}"
