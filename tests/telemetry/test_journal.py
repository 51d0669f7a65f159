"""A span that somebody changed is found: the journal holds the same ids, and says what was really decided."""

from copy import deepcopy

import pytest

from aegis.model import conventions as names
from aegis.runtime.spancheck import differences
from telemetry.collector import attributes
from telemetry.test_every_door import through_every_door


def ids(span):
    return {"trace_id": span.trace_id.hex(), "span_id": span.span_id.hex(), "parent_span_id": span.parent_span_id.hex()}


def compared(w, collector):
    """Each event with the span of the same id, as the collector keeps it."""
    events = {
        event["span_id"]: event for event in w.events() if "span_id" in event and event["type"] not in _TOLD_TWICE | {"refusal"}
    }
    kept = collector.wait(
        lambda c: {s.span_id.hex(): s for s in c.spans}.keys() >= events.keys() and {s.span_id.hex(): s for s in c.spans}
    )
    return [(event, attributes(kept[span_id].attributes), ids(kept[span_id])) for span_id, event in events.items()]


_TOLD_TWICE = {"message", "message_leased", "message_acked", "message_nacked", "override_used"}
"""Events that stand beside the one that the span is about."""


@pytest.fixture
def pairs(traced, collector):
    through_every_door(traced)
    return compared(traced, collector)


def test_spans_as_they_were_sent_agree_with_the_journal(pairs):
    assert {event["type"] for event, _, _ in pairs} == {"decision", "delegation", "outcome", "repeat", "approval"}
    for event, said, place in pairs:
        assert differences(said, place, event) == (), event["type"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (names.DECISION, "allow"),
        (names.RULE, ["pay.allow"]),
        (names.TOOL_NAME, "records.read"),
        (names.AGENT_ID, "agent:other"),
        (names.TENANT, "globex"),
        (names.REQUEST_ID, "req_other"),
        (names.AUDIT_SEQ, 0),
        (names.POLICY_VERSION, "0"),
    ],
)
def test_a_decision_that_was_changed_in_the_collector_is_found(pairs, name, value):
    event, said, place = next(p for p in pairs if p[0].get("decision") == "deny" and p[0]["rules"] == ["pay.ceiling"])
    assert differences(said | {name: value}, place, event) == (name,)
    if name != names.AUDIT_SEQ:
        assert differences({k: v for k, v in said.items() if k != name}, place, event) == (name,)


def test_an_outcome_that_was_changed_is_found(pairs):
    event, said, place = next(p for p in pairs if p[0].get("outcome") == "unknown")
    assert differences(said | {names.OUTCOME: "done"}, place, event) == (names.OUTCOME,)


def test_a_span_that_was_hung_elsewhere_is_found(pairs):
    event, said, place = pairs[0]
    moved = deepcopy(place) | {"parent_span_id": "f" * 16}
    assert differences(said, moved, event) == ("parent_span_id",)
    assert "trace_id" in differences(said, place | {"trace_id": "e" * 32}, event)
