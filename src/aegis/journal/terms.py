"""What an event can be found by: one table of fields, and where they stand in the bodies of events.

A field is a word such as `agent` or `rule`; its values in an event are the texts that stand at its places. A place is a path of
names; `*` is each element of a list, `+` each but the first. One table serves every type of event, because the same thing has the
same name in all of them. An event may have several values of a field (rules that decided), or none.

A `Filter` is tested on the body itself. An index only says where to look: it holds a value cut to `MAX_VALUE` characters, and a
NUL, which no database would take, as another character. So it may point at too much, and what it points at is read and tested.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from aegis.model.event import instant

VERSION = 1
"""Of this table. An index that was made by another version counts for nothing, and is made anew."""

MAX_VALUE = 128
COST = "cost_micros"
FIELDS: Mapping[str, tuple[str, ...]] = {
    "type": ("type",),
    "run": ("agent.txn", "txn"),
    "task": ("agent.task", "task"),
    "step": ("step", "step.id"),
    "agent": ("agent_id",),
    "through": ("actor.act.+.sub",),
    "to": ("to", "messages.*.to"),
    "person": ("actor.sub",),
    "tool": ("tool.name", "tool", "tools.*.tool"),
    "decision": ("decision",),
    "outcome": ("outcome",),
    "rule": ("rules.*", "rule", "reasons.*.rule"),
    "reason": ("reason",),
    "approval": ("approval_id",),
    "approver": ("approver", "approvers.*"),
    "by": ("by",),
    "parent": ("parent_request_id",),
    "token": ("token_jti",),
}
"""Each field, and where its values stand."""

Body = Mapping[str, Any]
Term = tuple[str, str]
"""A field and a value, as an index holds them."""

_PATHS = tuple((field, tuple(tuple(place.split(".")) for place in places)) for field, places in FIELDS.items())
_PATHS_OF = dict(_PATHS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Filter(Struct, frozen=True, kw_only=True):
    """Which events are wanted: those to which everything that is said here applies.

    `terms` are fields with their whole values. `since` counts in, `until` does not. A bound on the cost (both count in) is met only
    by an event that tells a cost. No index knows traces, as hardly two requests share one: all events of the time that is asked for
    are read.
    """

    terms: tuple[Term, ...] = ()
    request: str = ""
    trace: str = ""
    since: datetime | None = None
    until: datetime | None = None
    cost_from: int | None = None
    cost_to: int | None = None

    def fits(self, body: Body) -> bool:
        """Whether an event is wanted."""
        return (
            (not self.request or body.get("request_id") == self.request)
            and (not self.trace or body.get("trace_id") == self.trace)
            and (self.since is None or body["time"] >= instant(self.since))
            and (self.until is None or body["time"] < instant(self.until))
            and all(any(found == value for found in values(body, field)) for field, value in self.terms)
            and self._affords(cost(body))
        )

    def _affords(self, found: int | None) -> bool:
        if self.cost_from is None and self.cost_to is None:
            return True
        return found is not None and (self.cost_from or 0) <= found and (self.cost_to is None or found <= self.cost_to)


def terms(body: Body) -> set[Term]:
    """Everything by which an index finds this event."""
    return {(field, indexed(value)) for field, paths in _PATHS for path in paths for value in _at(body, path)}


def values(body: Body, field: str) -> Iterator[str]:
    """The values of a field in an event."""
    for path in _PATHS_OF[field]:
        yield from _at(body, path)


def indexed(value: str) -> str:
    """A value as an index holds it."""
    return value[:MAX_VALUE].replace("\0", "\ufffd")


def cost(body: Body) -> int | None:
    """What the call costs, in millionths of the tenant's money, if the event tells."""
    found = body.get(COST)
    return found if type(found) is int and found >= 0 else None


def time_of(text: str) -> int:
    """Microseconds since 1970 of the time in a body."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def _at(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    for depth, name in enumerate(path):
        if name in ("*", "+"):
            if isinstance(value, list):
                for each in value[name == "+" :]:
                    yield from _at(each, path[depth + 1 :])
            return
        if not isinstance(value, dict) or (value := value.get(name)) is None:
            return
    if isinstance(value, str) and value:
        yield value
