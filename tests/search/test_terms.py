"""By what an event can be found: the table of fields, on events as they are built."""

import msgspec
import pytest
from tests.store.homes import START

from aegis.journal.terms import FIELDS, Filter, cost, terms, time_of, values
from aegis.model.event import Event, encode
from aegis.runtime import record


def body(made):
    return msgspec.json.decode(encode(made, 7))


def event(**data):
    return body(Event(id="e", type="decision", tenant="acme", time=START, request_id="req_1", data=data))


def test_an_ending_that_only_recovery_could_write_is_found_by_its_run():
    made = record.settled(
        "acme", "req_1", event_id="e", now=START, state="unknown", reason="interrupted", agent_id="agent:payer", tool="pay",
        by="recovery", decision_event="d", txn="run_1", traced={},
    )  # fmt: skip
    assert {("run", "run_1"), ("by", "recovery"), ("outcome", "unknown"), ("tool", "pay"), ("agent", "agent:payer")} <= terms(
        body(made)
    )


def test_through_is_everybody_in_the_chain_but_the_one_who_acts():
    found = event(
        agent_id="agent:c", actor={"sub": "user:nora", "act": [{"sub": "agent:c"}, {"sub": "agent:b"}, {"sub": "agent:a"}]}
    )
    assert list(values(found, "through")) == ["agent:b", "agent:a"]
    assert list(values(found, "person")) == ["user:nora"]


@pytest.mark.parametrize("odd", [None, 5, [], {}, "", [1, {"sub": 2}], {"name": ["x"]}, True])
def test_a_field_that_holds_something_else_is_no_value(odd):
    found = event(agent_id=odd, actor=odd, agent=odd, rules=odd, reasons=odd, tool=odd, cost_micros=odd, approvers=odd)
    assert all(isinstance(value, str) and value for _, value in terms(found))
    assert cost(found) in (None, 5)
    assert Filter(cost_from=0).fits(found) == (odd == 5 and odd is not True)


def test_a_cost_is_a_whole_number_that_is_not_negative():
    assert [cost(event(cost_micros=each)) for each in (0, 3, -1, "3")] == [0, 3, None, None]
    assert cost(event()) is None


def test_each_field_is_found_where_the_table_says():
    for field, places in FIELDS.items():
        for place in places:
            held = "there"
            for name in reversed(place.split(".")):
                held = [held] if name == "*" else ["first", held] if name == "+" else {name: held}
            assert "there" in values(held, field)
            assert (field, "there") in terms(held)


def test_times_are_counted_in_microseconds():
    assert time_of("1970-01-01T00:00:01.000002Z") == 1_000_002
