"""Runs that wait: for people, for signals, for times, for other runs; nothing is held meanwhile."""

import time
from datetime import UTC, datetime

import pytest

from aegis.workflow.run import Signalled
from runs.flows import flows

HEAD = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: NAME, version: 1.0.0, tenant: TENANT, owner: finance-ops, run_as: agent:other, runbook: pay.md}
spec:
  input: order@1
  steps:
"""
PAY = "    {id}: {{role: executor, {more}tool: pay.honours@1, args: {{amount: {amount}}}, compensate: {{{undo}}}}}\n"


def pay(each: str, amount: str = "$input.amount", more: str = "", undo: str = "none: a test") -> str:
    return PAY.format(id=each, amount=amount, more=more, undo=undo)


TEMPLATES = {
    "asks": HEAD
    + "    ok: {role: approver, approval: {approvers: ['role:lead'], quorum: 2, shows: {amount: $input.amount}}}\n"
    + pay("paid", more="needs: [ok], "),
    "held": HEAD + pay("paid"),
    "signal": HEAD
    + "    go: {role: executor, wait: {signal: go, timeout: 1h}}\n"
    + pay("paid", amount="$steps.go.output.amount", more="needs: [go], "),
    "sleeps": HEAD + "    nap: {role: executor, wait: {for: 1s}}\n" + pay("paid", more="needs: [nap], "),
    "late": HEAD + "    go: {role: executor, wait: {signal: go, timeout: 1s}}\n" + pay("paid", more="needs: [go], "),
    "above": HEAD
    + "    inner: {role: executor, workflow: below@1, input: {amount: $input.amount}, compensate: {none: a test}}\n"
    + pay("paid", more="needs: [inner], "),
    "below": HEAD + "    nap: {role: executor, wait: {for: 1s}}\n" + pay("paid", more="needs: [nap], "),
    "each": HEAD
    + "    each: {role: executor, for_each: $input.items, max_elements: 200, max_parallel: 3, tool: pay.honours@1,"
    + " args: {amount: $item}, compensate: {tool: pay.ask@1, args: {amount: $item}}}\n"
    + pay("last", more="needs: [each], "),
}


TEMPLATES["tells"] = HEAD + "    said: {role: executor, emit: paid@1, data: {amount: $input.amount}}\n"
MESSAGE = """
apiVersion: aegis.message/v1
kind: Event
metadata: {name: paid, version: 1.0.0, tenant: acme, owner: finance-ops}
spec:
  description: Something was paid.
  from: [agent:other]
  to: ["role:treasury"]
  timeout: 3600
  idempotency: source_and_id
  data: {type: object, required: [amount], properties: {amount: {type: integer}}}
