"""Runs that fail in numbers, and a run or workflow that is halted: also for whoever acts inside of it."""

import time

import pytest

from aegis.runtime.halts import Halt
from runs.flows import flows
from triggers.test_triggers import halts

TRIGGERS = """
apiVersion: aegis.triggers/v1
kind: Triggers
metadata: {tenant: acme}
spec:
  triggers:
    - id: failing
      reason: runs fail
      when: {outcomes: [denied, failed], of: "workflow:*", more_than: 1, within_seconds: 60}
      then: {halt: it}
"""


@pytest.fixture
def f(tmp_path):
    with flows(tmp_path) as made:
        yield made


def until(stands):
    deadline = time.monotonic() + 20
    while not stands():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_workflow_whose_steps_fail_in_numbers_starts_no_more_runs(f):
    (f.root / "tenants" / "acme" / "triggers.yaml").write_text(TRIGGERS)
    for number in range(2):
        f.until(f.begin(key=f"k{number}", amount=6000), "failed")  # the policy denies what is above 5000
    until(lambda: f.call("workflow.pay", {"amount": 1}, f"n-{time.monotonic_ns()}").json().get("rule") == "halted")
    assert [(each["what"], each["by"]) for each in halts(f)] == [("workflow:pay", "system:triggers")]


@pytest.mark.parametrize("kind", ["run", "workflow"])
def test_what_acts_inside_a_halted_run_is_stopped_by_the_gateway_and_goes_on_when_it_is_lifted(f, kind):
    f.tool.mood = "wait"
    f.tool.gate.clear()
    run = f.begin(amount=7)
    assert f.tool.arrived.wait(10)
    halt = Halt(tenant="acme", what=f"run:{run}" if kind == "run" else "workflow:pay", mode="halt", reason="x", by="person:alice")
    f.inside(lambda app: app.gate.halts.set(halt))
    f.tool.gate.set()
    f.tool.mood = "ok"
    until(lambda: f.state(run).nodes["first"].state == "succeeded")
    time.sleep(0.3)  # time in which the second step could have begun
    assert len(f.tool.done) == 1
    f.inside(lambda app: app.gate.halts.lift(halt))
    f.until(run, "succeeded")
    assert len(f.tool.done) == 2
