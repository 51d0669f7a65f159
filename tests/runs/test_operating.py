"""Runs over HTTP: what they show to whom, and what people and agents may do to them."""

import pytest

from aegis.runtime.runs.operating import Wanted
from runs.operated import body_of, drawn, go, operated, path


@pytest.fixture
def o(tmp_path):
    """A world with the workflow `risky`."""
    with operated(tmp_path) as made:
        yield made


@pytest.fixture
def both(tmp_path, store_url):
    """The same on each store."""
    with operated(tmp_path, store_url) as made:
        yield made


def test_a_run_is_shown_step_by_step_with_what_it_waits_for(o):
    run = o.waiting()
    shown = o.get(f"/v1/runs/{run}").json()["run"]

    assert (shown["state"], shown["workflow"], shown["started_by"]) == ("waiting", "risky", "agent:payer")
    assert [(step["node"], step["state"]) for step in shown["steps"]] == [
        ("first", "succeeded"), ("go", "waiting"), ("second", "pending"),
    ]  # fmt: skip
    assert shown["steps"][1]["waits"]["what"] == "signal"
    assert shown["steps"][1]["waits"]["signal"] == "go"
    assert shown["steps"][1]["waits"]["until"]
    assert shown["steps"][0]["compensation"] == "pay.ask"
    assert "values" not in shown
    assert "values" not in shown["steps"][0]
    assert shown["spent"] == {"calls": 1}


def test_values_are_shown_to_people_and_to_the_starter_and_that_is_recorded(o):
    run = o.waiting()

    shown = o.get(f"/v1/runs/{run}?values=true", o.person_token()).json()["run"]
    assert shown["values"]["input"] == {"amount": 7}
    assert shown["steps"][0]["values"]["output"] == {"id": 1}
    assert o.get(f"/v1/runs/{run}?values=true").status_code == 200
    assert o.get(f"/v1/runs/{run}?values=true", o.token(subject="user:somebody-else")).status_code == 403
    assert o.get(f"/v1/runs/{run}?values=true", o.token("agent:other")).status_code == 403
    assert [event["by"] for event in o.told(run) if event["type"] == "run_read"] == ["person:alice", "agent:payer"]


def test_an_agent_sees_the_runs_that_it_started_or_takes_part_in_and_people_see_all(o):
    first, second = o.waiting(key="k1"), o.waiting(key="k2")

    def seen(token):
        return [line["run"] for line in o.get("/v1/runs", token).json()["runs"]]

    assert seen(o.token()) == [second, first]
    assert seen(o.token("agent:other")) == [second, first]
    assert seen(o.person_token()) == [second, first]
    assert seen(o.token("agent:desk")) == []
    assert seen(o.person_token(tenant="globex")) == []
    for hidden in (o.token("agent:desk"), o.person_token(tenant="globex")):
        assert o.get(f"/v1/runs/{first}", hidden).status_code == 404
        assert o.get(f"/v1/runs/{first}/events", hidden).status_code == 404


def test_the_list_is_paged_from_the_newest_on_and_filtered(both):
    runs = [both.begin("risky", f"k{number}", amount=1) for number in range(5)]
    for run in runs:
        both.until(run, "waiting")
    both.by_person(Wanted(action="cancel", run=runs[2]))
    both.until(runs[2], "compensated")

    page = both.get("/v1/runs?limit=2&state=waiting").json()
    rest = both.get(f"/v1/runs?limit=3&state=waiting&after={page['after']}").json()

    assert [line["run"] for line in page["runs"]] == [runs[4], runs[3]]
    assert [line["run"] for line in rest["runs"]] == [runs[1], runs[0]]
    assert [line["run"] for line in both.get("/v1/runs?workflow=risky&state=compensated").json()["runs"]] == [runs[2]]
    assert both.get("/v1/runs?workflow=other").json() == {"runs": []}
    assert both.get("/v1/runs?state=asleep").status_code == 400
    assert both.get("/v1/runs?limit=0").status_code == 400


