"""Counting, against the plain definition of what it means."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aegis.model.event import Stored
from aegis.model.trigger import Trigger, Triggers
from aegis.runtime.triggers import Watch

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("pay.a", "pay.b")


def event(seq, second, tool, outcome):
    body = {"tool": {"name": tool}, "outcome": outcome, "agent_id": "agent:payer", "by": ""}
    at = START + timedelta(seconds=second)
    return Stored(
        tenant="acme",
        seq=seq,
        id=f"e{seq}",
        type="outcome",
        time=at,
        request_id=f"r{seq}",
        body=msgspec.json.encode(body),
        digest="",
    )


def often(events, name, more_than, within):
    """Whether more than so many failures of a tool lie within the window, anywhere."""
    times = [second for second, tool, outcome in events if tool == name and outcome == "failed"]
    return any(times[at + more_than] - times[at] < within for at in range(len(times) - more_than))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(NAMES), st.sampled_from(["failed", "failed", "done"])), max_size=8),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_it_fires_just_when_more_than_so_many_lie_within_the_window(gaps, more_than, within):
    second, events = 0, []
    for gap, tool, outcome in gaps:
        second += gap
        events.append((second, tool, outcome))
    trigger = Trigger(
        id="t", reason="r", mode="halt", what="it", outcomes=frozenset({"failed"}), of="tool:*", more_than=more_than,
        within_seconds=within,
    )  # fmt: skip
    watch = Watch(Triggers(tenant="acme", triggers=(trigger,)), -1)
    for seq, each in enumerate(events):
        watch.count(event(seq, *each))
    assert set(watch.crossed) == {("t", f"tool:{name}") for name in NAMES if often(events, name, more_than, within)}
