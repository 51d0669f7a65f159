"""Attacks on runs by agents and people who take part in them: names of its calls taken by others, and approvals of one's own values."""

import pytest

from aegis.runtime.runs.operating import Wanted
from runs.operated import go, operated


@pytest.fixture
def o(tmp_path):
    """A world with the workflow `risky`."""
    with operated(tmp_path) as made:
        yield made


def held(o, run, seconds=20):
    """The approval that the second step of the run waits for."""
    o.until_node(run, "second", "held")
    return o.state(run).nodes["second"].approval_id


@pytest.mark.parametrize("name", ["RUN:second:1", "RUN:second:1.1", "RUN", "RUN:first:compensate"])
def test_nobody_takes_the_name_of_a_call_of_a_run_before_the_run_does(o, name):
    run = o.waiting()
    for agent in ("agent:payer", "agent:other"):
        told = o.call("pay.ask", {"amount": 1}, "mine", o.token(agent), aegis_request_id=name.replace("RUN", run))
        assert (told.status_code, told.json()["code"]) == (400, "malformed"), told.text
    assert o.by_agent(go(run)).status_code == 200
    assert o.until(run, "succeeded", "compensated", "failed").status == "succeeded"


def test_whoever_edits_a_step_does_not_approve_it(o):
    run = o.parked()
    assert o.by_person(Wanted(action="edit", run=run, node="second", arguments={"amount": 2000, "memo": "mine"})).status_code == 200
    asked = held(o, run)
    told = o.approve(asked, "person:alice")
    assert (told.status_code, "self_approval" in told.text) == (409, True), told.text
    assert o.approve(asked, "person:bob").status_code == 200
    o.until(run, "succeeded")


def test_whoever_gives_a_value_by_a_signal_does_not_approve_what_it_is_used_for(o):
    run = o.waiting()
    assert o.by_person(go(run, amount=2000), "person:bob").status_code == 200
    asked = held(o, run)
    told = o.approve(asked, "person:bob")
    assert (told.status_code, "self_approval" in told.text) == (409, True), told.text
    assert o.approve(asked, "person:alice").status_code == 200
    o.until(run, "succeeded")


def test_an_edited_step_is_called_anew_under_its_key_when_the_tool_had_refused_it(o):
    run = o.waiting()
    o.tool.mood = "refuse"
    assert o.by_agent(go(run, amount=8)).status_code == 200
    o.until_node(run, "second", "parked")
    o.tool.mood = "ok"
    assert o.by_person(Wanted(action="edit", run=run, node="second", arguments={"amount": 9, "memo": "second"})).status_code == 200
    o.until(run, "succeeded")
    assert len(o.tool.done) == 2


def test_nobody_but_the_run_uses_the_key_of_its_step_with_other_arguments(o):
    run = o.waiting()
    o.tool.mood = "refuse"
    assert o.by_agent(go(run, amount=8)).status_code == 200
    o.until_node(run, "second", "parked")
    assert o.call("pay.honours", {"amount": 9}, f"{run}:second", o.token("agent:other")).json()["code"] == "idempotency-key-reused"
