from datetime import timedelta

from aegis.workflow.graph import Retry
from aegis.workflow.outstanding import outstanding
from aegis.workflow.run import Act, Finish, RunState, Sleep, Undo
from workflow.controller.play import T0, Run, flow, ref, said, tool

SAGA = flow(
    tool("book", undo=True),
    tool("pay", ["book"], args={"of": ref("$steps.book.output.id"), "amount": ref("$input.amount")}, undo=True),
    tool("send", ["pay"]),
    returns={"paid": ref("$steps.pay.output.id")},
)


def test_each_step_starts_when_what_it_needs_has_ended_with_the_values_of_those() -> None:
    run = Run(SAGA, {"amount": 5})
    assert said(run.issued[0]) == ["act book#1"]
    (command,) = run.ok("book")
    assert command == Act(node="pay", dispatch=1, attempt=1, arguments={"of": "book-made", "amount": 5})
    assert outstanding(SAGA, run.state) == (command,)
    run.ok("pay")
    assert run.ok("send") == (Finish(state=RunState.SUCCEEDED, output={"paid": "pay-made"}),)
    assert run.state.status is RunState.SUCCEEDED


def test_a_failure_that_leaves_the_graph_is_compensated_from_the_latest_back() -> None:
    run = Run(SAGA, {"amount": 5})
    run.ok("book")
    run.ok("pay")
    assert run.fail("send") == (Undo(node="pay", dispatch=2, attempt=1, arguments={"of": "pay-made"}),)
    assert run.state.status is RunState.UNWINDING
    assert run.state.failure == "send: upstream_error"
    assert said(run.ok("pay")) == ["undo book#2"]
    assert said(run.ok("book")) == ["finish compensated"]


def test_a_failure_is_tried_again_after_the_pause_that_was_drawn() -> None:
    run = Run(flow(tool("a", retry=Retry(attempts=2))))
    (sleep,) = run.fail("a", again=True, pause_ms=1500)
    assert sleep == Sleep(node="a", dispatch=2, until=T0 + timedelta(seconds=2.5))
    assert run.state.status is RunState.WAITING
    assert run.wake("a") == (Act(node="a", dispatch=3, attempt=2, arguments={}),)
    assert said(run.fail("a", again=True)) == ["finish failed"]


def test_parallel_steps_start_together_as_far_as_the_limit_goes() -> None:
    run = Run(flow(tool("a"), tool("b"), tool("c"), max_parallel=2))
    assert said(run.issued[0]) == ["act a#1", "act b#1"]
    assert said(run.ok("b")) == ["act c#1"]
