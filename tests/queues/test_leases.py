"""Workers of remote agents: one has a task, for as long as its lease lasts, with authority for just that task."""

import time
from datetime import timedelta


def test_a_worker_leases_acts_and_completes(q):
    run = q.begin("away", amount=7)
    task = q.take(worker="w1")
    assert task["input"] == {"amount": 7}
    done = q.act(task, amount=7)
    assert done.status_code == 200, done.text
    output = {"paid": done.json()["result"]["id"]}
    model = {"id": "m-1", "version": "3", "prompt_sha256": "sha256:00", "seed": "9"}
    for _ in range(2):  # to say it twice is as good as once
        told = q.say(task, "complete", output=output, usage={"tokens": 11, "micros": 5}, model=model)
        assert (told.status_code, told.json()["outcome"]) == (200, "succeeded"), told.text
    state = q.until(run, "succeeded")
    assert state.output == {"found": {"paid": 1}}
    assert state.spent.tokens == 11
    told = next(event for event in q.events(run) if event["type"] == "workflow_succeeded")
    assert told["event"]["usage"]["model"] == model
    leased = q.of_type("task_leased")[0]
    assert (leased["worker"], leased["token_jti"][:4]) == ("w1", "tok_")


def test_the_chain_of_a_task_shows_everybody_and_ends_with_the_task(on_sqlite):
    on_sqlite.begin("away", amount=7)
    task = on_sqlite.take()
    assert on_sqlite.act(task, amount=1).status_code == 200
    made = [event for event in on_sqlite.of_type("decision") if event["tool"]["name"] == "pay.honours"][-1]
    assert [each["sub"] for each in made["actor"]["act"]] == ["agent:payer", "agent:other", "workflow:away"]
    assert made["agent"]["txn"] == task["run"]
    assert made["agent"]["task"] == task["node"]
    assert on_sqlite.say(task, "complete", output={}).status_code == 200
    refused = on_sqlite.act(task, key="2", amount=1)
    assert "chain.parent_not_live" in refused.json()["rules"], refused.text


def test_a_failure_is_tried_again_and_the_effect_is_met(on_sqlite):
    run = on_sqlite.begin("away", amount=7)
    task = on_sqlite.take()
    first = on_sqlite.act(task, amount=7).json()["result"]
    told = on_sqlite.say(task, "fail", kind="no_answer", text="the source was silent", again=True)
    assert told.json()["outcome"] == "no_answer"
    assert on_sqlite.say(task, "complete", output={}).json()["outcome"] == "no_answer"
    again = on_sqlite.take()
    assert (again["attempt"], again["dispatch"] > task["dispatch"]) == (2, True)
    assert on_sqlite.act(again, amount=7).json()["result"] == first
    assert on_sqlite.say(again, "complete", output={"ok": True}).status_code == 200
    on_sqlite.until(run, "succeeded")
    assert len(on_sqlite.tool.done) == 1


def test_a_lapsed_lease_goes_back_and_the_late_worker_is_refused(q):
    run = q.begin("away", amount=7)
    late = q.take()
    q.hand.offset = timedelta(seconds=31)
    again = q.take()
    assert again["dispatch"] == late["dispatch"] + 1
    assert again["attempt"] == late["attempt"]
    for word, more in (("complete", {"output": {"late": True}}), ("heartbeat", {})):
        told = q.say(late, word, **more)
        assert (told.status_code, told.json()["code"]) == (409, "task-lost"), told.text
    assert q.act(late).json()["rule"] == "chain.parent_not_live"
    assert q.say(again, "complete", output={"late": False}).status_code == 200
    assert q.until(run, "succeeded").output == {"found": {"late": False}}


def test_a_heartbeat_keeps_the_lease_and_renews_the_credential(on_sqlite):
    run = on_sqlite.begin("away", amount=7)
    task = on_sqlite.take()
    fresh = None
    for seconds in range(20, 220, 20):
        on_sqlite.hand.offset = timedelta(seconds=seconds)
        told = on_sqlite.say(task, "heartbeat")
        assert told.status_code == 200, told.text
        fresh = told.json().get("credential") or fresh
        time.sleep(0.01)
    assert fresh is not None
    assert on_sqlite.act(task, token=fresh["token"]).status_code == 200
    assert on_sqlite.say(task, "complete", output={}).status_code == 200
    on_sqlite.until(run, "succeeded")
    assert on_sqlite.of_type("task_lapsed") == []
