"""Attacks on runs by those who do their tasks: money spent under leases that are let go, and work that goes on after its run has turned."""

import time
from datetime import timedelta

from aegis.runtime.runs.histories import Histories
from aegis.runtime.runs.orchestrator import Orchestrator
from aegis.workflow.run import CancelAsked
from queues.work import Service, work
from runs.flows import RULES, flows


def test_an_agent_that_lets_its_lease_go_has_spent_what_it_spent(tmp_path):
    with work(tmp_path, money=True) as made:
        run = made.begin("away", amount=7)
        first = made.take()
        assert made.act(first, "pay.costly", key="1").status_code == 200  # costs 10 of 15
        made.hand.offset = timedelta(seconds=40)
        again = made.take()
        assert again["attempt"] == first["attempt"]
        assert made.act(again, "pay.costly", key="2").json()["rule"] == "authority.budget"
        assert made.say(again, "complete", output=1).status_code == 200
        assert made.until(run, "succeeded").spent.micros == 10


def test_a_task_that_loses_all_its_workers_has_cost_what_they_spent(tmp_path):
    with work(tmp_path, money=True) as made:
        run = made.begin("away", amount=7)
        for number in range(1, 7):
            task = made.take()
            if number in (1, 4):
                assert made.act(task, "pay.costly", key=str(number)).status_code == 200
            made.hand.offset = timedelta(seconds=40 * number)
        assert made.until(run, "failed").spent.micros == 20


OUTER = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: outer, version: 1.0.0, tenant: TENANT, owner: ops, run_as: agent:other, runbook: outer.md}
spec:
  input: order@1
  steps:
    inner: {role: executor, workflow: inner, input: {amount: $input.amount}, compensate: {none: it undoes itself}}
"""
INNER = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: inner, version: 1.0.0, tenant: TENANT, owner: ops, run_as: agent:other, runbook: inner.md}
spec:
  input: order@1
  steps:
    go: {wait: {signal: go, timeout: 7d}}
    pay: {role: executor, needs: [go], tool: pay.honours@1, args: {amount: $input.amount}, compensate: {none: "it is the last"}}
"""
BOTH = "    workflow.outer: {contract: workflow.outer@1}\n    workflow.inner: {contract: workflow.inner@1}\n"


def nested(root):
    rules = RULES.replace("[workflow.pay]", "[workflow.outer, workflow.inner]")
    return flows(root, workflows={"outer": OUTER, "inner": INNER}, lines=BOTH, rules=rules)


def until(look):
    deadline = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_a_run_below_is_ended_though_the_process_that_turned_the_run_above_died_at_once(tmp_path):
    with nested(tmp_path) as made:
        above = made.begin("outer", amount=7)
        made.until(above, "running")
        until(lambda: str(made.state(above).nodes["inner"].state) == "offered")
        below = made.inside(lambda app: app.workflows.acting._child(app.workflows.histories.kept("acme", above), "inner"))

        async def killed(app):
            """Another process records that the run is cancelled, and does nothing more."""
            mine = app.workflows.runs
            histories = Histories(mine.store, mine.vault, app.workflows.histories._parse)
            other = Orchestrator(
                store=mine.store, vault=mine.vault, clock=mine.clock, engine=mine.engine, histories=histories, instance="gone"
            )
            return await other.advance("acme", above, CancelAsked(at=mine.clock.now(), by="person:alice"))

        assert made.inside(killed) is not None
        assert made.until(above, "cancelled").cancelled
        assert made.until(below, "cancelled").cancelled
        assert made.tool.done == []


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def test_an_output_that_cannot_be_kept_is_a_failure_and_not_nothing(tmp_path):
    service = Service(lambda _: (200, {"output": deep(40)}))
    try:
        with work(tmp_path, endpoint=service.url) as made:
            state = made.until(made.begin("far", amount=7), "failed", "succeeded")
            assert (state.status, state.nodes["find"].why) == ("failed", "contract")
    finally:
        service.close()


LOOP = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: loop, version: 1.0.0, tenant: TENANT, owner: ops, run_as: agent:other, runbook: loop.md}
spec:
  input: order@1
  steps:
    again: {role: executor, workflow: loop, input: {amount: $input.amount}}
"""


def test_a_workflow_that_starts_itself_is_not_begun(tmp_path, caplog):
    rules = RULES.replace("[workflow.pay]", "[workflow.loop]")
    with flows(tmp_path, workflows={"loop": LOOP}, lines="    workflow.loop: {contract: workflow.loop@1}\n", rules=rules) as made:
        assert made.call("workflow.loop", {"amount": 7}, "k").status_code == 502
        assert not [event for event in made.events() if event["type"] == "workflow_started"]
    assert "recursion" in caplog.text


def test_nobody_turns_a_little_money_into_a_run_that_is_not_bound_by_it(tmp_path):
    with work(tmp_path, money=True) as made:
        run = made.begin("away", amount=7)
        task = made.take()
        told = made.act(task, "workflow.near", key="run")
        assert (told.status_code, told.json()["rule"]) == (403, "authority.budget")
        assert made.say(task, "complete", output=1).status_code == 200
        made.until(run, "succeeded")


SECRET = "iban-4711-of-nora"


def test_what_a_run_works_with_stands_nowhere_in_plain(tmp_path, caplog):
    """Neither rows nor events, metrics nor logs hold what a run was given, what its agents gave, or the words that they raised."""
    told = iter([(200, {"output": {"bank": SECRET}}), (200, b"{" + SECRET.encode()), (400, {"error": SECRET})])
    service = Service(lambda _: next(told, (400, {"error": SECRET})))
    try:
        with work(tmp_path, endpoint=service.url) as made:
            ended = [made.until(made.begin("far", key=f"k{n}", amount=n), "succeeded", "failed") for n in range(3)]
            assert [str(state.status) for state in ended] == ["succeeded", "failed", "failed"]
            assert SECRET not in made.watch("/metrics").text
            assert SECRET not in caplog.text
            for event in made.events():
                assert SECRET not in str(event)
    finally:
        service.close()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept == []
