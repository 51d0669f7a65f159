"""Runs that belong to others: the child of a step, and the run of a plan from a file; and the same through the asynchronous client."""

import asyncio

import pytest
from tests.cli.command import aegis

from aegis.sdk.client import AsyncClient
from aegis.sdk.runs import ENDED
from runs.flows import LINES, PAY, RULES, flows
from runs.operated import RISKY

OUTER = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: outer, version: 1.0.0, tenant: TENANT, owner: finance-ops, run_as: agent:other, runbook: outer.md}
spec:
  input: order@1
  returns: {paid: $steps.inner.output.paid}
  steps:
    inner:
      role: executor
      workflow: pay@1
      input: {amount: $input.amount}
      compensate: {none: "the inner run undoes itself"}
"""
GATES = """
apiVersion: aegis.gates/v1
kind: Gates
metadata: {tenant: acme}
spec:
  risk: {auto_below: 4000, deny_above: 8000}
  proposers: ["role:treasury"]
  approvers: {sets: [["role:lead"]], quorum: 1, expires: 1h}
"""


@pytest.fixture
def f(tmp_path):
    """A world with a workflow that starts another one, and gates that let small plans pass."""
    lines = LINES + "    workflow.outer: {contract: workflow.outer@1}\n"
    rules = RULES.replace("tools: [workflow.pay]", "tools: [workflow.pay, workflow.outer]")
    (tmp_path / "tenants" / "acme").mkdir(parents=True)
    (tmp_path / "tenants" / "acme" / "gates.yaml").write_text(GATES)
    (tmp_path / "aegis.toml").write_text("")
    with flows(tmp_path, workflows={"pay": PAY, "outer": OUTER}, lines=lines, rules=rules) as made:
        yield made


def test_a_run_shows_the_run_that_a_step_started_and_that_one_the_step(f):
    outer = f.begin("outer", amount=5)
    assert f.until(outer, "succeeded").output == {"paid": 2}

    [step] = f.get(f"/v1/runs/{outer}").json()["run"]["steps"]
    inner = f.get(f"/v1/runs/{step['child']}", f.person_token()).json()["run"]
    assert inner["above"] == {"run": outer, "node": "inner"}
    told = aegis(f.root, "workflow", "show", outer, env={"AEGIS_TENANT": "acme", "COLUMNS": "80"})
    assert f"run {step['child']}" in told.stdout
    replayed = aegis(f.root, "replay", outer, env={"AEGIS_TENANT": "acme"})
    assert replayed.stdout.startswith("identical, 3 events")


def test_a_file_is_run_as_a_plan_and_followed_to_its_end(f):
    plan = f.root / "plan.yaml"
    plan.write_text(PAY.replace("TENANT", "acme").replace("name: pay", "name: mine").replace("agent:other", "agent:payer"))
    words = ("workflow", "run", str(plan), "-i", "amount=3", "--as", "agent:payer", "--key", "p1", "--follow")

    told = aegis(f.root, *words, env={"AEGIS_URL": f.url, "AEGIS_TENANT": "acme", "COLUMNS": "80"})
    assert (told.returncode, "second: succeeded" in told.stdout) == (0, True), told.stderr
    plan.write_text(RISKY.replace("TENANT", "acme").replace("retry: {attempts: 1}", "retry: {attempts: 0}"))
    told = aegis(f.root, *words[:-3], "--key", "p2", env={"AEGIS_URL": f.url, "AEGIS_TENANT": "acme"})
    assert told.returncode == 5
    assert "plan:24:15: expected an integer from 1 to 5" in told.stderr


def test_the_asynchronous_client_begins_follows_and_operates_runs(f):
    async def work():
        async with AsyncClient(f.url, f.token()) as client:
            run = await client.begin("pay", {"amount": 5}, key="k9")
            while (found := (await client.run(run, values=True))["run"])["state"] not in ENDED:
                await asyncio.sleep(0.02)
            listed = await client.runs(workflow="pay", limit=5)
            return run, found, listed

    run, found, listed = asyncio.run(work())
    assert found["values"] == {"input": {"amount": 5}, "output": {"paid": 2}}
    assert [each["run"] for each in listed["runs"]] == [run]
