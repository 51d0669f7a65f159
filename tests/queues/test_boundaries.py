"""Who gets no task, and what a task's credential does not open."""

from datetime import timedelta

import pytest

from aegis.journal.unit import Unit
from aegis.model.event import Event
from aegis.runtime.halts import Halt
from messages.post import until
from queues.work import work


def test_a_foreign_agent_tenant_or_person_gets_no_task(q):
    q.begin("away", amount=7)
    task = q.take()
    assert q.lease("agent:other").status_code == 404  # the queue does not name it
    assert q.lease("agent:payer", tenant="globex").json()["task"] is None
    assert q.lease(token=q.person_token()).status_code == 403
    assert q.lease(queue="near").status_code == 404  # its agent is a function
    assert q.lease(queue="nothing").status_code == 404
    for word, more in (("heartbeat", {}), ("complete", {"output": 1}), ("fail", {"kind": "x"})):
        for token in (q.token("agent:desk"), q.token("agent:payer", "globex"), q.token("agent:other")):
            assert q.say(task, word, token=token, **more).status_code == 404
    told = q.post(f"/v1/tasks/{task['task_id']}/complete", {"lease": "lse_guessed", "output": 1})
    assert (told.status_code, told.json()["code"]) == (409, "task-lost")


def test_an_agent_cannot_enqueue_a_task(on_sqlite):
    told = on_sqlite.call("queue.away", {"action": "enqueue", "agent": "agent:payer", "run": "run_x", "workflow": "away"}, "k")
    assert (told.status_code, told.json()["rule"]) == (403, "queue.away#run")
    task_run = on_sqlite.begin("away", amount=7)
    task = on_sqlite.take()
    given = {"action": "enqueue", "agent": "agent:payer", "run": task_run, "workflow": "away", "step": "find"}
    assert on_sqlite.act(task, "queue.away", **given).json()["rule"] == "queue.away#run"


def test_the_credential_of_a_task_is_good_for_that_task_only(on_sqlite):
    for key in ("a", "b"):
        on_sqlite.begin("away", key=key, amount=7)
    mine, other = on_sqlite.take(), on_sqlite.take()
    given, theirs = mine["credential"], other["credential"]
    named = {"parent_agent_id": given["parent_agent_id"], "parent_request_id": given["parent_request_id"]}
    assert on_sqlite.say(other, "complete", token=given["token"], output=1, **named).status_code == 404
    assert on_sqlite.lease(token=given["token"]).status_code == 403
    crossed = on_sqlite.act({**mine, "credential": {**theirs, "token": given["token"]}})
    assert crossed.json()["rule"] == "chain.parent_mismatch"
    told = on_sqlite.act({**mine, "credential": {**given, "parent_request_id": ""}})
    assert told.json()["rule"] == "chain.parent_required"
    assert on_sqlite.say(mine, "complete", token=given["token"], output=1, **named).status_code == 200


def test_a_credential_dies_with_its_run(on_sqlite):
    run = on_sqlite.begin("away", amount=7)
    task = on_sqlite.take()
    on_sqlite.inside(lambda app: app.workflows.runs.advance("acme", run, cancelled()))
    on_sqlite.until(run, "cancelled", "compensated", "failed")
    # The run's own call ends with it; that which handed the task out, a moment later.
    assert {"chain.parent_not_live", "chain.ended"} & set(on_sqlite.act(task).json()["rules"])
    assert on_sqlite.say(task, "complete", output=1).status_code in (404, 409)


def cancelled():
    from aegis.runtime.runs.agents import NOW
    from aegis.workflow.run import CancelAsked

    return CancelAsked(at=NOW, by="person:alice")


@pytest.mark.parametrize(("action", "state"), [("pause", "paused"), ("resume", "open")])
def test_policy_says_who_pauses_a_queue(on_sqlite, action, state):
    told = on_sqlite.call("queue.away", {"action": action}, "k1")
    assert told.json()["result"] == {"state": state}, told.text
    assert on_sqlite.call("queue.away", {"action": action}, "k2", on_sqlite.token("agent:desk")).status_code == 403
    assert on_sqlite.call("queue.away", {"action": "drain"}, "k3").json()["rule"] == "nodrain"


def test_a_paused_queue_hands_nothing_out_and_goes_on_when_it_is_resumed(on_sqlite):
    assert on_sqlite.call("queue.away", {"action": "pause"}, "p1").status_code == 200
    assert on_sqlite.call("queue.near", {"action": "pause"}, "p2").status_code == 200
    away, near = on_sqlite.begin("away", key="a", amount=7), on_sqlite.begin("near", key="n", amount=7)
    for run in (away, near):
        until(lambda run=run: on_sqlite.state(run).nodes["find"].state == "offered")
    assert on_sqlite.lease().json()["task"] is None
    assert on_sqlite.tool.done == []
    for name in ("away", "near"):
        assert on_sqlite.call(f"queue.{name}", {"action": "resume"}, f"resume-{name}").status_code == 200
    on_sqlite.until(near, "succeeded")
    assert on_sqlite.say(on_sqlite.take(), "complete", output=1).status_code == 200
    on_sqlite.until(away, "succeeded")
    assert on_sqlite.state(near).nodes["find"].attempt == 1


def test_a_task_that_loses_every_worker_fails_at_last(on_sqlite):
    run = on_sqlite.begin("away", amount=7)
    for number in range(1, 7):
        on_sqlite.take()
        on_sqlite.hand.offset = timedelta(seconds=40 * number)
    state = on_sqlite.until(run, "failed")
    assert (state.nodes["find"].why, state.nodes["find"].attempt) == ("lease_lapsed", 2)


def test_a_halted_queue_hands_nothing_out(on_sqlite):
    on_sqlite.begin("away", amount=7)
    halt = Halt(tenant="acme", what="queue:away", mode="halt", reason="drill", by="person:alice")
    on_sqlite.inside(lambda app: app.gate.halts.set(halt))
    told = on_sqlite.lease()
    assert (told.status_code, told.json()["rule"]) == (403, "halted")


def test_a_task_spends_what_its_node_reserves_and_no_more(tmp_path):
    with work(tmp_path, money=True) as made:
        run = made.begin("away", amount=7)
        task = made.take()
        assert made.act(task, "pay.costly", key="1").status_code == 200  # costs 10 of 15
        assert made.act(task, "pay.costly", key="1").status_code == 200  # the same effect
        assert made.act(task, "pay.costly", key="2").json()["rule"] == "authority.budget"
        assert made.say(task, "complete", output=1, usage={"micros": 2}).status_code == 200
        assert made.until(run, "succeeded").spent.micros == 12


def test_a_task_whose_input_was_erased_fails_and_is_handed_to_nobody(on_sqlite):
    run = on_sqlite.begin("away", amount=7)
    offered = until(lambda: on_sqlite.of_type("task_offered"))[0]

    async def erase(app):
        payload = await app.gate.store.payload("acme", offered["id"], "input")
        event = Event(id="erasure:1", type="erasure", tenant="acme", time=app.gate.clock.now(), data={"agent_id": "agent:payer"})
        await app.gate.store.commit(Unit(tenant="acme", events=(event,), destroys=(payload.key_id,)))
        app.gate.vault.forget("acme")

    on_sqlite.inside(erase)
    assert on_sqlite.lease().json()["task"] is None
    state = on_sqlite.until(run, "failed")
    assert (state.nodes["find"].why, state.nodes["find"].attempt) == ("erased", 1)
