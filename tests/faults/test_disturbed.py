"""Runs through what happens to a gateway that stays: clocks that jump, definitions that change under it."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from messages.post import until
from runs.flows import flows
from runs.test_waits import HEAD, pay

NAP = HEAD + "    nap: {role: executor, wait: {for: LONG}}\n" + pay("paid", more="needs: [nap], ")
DOCUMENTS = {
    "sleeps": NAP.replace("NAME", "sleeps").replace("LONG", "2h"),
    "asks": HEAD.replace("NAME", "asks")
    + "    ok: {role: approver, approval: {approvers: ['role:lead'], expires: 5h, shows: {amount: $input.amount}}}\n"
    + pay("paid", more="needs: [ok], "),
}


@pytest.fixture
def f(tmp_path, store_url):
    lines = "".join(f"    workflow.{name}: {{contract: workflow.{name}@1}}\n" for name in DOCUMENTS)
    rules = "    - {id: workflows, effect: allow, tools: [workflow.sleeps, workflow.asks]}\n"
    with flows(tmp_path, store_url, workflows=DOCUMENTS, lines=lines, rules=rules) as made:
        yield made


def waiting(f, run, node):
    f.until(run, "waiting")
    return f.state(run).nodes[node]


def test_a_clock_that_jumps_ahead_ends_waits_and_one_that_jumps_back_makes_runs_wait_and_fails_none(f):
    slept, asked = f.begin("sleeps", key="a", amount=7), f.begin("asks", key="b", amount=7)
    approval = waiting(f, asked, "ok").approval_id
    f.hand.offset = timedelta(hours=3)
    f.until(slept, "succeeded")
    f.hand.offset = timedelta(hours=3, minutes=-5)  # behind the journal: nothing is decided until the clock is right again
    assert f.approve(approval).status_code == 200
    until(lambda: f.state(asked).nodes["paid"].state == "issued")
    f.hand.offset = timedelta(hours=3, seconds=10)
    f.until(asked, "succeeded")
    assert len(f.tool.done) == 2
    assert f.fsck() == []


def test_a_run_ends_on_the_definition_that_it_began_on_and_the_next_one_on_the_new(f):
    before = f.begin("asks", key="a", amount=7)
    approval = waiting(f, before, "ok").approval_id
    f.stop()
    path = f.root / "tenants/acme/workflows/asks.yaml"
    path.write_text(
        path.read_text().replace("version: 1.0.0", "version: 1.1.0").replace("args: {amount: $input.amount}", "args: {amount: 9}")
    )
    f.start()
    after = f.begin("asks", key="b", amount=7)
    for each in (approval, waiting(f, after, "ok").approval_id):
        assert f.approve(each).status_code == 200
    for run in (before, after):
        f.until(run, "succeeded")
    assert [f.row(run).version for run in (before, after)] == ["1.0.0", "1.1.0"]
    assert sorted(json.loads(request["body"])["amount"] for request in f.tool.requests) == [7, 9]


def test_what_is_answered_twice_late_and_otherwise_while_a_gateway_restarts_counts_once(f):
    run = f.begin("asks", key="a", amount=7)
    approval = waiting(f, run, "ok").approval_id
    said = f.statement(f.get(f"/v1/approvals/{approval}", f.person_token()).json())
    f.stop()
    f.start()
    with ThreadPoolExecutor(8) as pool:  # the sweep takes the run up meanwhile
        told = list(pool.map(lambda _: f.post(f"/v1/approvals/{approval}/answer", {"statement": said}, f.person_token()), range(8)))
    assert any(each.status_code == 200 for each in told)
    assert {each.status_code for each in told} <= {200, 409}
    assert f.approve(approval, "person:bob", approve=False).status_code == 409
    f.until(run, "succeeded")
    assert len(f.tool.done) == 1


def wait_through_a_restart(f, count):
    runs = [f.begin("sleeps", key=f"k{number}", amount=1) for number in range(count)]
    f.until(runs[-1], "waiting")
    f.stop()
    f.start()
    f.hand.offset = timedelta(hours=3)
    for run in runs:
        f.until(run, "succeeded", seconds=240)
    assert len(f.tool.done) == len(set(f.tool.done)) == count
    assert f.fsck() == []


def test_runs_that_wait_through_a_restart_all_go_on_when_their_time_comes(f):
    wait_through_a_restart(f, 20)


@pytest.mark.campaign
def test_a_thousand_runs_that_wait_through_a_restart_all_go_on_when_their_time_comes(f):
    wait_through_a_restart(f, 1000)
