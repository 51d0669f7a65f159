"""How a call ends, judged from what the tool did: one table, pure.

The question behind each row is whether the effect may have happened. Only when it surely did not, or when the tool makes a
repetition safe, may the same key be used again.
"""

from enum import StrEnum

from msgspec import Struct

from aegis.model.call import CallState, ClaimState
from aegis.model.history import Phase
from aegis.runtime.ask import Kind


class Seen(StrEnum):
    """What was seen of the tool."""

    FITTING = "fitting"
    """2xx, and the result fits its contract."""
    UNFIT = "unfit"
    """2xx, but the result breaks its contract or cannot be read."""
    REFUSED = "refused"
    """4xx other than 408: the tool says that it did not act."""
    UNSENT = "unsent"
    """No byte of the request can have reached the tool."""
    BROKEN = "broken"
    """Anything else: a timeout, a reset, 5xx, a redirect. The effect may have happened."""


class Ending(Struct, frozen=True, kw_only=True):
    """The states that commit unit 2 writes, how history sees the call from then on, and what the caller is told."""

    call: CallState
    claim: ClaimState
    kind: Kind
    phase: Phase
    ask: bool = False


def ending(seen: Seen, effect: str, interrupt: str) -> Ending:
    """The ending of a call of this effect (`read`, `write`, `dangerous`) and interrupt class (`honours_key`, `ask`, `neither`).

    `ask` says that the tool can tell; until it has, the call stays open and nobody repeats it.
    """
    if seen is Seen.FITTING:
        return Ending(call=CallState.DONE, claim=ClaimState.FINAL, kind=Kind.DONE, phase=Phase.SUCCEEDED)
    if seen is Seen.UNFIT:
        if effect == "read":
            return Ending(call=CallState.REOPENED, claim=ClaimState.REOPENED, kind=Kind.WITHHELD, phase=Phase.UNKNOWN)
        return Ending(call=CallState.DONE, claim=ClaimState.FINAL, kind=Kind.WITHHELD, phase=Phase.UNKNOWN)
    if seen in (Seen.REFUSED, Seen.UNSENT):
        return Ending(call=CallState.REOPENED, claim=ClaimState.REOPENED, kind=Kind.FAILED, phase=Phase.FAILED)
    if effect == "read" or interrupt == "honours_key":
        return Ending(call=CallState.REOPENED, claim=ClaimState.REOPENED, kind=Kind.INTERRUPTED, phase=Phase.UNKNOWN)
    if interrupt == "ask":
        return Ending(call=CallState.EXECUTING, claim=ClaimState.IN_FLIGHT, kind=Kind.SETTLING, phase=Phase.OPEN, ask=True)
    return Ending(call=CallState.UNKNOWN, claim=ClaimState.UNKNOWN, kind=Kind.UNKNOWN, phase=Phase.UNKNOWN)


def seen_status(status: int) -> Seen | None:
    """What a status alone tells; `None` for 2xx, where the body decides."""
    if 200 <= status < 300:
        return None
    if 400 <= status < 500 and status != 408:  # RFC 9110, section 15.5.9: 408 may come after the request was taken
        return Seen.REFUSED
    return Seen.BROKEN
