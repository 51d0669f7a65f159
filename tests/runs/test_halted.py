"""Runs under a halt: nothing is done, nothing fails, and what rested goes on when the halt is lifted."""

import time

import pytest

from aegis.runtime.halts import Halt

MANY = 100


def halt(what):
    return Halt(tenant="acme", what=what, mode="halt", reason="a test", by="person:alice")


@pytest.mark.parametrize("what", ["tool:pay.honours", "workflow:pay", "agent:other", "tenant"])
def test_what_is_halted_rests_and_goes_on(f, what):
    stopped = halt(what)
    if what in ("workflow:pay", "tenant"):  # a start is a call, too
        f.tool.mood = "wait"
        f.tool.gate.clear()
        run = f.begin(amount=1)
        f.tool.arrived.wait(10)
        f.inside(lambda app: app.gate.halts.set(stopped))
        f.tool.gate.set()
    else:
        f.inside(lambda app: app.gate.halts.set(stopped))
        run = f.begin(amount=1)
    time.sleep(0.5)
    assert f.state(run).nodes["second"].state != "succeeded"
    assert f.row(run).ended_at is None
    f.inside(lambda app: app.gate.halts.lift(stopped))
    f.until(run, "succeeded")
    assert len(f.tool.done) == 2


def test_a_run_that_is_halted_says_so(f):
    f.tool.mood = "wait"
    f.tool.gate.clear()
    run = f.begin(amount=1)
    f.tool.arrived.wait(10)
    stopped = halt(f"run:{run}")
    f.inside(lambda app: app.gate.halts.set(stopped))
    f.until(run, "halted")
    f.tool.gate.set()
    f.inside(lambda app: app.gate.halts.lift(stopped))
    f.until(run, "succeeded")


def test_what_rested_is_taken_up_within_the_room_of_a_process(f):
    stopped = halt("tool:pay.honours")
    f.inside(lambda app: app.gate.halts.set(stopped))
    runs = [f.begin(key=f"k{number}", amount=1) for number in range(MANY)]
    f.inside(lambda app: app.gate.halts.lift(stopped))
    seen = 0
    while any(f.row(run).ended_at is None for run in runs[-3:]):
        seen = max(seen, f.app.workflows.runs.places._taken)
        time.sleep(0.01)
    for run in runs:
        f.until(run, "succeeded")
    assert seen <= f.settings.workflows.in_flight
    assert len(f.tool.done) == 2 * MANY