def test_a_signal_counts_once_for_its_key_and_nothing_is_said_to_a_run_that_has_ended(both):
    run = both.waiting()

    assert both.by_agent(go(run)).status_code == 200
    assert both.by_agent(go(run)).status_code == 200
    both.until(run, "succeeded")
    assert both.by_agent(go(run)).status_code == 200  # the repetition of one that came, whenever it comes
    late = both.by_agent(go(run, key="s2"))
    assert (late.status_code, late.json()["code"]) == (409, "run-conflict")
    assert "has ended" in late.json()["detail"]
    assert [event["type"] for event in both.told(run)].count("workflow_signalled") == 1


def test_a_signal_that_no_step_knows_or_for_no_run_is_not_there(o):
    run = o.waiting()

    unknown = o.by_agent(Wanted(action="signal", run=run, signal="stop", key="1"))
    assert (unknown.status_code, "it knows `go`" in unknown.json()["detail"]) == (404, True)
    assert o.by_agent(go("run_" + "0" * 32)).status_code == 404
    assert o.by_agent(go(run), "agent:desk").status_code == 403


def test_a_person_signs_exactly_what_is_asked(o):
    run = o.waiting()
    wanted = Wanted(action="cancel", run=run, reason="not wanted")
    other = o.signed_for(drawn(Wanted(action="cancel", run=run, reason="something else")))

    for refused in (
        o.post(path(wanted), body_of(wanted), o.person_token()),
        o.by_person(wanted, statement=other),
        o.by_person(wanted, statement=o.person_token()),
        o.by_person(wanted, statement=o.signed_for(drawn(wanted), "person:bob")),
    ):
        assert refused.status_code == 403, refused.text
    assert str(o.row(run).status) == "waiting"

    assert o.by_person(wanted).status_code == 200
    o.until(run, "compensated")
    assert o.by_person(wanted).status_code == 200  # it was cancelled already
    told = o.told(run)
    assert [event["by"] for event in told if event["type"] == "workflow_cancel"] == ["person:alice"]
    evidence = [event for event in told if event["type"] == "run_operated"]
    assert [(event["action"], event["by"], event["reason"], event["asked"]) for event in evidence] == [
        ("cancel", "person:alice", "not wanted", drawn(wanted).asked)
    ]
    assert evidence[0]["statement"].count(".") == 2


def test_what_was_signed_says_nothing_of_values_to_who_does_not_know_them(o):
    run = o.parked()
    edit = Wanted(action="edit", run=run, node="second", arguments={"amount": 9})

    short = o.by_person(Wanted(action="edit", run=run, node="second", arguments={"amount": 9}, nonce="1"))
    assert (short.status_code, short.json()["field"]) == (400, "/nonce")
    assert o.by_person(edit).status_code == 200
    told = [event for event in o.told(run) if event["type"] == "run_operated"][-1]
    assert told["asked"] == drawn(edit).asked
    plain = o.inside(lambda app: app.gate.vault.read("acme", told["id"], "asked"))
    assert plain == drawn(edit).plain


def test_an_agent_does_to_a_step_what_the_policy_of_its_queue_lets_it_do(o):
    run = o.parked()
    retry = Wanted(action="retry", run=run, node="second")

    denied = o.by_agent(Wanted(action="discard", run=run, node="second"))
    assert (denied.status_code, denied.json()["rule"]) == (403, "desk.discard")
    assert o.by_agent(Wanted(action="edit", run=run, node="second", arguments={"amount": 1}), "agent:desk").status_code == 403
    assert str(o.state(run).nodes["second"].state) == "parked"

    assert o.by_agent(retry, "agent:desk").json()["step"] == "second"
    o.until_node(run, "second", "parked")
    assert o.state(run).nodes["second"].dispatch == 2

    assert o.by_agent(Wanted(action="edit", run=run, node="second", arguments={"amount": 9})).status_code == 200
    state = o.until(run, "succeeded")
    assert state.output == {"paid": 2}
    by = [(event["by"], event["action"]) for event in o.told(run) if event["type"] == "run_operated"]
    assert by == [("agent:payer", "signal"), ("agent:desk", "retry"), ("agent:payer", "edit")]
    again = o.by_agent(Wanted(action="edit", run=run, node="second", arguments={"amount": 9}))
    assert again.status_code == 409