"""
DOCUMENTS = {name: text.replace("NAME", name) for name, text in TEMPLATES.items()}


@pytest.fixture
def f(tmp_path, store_url):
    lines = "".join(f"    workflow.{name}: {{contract: workflow.{name}@1}}\n" for name in DOCUMENTS)
    names = ", ".join(f"workflow.{name}" for name in DOCUMENTS)
    lines += "    message.paid: {contract: message.paid@1}\n"
    rules = f"    - {{id: workflows, effect: allow, tools: [{names}, message.paid]}}\n"
    (tmp_path / "tenants/acme/messages").mkdir(parents=True)
    (tmp_path / "tenants/acme/messages/paid.yaml").write_text(MESSAGE)
    with flows(tmp_path, store_url, workflows=DOCUMENTS, lines=lines, rules=rules) as made:
        yield made


def waiting(f, run, node):
    f.until(run, "waiting")
    return f.state(run).nodes[node]


def test_an_approval_step_waits_for_two_people_and_then_the_run_goes_on(f):
    run = f.begin("asks", amount=7)
    node = waiting(f, run, "ok")
    assert f.tool.done == []
    assert f.approve(node.approval_id, "person:alice").status_code == 200
    assert str(f.row(run).status) == "waiting"
    assert f.approve(node.approval_id, "person:bob").status_code == 200
    state = f.until(run, "succeeded")
    assert state.nodes["ok"].outcome == "approved"
    assert len(f.tool.done) == 1


def test_a_step_that_a_person_rejects_ends_the_run_before_anything_is_done(f):
    run = f.begin("asks", amount=7)
    node = waiting(f, run, "ok")
    assert f.approve(node.approval_id, approve=False).status_code == 200
    state = f.until(run, "failed")
    assert state.nodes["ok"].outcome == "rejected"
    assert f.tool.done == []


def test_a_call_that_the_policy_holds_waits_and_is_made_once_it_was_approved(f):
    run = f.begin("held", amount=1500)
    node = waiting(f, run, "paid")
    assert f.approve(node.approval_id).status_code == 200
    f.until(run, "succeeded")
    assert len(f.tool.done) == 1


def test_a_signal_brings_what_the_next_step_works_with(f):
    run = f.begin("signal", amount=1)
    waiting(f, run, "go")

    async def signal(app):
        return await app.workflows.runs.advance(
            "acme", run, Signalled(at=datetime.now(UTC), name="go", key="1", payload={"amount": 42})
        )

    f.inside(signal)
    f.until(run, "succeeded")
    assert b'"amount":42' in f.tool.requests[-1]["body"].replace(b" ", b"")


def test_a_signal_that_does_not_come_in_time_fails_the_step(f):
    state = f.until(f.begin("late", amount=1), "failed")
    assert state.nodes["go"].outcome == "timed_out"
    assert f.tool.done == []


def test_a_pause_is_kept_by_a_row_and_by_nothing_else(f):
    run = f.begin("sleeps", amount=1)
    waiting(f, run, "nap")

    async def held(app):
        return [task for task in app.workflows.runs._tasks if not task.done()]

    assert f.inside(held) == []
    f.until(run, "succeeded")


def test_a_run_waits_for_the_run_that_it_has_started(f):
    run = f.begin("above", amount=5)
    state = f.until(run, "succeeded")
    assert len(f.tool.done) == 2
    assert state.nodes["inner"].outcome == "succeeded"


def test_a_failure_after_a_fan_out_undoes_every_element_backwards(f):
    state = f.until(f.begin("each", amount=6000, items=[1, 2, 3, 4]), "compensated")
    undone = [name for name, _ in f.tool.done].count("pay.ask")
    assert undone == 4
    assert {str(node.state) for name, node in state.nodes.items() if "[" in name} == {"compensated"}


def test_nothing_is_in_the_journal_in_the_open(f):
    run = f.begin("each", amount=31337, items=[271828])
    f.until(run, "compensated", "failed", "succeeded")
    assert b"271828" not in b"".join(str(event).encode() for event in f.events(run))


def test_a_restart_finds_every_waiting_run(f):
    runs = [f.begin("asks", key=f"k{number}", amount=7) for number in range(5)]
    nodes = [waiting(f, run, "ok") for run in runs]
    f.stop()
    f.start()
    for node in nodes:
        for person in ("person:alice", "person:bob"):
            assert f.approve(node.approval_id, person).status_code == 200
    for run in runs:
        f.until(run, "succeeded")
    assert len(f.tool.done) == len(runs)


def test_a_definition_that_is_not_the_one_that_is_pinned_starts_no_run(f):
    home = f.root / "tenants/acme"
    pinned = "{file: workflows/held.yaml, kind: workflow, digest: 'sha256:" + "0" * 64 + "'}"
    (home / "trust.yaml").write_text(
        f"apiVersion: aegis.trust/v1\nkind: Trust\nmetadata: {{tenant: acme}}\nspec: {{artifacts: [{pinned}]}}\n"
    )
    answer = f.call("workflow.held", {"amount": 1}, "pinned")
    assert answer.status_code != 200
    (home / "trust.yaml").unlink()
    f.until(f.begin("held", key="pinned-2", amount=1), "succeeded")


def test_nothing_more_is_done_for_a_starter_who_was_disabled(f):
    run = f.begin("signal", amount=1)
    waiting(f, run, "go")
    directory = f.root / "tenants/acme/directory.yaml"
    line = next(each for each in directory.read_text().splitlines() if "agent:payer:" in each)
    directory.write_text(directory.read_text().replace(line, line.replace("}", ", enabled: false}")))
    while f.get("/v1/tools").status_code == 200:
        time.sleep(0.05)

    async def signal(app):
        return await app.workflows.runs.advance(
            "acme", run, Signalled(at=datetime.now(UTC), name="go", key="1", payload={"amount": 42})
        )

    f.inside(signal)
    state = f.until(run, "failed")
    assert state.nodes["paid"].why == "no_such_agent"
    assert f.tool.done == []


def test_a_step_that_tells_others_puts_one_message_into_their_mailbox(f):
    f.until(f.begin("tells", amount=7), "succeeded")
    found = f.post("/v1/messages/lease", {"type": "paid", "accept": "1.0", "lease_seconds": 30})
    assert found.status_code == 200, found.text
    assert '"amount":7' in found.text.replace(" ", "")
