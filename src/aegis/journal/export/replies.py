"""What the answer of a receiver means for the events that were sent to it.

    taken     2xx: they are there; the cursor moves
    later     no answer, 408, 429, 5xx: the same events again, after a pause
    smaller   400, 413, 422 to several events: fewer of them at once, down to one, so that those before a bad one arrive
    never     any other answer, or one of those to a single event: a person must look; tried again, slowly, and nothing is skipped

Redirects are `never`: events go where the settings say and nowhere else.
"""

from enum import StrEnum

from msgspec import Struct

SMALLER = frozenset({400, 413, 422})
LATER = frozenset({408, 429})


class Meaning(StrEnum):
    """What to do next with the events that were sent."""

    TAKEN = "taken"
    LATER = "later"
    SMALLER = "smaller"
    NEVER = "never"


class Reply(Struct, frozen=True, kw_only=True):
    """What the receiver answered; `status` 0 is no answer. `after_seconds` is what it asked for, `detail` words for a person."""

    status: int
    after_seconds: float = 0.0
    detail: str = ""


def meaning(reply: Reply, events: int) -> Meaning:
    """What `reply` to a batch of so many events asks for."""
    status = reply.status
    if 200 <= status < 300:
        return Meaning.TAKEN
    if status in SMALLER and events > 1:
        return Meaning.SMALLER
    if status == 0 or status in LATER or 500 <= status < 600:
        return Meaning.LATER
    return Meaning.NEVER
