"""Runs of workflows that wait for people: on the gateway, over HTTP, with other processes beside it."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest

from aegis.adapters import keyfiles
from aegis.workflow.run import RunState
from approvals.receiver import Receiver, until
from approvals.test_channels import CHANNELS, SECRET
from runs.flows import PAY, Flows, lay

HEAD = PAY.partition("  steps:\n")[0].partition("  returns:")[0]
ASKED = (
    HEAD.replace("name: pay", "name: asked")
    + "  steps:\n"
    + "    ok: {role: approver, approval: {approvers: ['role:limits'], expires: 4h, escalate: {after: 1h, approvers: ['role:lead']},"
    + " shows: {amount: $input.amount}}}\n"
    + "    pay: {role: executor, needs: [ok], tool: pay.honours@1, args: {amount: $input.amount},"
    + " compensate: {none: 'the last step'}}\n"
)
LINES = "    workflow.asked: {contract: workflow.asked@1}\n"
RULES = "    - {id: workflows, effect: allow, tools: [workflow.asked], when: {agent.roles: {contains: treasury}}}\n"
LIMITS = """
apiVersion: aegis.guardrail/v1
kind: Guardrail
metadata: {name: limits, tenant: acme}
spec:
  rules:
    - {id: small, answer: approve, when: {approval.workflow: {eq: asked}, shown.amount: {lte: 500}}, reason: small}
"""


@pytest.fixture
def receiver():
    made = Receiver(SECRET)
    yield made
    made.close()


@pytest.fixture
def f(tmp_path, store_url, receiver):
    """Runs, a guardrail that may agree, and a receiver that is told of runs that end."""
    made = Flows(tmp_path, store_url)
    lay(tmp_path, workflows={"asked": ASKED}, lines=LINES, rules=RULES)
    try:
        directory = made.root / "tenants" / "acme" / "directory.yaml"
        directory.write_text(directory.read_text() + "    person:limit-guard: {roles: [limits], automatic: true}\n")
        keyfiles.create(made.keys, "human", "acme", "person:limit-guard", now=made.hand())
        (made.root / "limits.yaml").write_text(LIMITS)
        (made.root / "aegis.toml").write_text(f'[store]\nurl = "{store_url}"\n')
        (made.root / "desk.whsec").write_text(SECRET)
        (made.root / "desk.whsec").chmod(0o600)
        (made.root / "tenants" / "acme" / "channels.yaml").write_text(CHANNELS.format(url=receiver.url, more=""))
        made.start()
        until(lambda: made.app.notices._read.get(("acme", "deaf")) is not None, "the channel was never looked at")
        yield made
    finally:
        made.close()


def command(f, *words):
    line = [sys.executable, "-m", "aegis", "--dir", str(f.root), "--json", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def guard(f):
    return command(f, "guardrail", "run", "--as", "person:limit-guard", "--when", str(f.root / "limits.yaml"), "--url", f.url,
                   "--tenant", "acme", "--once")  # fmt: skip


def waiting(f, key, amount):
    run = f.begin("asked", key=key, amount=amount)
    until(lambda: f.state(run).nodes["ok"].approval_id, "nobody was asked")
    return run, f.state(run).nodes["ok"].approval_id


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_people_and_a_guardrail_answer_for_runs_and_whoever_is_silent_lets_them_end(f, receiver):
    small, _ = waiting(f, "small", 400)
    large, approval = waiting(f, "large", 900)
    silent, _ = waiting(f, "silent", 901)

    done = guard(f)
    assert [json.loads(line)["state"] for line in done.stdout.splitlines()] == ["approved"], done.stderr
    assert f.until(small, RunState.SUCCEEDED).nodes["ok"].output["approved_by"] == ["person:limit-guard"]

    until(lambda: [n["data"]["run"] for _, n in receiver.got if n["type"] == "run.ended"] == [small], "the end was not told")

    f.hand.offset = timedelta(minutes=61)
    until(lambda: "approval_escalated" in [e["type"] for e in f.events(large)], "nobody else was asked")
    card = f.get(f"/v1/approvals/{approval}", f.person_token("person:alice")).json()
    assert (card["arguments"], card["workflow"], card["step"], card["run"]) == ({"amount": 900}, "asked@1.0.0", "ok", large)
    assert f.approve(approval, "person:alice").json()["state"] == "approved"
    assert f.until(large, RunState.SUCCEEDED)
    assert "workflow_escalated" in [e["type"] for e in f.events(large)]

    f.hand.offset = timedelta(hours=5)
    assert f.until(silent, RunState.FAILED, RunState.COMPENSATED).nodes["ok"].outcome == "expired"


def test_an_answer_that_another_process_took_moves_the_run_on(f):
    run, approval = waiting(f, "k", 700)
    done = command(f, "approvals", "approve", approval, "--as", "person:limit-guard", "--tenant", "acme")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "approved"
    assert f.until(run, RunState.SUCCEEDED)
    assert f.tool.done[-1][0] == "pay.honours"