def test_a_call_of_a_queue_moves_what_is_in_it_and_nothing_else(o):
    run = o.parked()

    def asked(key, **said):
        return o.call("queue.desk", {"run": run, **said}, key)

    assert asked("a", action="retry", step="first").json()["code"] == "tool-failed"  # it is in another queue
    assert asked("b", action="retry").json()["code"] == "tool-failed"
    assert asked("c", action="edit", step="second").json()["code"] == "tool-failed"
    assert asked("d", action="discard", step="second").json()["rule"] == "desk.discard"
    assert o.state(run).nodes["second"].dispatch == 1

    told = asked("e", action="requeue", step="second", workflow="risky")
    assert (told.status_code, told.json()["result"]["state"]) == (200, "issued")
    o.until_node(run, "second", "parked")
    assert asked("f", action="cancel").json()["result"]["state"] == "unwinding"
    o.until(run, "compensated")
    evidence = [event for event in o.told(run) if event["type"] == "run_operated"]
    assert [(each["action"], each["by"], bool(each["decision_request"])) for each in evidence] == [
        ("signal", "agent:payer", True), ("requeue", "agent:payer", True), ("cancel", "agent:payer", True),
    ]  # fmt: skip


def test_a_cancel_by_an_agent_needs_every_queue_that_has_work_left(o):
    run = o.waiting()

    assert o.by_agent(Wanted(action="cancel", run=run), "agent:reader").status_code == 403
    assert o.by_agent(Wanted(action="cancel", run=run)).status_code == 200
    o.until(run, "compensated")


def test_what_an_agent_wants_done_to_a_run_may_need_a_person(o):
    run = o.waiting()
    wanted = Wanted(action="cancel", run=run, reason="not wanted")

    held = o.by_agent(wanted, "agent:desk").json()
    assert held["code"] == "approval-needed"
    assert str(o.row(run).status) == "waiting"
    assert o.approve(held["approval_id"]).status_code == 200
    assert o.by_agent(wanted, "agent:desk").status_code == 200
    o.until(run, "compensated")
    assert o.by_agent(wanted).status_code == 200  # it is done: who sees the run is told so
    assert o.by_agent(wanted, "agent:desk").status_code == 404


def test_a_stuck_run_goes_on_when_a_person_settles_or_has_it_tried_again(both):
    tried, settled = both.stuck("k1"), both.stuck("k2")

    assert both.by_agent(Wanted(action="settle", run=settled, node="first")).status_code == 403
    assert both.by_person(Wanted(action="retry", run=tried, node="first")).status_code == 200
    both.until(tried, "compensated")
    assert both.by_person(Wanted(action="settle", run=settled, node="first", reason="refunded by hand")).status_code == 200
    both.until(settled, "compensated")
    assert [name for name, _ in both.tool.done] == ["pay.honours", "pay.honours", "pay.ask"]


def test_what_stands_otherwise_is_told_and_changes_nothing(o):
    run = o.waiting()

    early = o.by_person(Wanted(action="retry", run=run, node="second"))
    assert (early.status_code, early.json()["code"]) == (409, "run-conflict")
    assert "`second` is pending" in early.json()["detail"]
    absent = o.by_person(Wanted(action="retry", run=run, node="third"))
    assert (absent.status_code, "`first`, `go`, `second`" in absent.json()["detail"]) == (404, True)
    assert o.post(f"/v1/runs/{run}/steps/second/edit", {}, o.token()).status_code == 400
    assert o.post(f"/v1/runs/{run}/cancel", {"arguments": {}}, o.token()).status_code == 400


def test_events_of_a_run_hold_words_and_commitments_and_no_values(o):
    run = o.waiting(amount=471)

    told = o.get(f"/v1/runs/{run}/events").json()["events"]
    assert [event["type"] for event in told][:2] == ["workflow_started", "workflow_succeeded"]
    assert '"amount":471' not in o.get(f"/v1/runs/{run}/events").text
    assert told[0]["value"]["pii_commit"]
    assert o.by_person(go(run)).status_code == 200
    o.until(run, "succeeded")
    seen = o.get(f"/v1/runs/{run}/events").json()["events"]
    assert {event["type"] for event in seen} == {"workflow_started", "workflow_succeeded", "workflow_signalled"}
    assert "statement" not in o.get(f"/v1/runs/{run}/events").text
    assert "run_operated" in {event["type"] for event in o.get(f"/v1/runs/{run}/events", o.person_token()).json()["events"]}
    assert o.get(f"/v1/runs/{run}/events?after={told[0]['seq']}").json()["events"] == seen[1:]
