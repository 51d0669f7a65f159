from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from aegis.errors import IllegalTransitionError
from aegis.workflow.graph import Amount, Budget, Collect, Repeat, Retry, Step, WaitSpec
from aegis.workflow.outstanding import outstanding
from aegis.workflow.run import (
    Act,
    CancelAsked,
    Discarded,
    Escalated,
    Halted,
    Held,
    Offered,
    Redispatched,
    Released,
    Requeued,
    Resumed,
    SettledByHand,
    Signalled,
    Succeeded,
    Undo,
    Usage,
)
from workflow.controller.generated import equal
from workflow.controller.play import T0, Run, flow, ref, said, tool
from workflow.controller.test_exhaustive import approval, child, signal

LATER = T0 + timedelta(days=2)
NO = equal("input.flag", value=True)


def held(run: Run, node: str) -> list[str]:
    return said(run.of(Held, node, approval_id="apr_1", expires_at=LATER))


def used(calls: int) -> Usage:
    return Usage(amount=Amount(calls=calls))


# Conditions and skipping


def test_a_step_whose_condition_does_not_hold_is_skipped_and_what_only_waits_for_it_goes_on() -> None:
    run = Run(flow(tool("a", when=NO), tool("b", "a")))
    assert run.word("a") == "skipped"
    assert run.state.nodes["a"].why == "its condition does not hold"
    assert said(run.issued[0]) == ["act b#1"]


def test_a_step_that_refers_to_the_output_of_a_skipped_one_is_skipped_as_well_and_says_why() -> None:
    run = Run(flow(tool("a", when=NO), tool("b", "a", args={"x": ref("$steps.a.output.id")}), tool("c", "b")))
    assert run.state.nodes["b"].why == "needs a, which was skipped"
    assert said(run.issued[0]) == ["act c#1"]


def test_a_default_stands_for_the_output_of_a_skipped_step() -> None:
    run = Run(flow(tool("a", when=NO, default={"id": "none"}), tool("b", "a", args={"x": ref("$steps.a.output.id")})))
    assert run.issued[0] == (Act(node="b", dispatch=1, attempt=1, arguments={"x": "none"}),)


def test_how_a_step_ended_can_be_referred_to_even_when_it_was_skipped() -> None:
    run = Run(
        flow(tool("a", when=NO), tool("b", "a", args={"how": ref("$steps.a.outcome")}, when=equal("steps.a.outcome", "skipped")))
    )
    assert run.issued[0] == (Act(node="b", dispatch=1, attempt=1, arguments={"how": "skipped"}),)


def test_a_failure_that_may_be_skipped_leaves_its_default_to_those_behind_it() -> None:
    run = Run(flow(tool("a", on_failure="skip", default=[]), tool("b", "a", args={"x": ref("$steps.a.output")})))
    assert run.fail("a") == (Act(node="b", dispatch=1, attempt=1, arguments={"x": []}),)


def test_a_place_that_is_missing_fails_the_step_with_the_reference_as_it_is_written() -> None:
    run = Run(flow(tool("a", undo=True), tool("b", "a", args={"x": ref("$steps.a.output.nothing.here")})))
    assert said(run.ok("a")) == ["undo a#2"]
    assert (run.state.nodes["b"].why, run.state.nodes["b"].text) == ("missing_value", "$steps.a.output.nothing.here")
    assert run.state.failure == "b: missing_value"


def test_what_a_failing_transition_was_about_to_issue_is_not_issued() -> None:
    run = Run(flow(tool("a"), tool("b", args={"x": ref("$input.nothing")})))
    assert said(run.issued[0]) == ["finish failed"]
    assert run.word("a") == "cancelled"
    assert run.state.reserved == Amount()


# Fan-out, fan-in


def test_elements_start_from_the_lowest_on_within_the_limit_and_their_outputs_come_in_their_order() -> None:
    run = Run(
        flow(
            tool("a", for_each=ref("$input.list"), max_parallel=2, args={"x": ref("$item.n")}),
            tool("b", "a", args={"all": ref("$steps.a.output")}),
        ),
        {"list": [{"n": 5}, {"n": 6}, {"n": 7}]},
    )
    assert said(run.issued[0]) == ["act a[0]#1", "act a[1]#1"]
    assert said(run.ok("a[1]", "second")) == ["act a[2]#1"]
    assert said(run.ok("a[2]", "third")) == []
    assert run.ok("a[0]", "first") == (Act(node="b", dispatch=1, attempt=1, arguments={"all": ["first", "second", "third"]}),)


def test_a_list_without_elements_succeeds_with_an_empty_list() -> None:
    run = Run(flow(tool("a", for_each=()), tool("b", "a", args={"all": ref("$steps.a.output")})))
    assert run.word("a") == "succeeded"
    assert run.issued[0] == (Act(node="b", dispatch=1, attempt=1, arguments={"all": []}),)


@pytest.mark.parametrize(
    ("value", "why"), [(5, "invalid_value"), ({"a": 1}, "invalid_value"), ([0] * 1001, "too_many"), ([0] * 3, "too_many")]
)
def test_what_is_no_list_or_too_long_a_one_fails_the_step(value: Any, why: str) -> None:
    limit = 2 if value == [0] * 3 else 0
    run = Run(flow(tool("a", for_each=ref("$input.list"), max_elements=limit)), {"list": value})
    assert run.state.nodes["a"].why == why
    assert said(run.issued[0]) == ["finish failed"]


def test_collect_picks_the_best_the_least_or_a_list_and_of_equals_the_first() -> None:
    collect = (
        Collect(name="best", pick="max_by", path=("score",)),
        Collect(name="least", pick="min_by", path=("score",)),
        Collect(name="scores", pick="list", path=("score",)),
    )
    args = {key: ref(f"$steps.a.{key}") for key in ("best", "least", "scores")}
    run = Run(flow(tool("a", for_each=(1, 2, 3, 4), collect=collect), tool("b", "a", args=args)))
    for index, score in enumerate([2, 9, 9, None]):
        last = run.ok(f"a[{index}]", {"id": index, "score": score})
    (command,) = last
    assert isinstance(command, Act)
    assert command.arguments == {"best": {"id": 1, "score": 9}, "least": {"id": 0, "score": 2}, "scores": [2, 9, 9, None]}


def test_the_best_of_nothing_is_missing() -> None:
    collect = (Collect(name="best", pick="max_by", path=("score",)),)
    run = Run(flow(tool("a", for_each=(), collect=collect), tool("b", "a", args={"x": ref("$steps.a.best")})))
    assert (run.state.nodes["b"].why, run.state.nodes["b"].text) == ("missing_value", "$steps.a.best")


def test_a_condition_over_the_element_skips_elements_alone_and_keeps_their_places() -> None:
    keep = equal("item.keep", value=True)
    run = Run(
        flow(
            tool("a", for_each=({"keep": False}, {"keep": True}), when=keep, default="left out"),
            tool("b", "a", args={"x": ref("$steps.a.output")}),
        )
    )
    assert said(run.issued[0]) == ["act a[1]#1"]
    assert run.ok("a[1]", "taken") == (Act(node="b", dispatch=1, attempt=1, arguments={"x": ["left out", "taken"]}),)


def test_each_element_is_compensated_with_its_own_values() -> None:
    step = tool("a", for_each=("x", "y"), undo=True)
    run = Run(flow(step, tool("b", "a")))
    run.ok("a[1]")
    run.ok("a[0]")
    assert run.fail("b") == (Undo(node="a[0]", dispatch=2, attempt=1, arguments={"of": "a[0]-made"}),)
    assert run.ok("a[0]") == (Undo(node="a[1]", dispatch=2, attempt=1, arguments={"of": "a[1]-made"}),)


# Repeat


def refined(most: int = 2, **more: Any) -> Step:
    return tool("a", repeat=Repeat(until=equal("steps.a.output.good", value=True), most=most), **more)


def test_a_step_is_taken_again_as_another_node_until_its_condition_holds() -> None:
    run = Run(flow(refined(most=3), tool("b", "a", args={"x": ref("$steps.a.output.n")})))
    assert said(run.ok("a", {"good": False})) == ["act a~2#1"]
    assert run.ok("a~2", {"good": True, "n": 2}) == (Act(node="b", dispatch=1, attempt=1, arguments={"x": 2}),)


def test_a_turn_sees_what_the_turn_before_gave_and_the_first_one_sees_the_default() -> None:
    run = Run(flow(refined(args={"draft": ref("$steps.a.output.text")}, default={"text": "nothing yet"})))
    assert run.issued[0] == (Act(node="a", dispatch=1, attempt=1, arguments={"draft": "nothing yet"}),)
    assert run.ok("a", {"text": "first"}) == (Act(node="a~2", dispatch=1, attempt=1, arguments={"draft": "first"}),)


def test_elements_go_through_turns_of_their_own() -> None:
    run = Run(
        flow(refined(for_each=("x", "y"), args={"draft": ref("$steps.a.output.text"), "of": ref("$item")}, default={"text": ""}))
    )
    assert run.ok("a[1]", {"text": "y1"}) == (Act(node="a[1]~2", dispatch=1, attempt=1, arguments={"draft": "y1", "of": "y"}),)
    assert said(run.ok("a[0]", {"good": True})) == []
    assert said(run.ok("a[1]~2", {"good": True})) == ["finish succeeded"]


def test_a_step_that_does_not_converge_fails_and_what_its_turns_did_is_undone() -> None:
    run = Run(flow(refined(undo=True)))
    run.ok("a", {"good": False, "id": 1})
    assert run.ok("a~2", {"good": False, "id": 2}) == (Undo(node="a~2", dispatch=2, attempt=1, arguments={"of": 2}),)
    assert run.state.failure == "a~2: not_converged"
    assert said(run.ok("a~2")) == ["undo a#2"]


def test_a_person_can_grant_one_turn_more() -> None:
    run = Run(flow(refined(on_failure="park"), tool("b", "a")))
    run.ok("a", {"good": False})
    run.ok("a~2", {"good": False})
    assert run.word("a~2") == "parked"
    assert said(run.by(Requeued, "a~2")) == ["act a~3#1"]
    assert said(run.ok("a~3", {"good": True})) == ["act b#1"]


# Waits, signals, approvals


def wait(**spec: Any) -> Step:
    return Step(id="a", kind="wait", role="executor", wait=WaitSpec(**spec))


def test_a_wait_ends_when_its_time_has_come() -> None:
    run = Run(flow(wait(lasts=timedelta(hours=1)), tool("b", "a")))
    (sleep,) = run.issued[0]
    assert sleep.until == T0 + timedelta(hours=1)
    assert outstanding(run.definition, run.state) == (sleep,)
    assert str(run.state.status) == "waiting"
    assert said(run.ok("a")) == ["act b#1"]


def test_a_wait_can_end_at_an_instant_that_its_definition_names() -> None:
    run = Run(flow(wait(until=LATER)))
    assert run.issued[0][0].until == LATER


def test_a_wait_can_end_at_an_instant_that_the_run_was_given() -> None:
    run = Run(flow(wait(until=ref("$input.when"))), {"when": "2027-01-01T00:00:00Z"})
    assert run.issued[0][0].until == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("when", ["tomorrow", "2027-01-01T00:00:00", "0001-01-01T00:00:00+14:00", 5, None])
def test_an_instant_that_is_none_fails_the_step(when: Any) -> None:
    run = Run(flow(wait(until=ref("$input.when"))), {"when": when})
    assert run.state.nodes["a"].why == "invalid_value"


def test_an_instant_or_a_list_that_is_missing_fails_its_step_too() -> None:
    for step in (wait(until=ref("$input.nothing")), tool("a", for_each=ref("$input.nothing"))):
        node = Run(flow(step)).state.nodes["a"]
        assert (node.why, node.text) == ("missing_value", "$input.nothing")


def test_a_run_takes_only_so_many_signals() -> None:
    run = Run(flow(tool("a")))
    run.state = replace(run.state, keys=tuple(f"go/{number}" for number in range(1000)))
    with pytest.raises(IllegalTransitionError, match="has had 1000 signals"):
        run.take(Signalled(at=T0, name="go", key="more"))


def test_a_signal_that_came_before_is_taken_by_the_one_who_comes_to_wait_and_the_oldest_first() -> None:
    run = Run(flow(tool("a"), signal("b", "a"), tool("c", "b", args={"x": ref("$steps.b.output")})))
    run.take(Signalled(at=T0, name="go", key="1", payload="first"))
    run.take(Signalled(at=T0, name="go", key="2", payload="second"))
    assert run.ok("a") == (Act(node="c", dispatch=1, attempt=1, arguments={"x": "first"}),)
    assert [each[2] for each in run.state.signals] == ["second"]


def test_a_signal_that_comes_twice_is_one() -> None:
    run = Run(flow(tool("a")))
    for _ in range(2):
        run.take(Signalled(at=T0, name="go", key="1", payload="first"))
    assert len(run.state.signals) == 1


def test_a_signal_ends_a_wait_and_takes_its_timer_back() -> None:
    run = Run(flow(signal("b"), tool("c", "b")))
    assert said(run.issued[0]) == ["sleep b#1"]
    assert said(run.take(Signalled(at=T0, name="go", key="1"))) == ["withdraw b#1", "act c#1"]


def test_a_signal_that_does_not_come_in_time_fails_its_step() -> None:
    run = Run(flow(signal("b")))
    run.fail("b", "timed_out", outcome="timed_out")
    assert run.state.failure == "b: timed_out"


def test_an_approval_waits_holding_nothing_and_goes_on_when_somebody_agrees() -> None:
    run = Run(flow(approval("a"), tool("b", "a", when=equal("steps.a.outcome", "approved")), max_parallel=1))
    held(run, "a")
    assert outstanding(run.definition, run.state) == ()
    assert str(run.state.status) == "waiting"
    run.of(Escalated, "a", approval_id="apr_1")
    assert said(run.ok("a", outcome="approved")) == ["act b#1"]


def test_a_call_that_was_held_is_issued_again_as_the_same_attempt_with_what_was_reserved() -> None:
    run = Run(flow(tool("a"), budget=Budget(calls=1)))
    held(run, "a")
    assert run.state.reserved == Amount(calls=1)
    assert run.of(Released, "a") == (Act(node="a", dispatch=2, attempt=1, arguments={}),)
    assert run.state.reserved == Amount(calls=1)


def test_a_call_that_is_refused_by_a_person_is_not_tried_again() -> None:
    run = Run(flow(tool("a", retry=Retry(attempts=3))))
    held(run, "a")
    assert said(run.fail("a", "refused", outcome="rejected")) == ["finish failed"]


# Retries and dead letters


def test_only_the_kinds_that_a_step_names_are_tried_again() -> None:
    run = Run(flow(tool("a", retry=Retry(attempts=3, on=("flaky",)))))
    assert said(run.fail("a", "flaky", again=True)) == ["sleep a#2"]
    run.wake("a")
    assert said(run.fail("a", "other", again=True)) == ["finish failed"]


def test_after_its_attempts_a_step_that_says_so_is_parked_until_a_person_requeues_it() -> None:
    run = Run(flow(tool("a", on_failure="park"), tool("b")))
    run.ok("b")
    run.fail("a")
    assert (run.word("a"), str(run.state.status)) == ("parked", "waiting")
    assert run.by(Requeued, "a") == (Act(node="a", dispatch=2, attempt=1, arguments={}),)


def test_a_person_can_put_other_arguments_in_their_place() -> None:
    run = Run(flow(tool("a", on_failure="park", args={"x": ref("$input.nothing")})))
    assert run.word("a") == "parked"
    assert run.by(Requeued, "a", edited=True, arguments={"x": 5})[0].arguments == {"x": 5}
    run.of(Redispatched, "a", why="gone")
    assert run.issued[-1][0].arguments == {"x": 5}


def test_what_is_discarded_leaves_the_graph() -> None:
    run = Run(flow(tool("a", undo=True), tool("b", "a", on_failure="park")))
    run.ok("a")
    run.fail("b")
    assert said(run.by(Discarded, "b")) == ["undo a#2"]


def test_what_is_discarded_of_a_step_that_may_fail_is_passed_over() -> None:
    run = Run(flow(tool("a", on_failure="skip", default=1), tool("b", "a", args={"x": ref("$steps.a.output")})))
    run.fail("a", "unknown")
    assert run.by(Discarded, "a")[0].arguments == {"x": 1}


def test_an_effect_of_which_nobody_knows_is_parked_whatever_its_step_says() -> None:
    run = Run(flow(tool("a", retry=Retry(attempts=3))))
    run.fail("a", "unknown", again=True)
    assert run.word("a") == "parked"


def test_a_change_that_was_given_up_may_be_tried_again_but_is_never_taken_for_not_done() -> None:
    late = {"kind": "timed_out", "outcome": "timed_out", "again": True}
    run = Run(flow(tool("a", undo=True, retry=Retry(attempts=2)), tool("b")))
    assert said(run.fail("a", **late)) == ["sleep a#2"]
    cancelled = Run(run.definition)
    cancelled.fail("a", **late)
    cancelled.by(CancelAsked)
    assert cancelled.word("a") == "parked"
    run.wake("a")
    run.fail("a", **late)
    assert (run.word("a"), run.state.nodes["a"].why) == ("parked", "unknown")
    run.fail("b", **late)  # it changes nothing: that it was given up is all there is to know
    assert run.word("b") == "failed"


def test_an_unknown_effect_that_cannot_be_asked_for_again_for_want_of_budget_is_unknown_still() -> None:
    run = Run(flow(tool("a"), budget=Budget(calls=1)))
    run.fail("a", "unknown", usage=used(1))
    assert said(run.by(Requeued, "a")) == []
    assert (run.word("a"), run.state.nodes["a"].why, run.state.nodes["a"].text) == ("parked", "unknown", "budget_exhausted")


def test_unwinding_waits_for_a_person_where_nobody_knows_of_an_effect() -> None:
    run = Run(flow(tool("a", undo=True), tool("b", undo=True)))
    run.ok("a")
    run.by(CancelAsked)
    assert said(run.fail("b", "unknown")) == []
    assert str(run.state.status) == "stuck"
    assert said(run.by(Requeued, "b")) == ["act b#2"]
    assert said(run.ok("b")) == ["undo b#3"]
    assert said(run.ok("b")) == ["undo a#2"]


def test_a_run_that_unwinds_asks_again_only_for_what_was_asked_before() -> None:
    run = Run(flow(tool("a")))
    run.by(CancelAsked)
    run.fail("a", "unknown")
    with pytest.raises(IllegalTransitionError, match="node `a` can be asked for again only as it was"):
        run.by(Requeued, "a", edited=True, arguments={})


def test_what_was_asked_for_again_and_is_not_out_yet_is_unknown_still_when_the_run_turns_round() -> None:
    run = Run(flow(tool("a", undo=True)))
    run.fail("a", "unknown")
    run.by(Halted)
    run.by(Requeued, "a")
    assert run.word("a") == "pending"
    run.by(CancelAsked)
    assert run.word("a") == "parked"
    run.by(Resumed)
    assert str(run.state.status) == "stuck"
    assert said(run.by(SettledByHand, "a")) == ["finish compensated"]


# Taking over


def test_a_command_that_is_taken_over_is_the_same_attempt_under_the_next_number() -> None:
    run = Run(flow(tool("a", args={"x": 1})))
    assert run.of(Redispatched, "a", why="gone") == (Act(node="a", dispatch=2, attempt=1, arguments={"x": 1}),)


def test_the_list_of_a_fan_out_can_be_put_right_by_a_person() -> None:
    run = Run(flow(tool("a", for_each=ref("$input.list"), on_failure="park", args={"x": ref("$item")})))
    assert run.word("a") == "parked"
    assert [each.arguments for each in run.by(Requeued, "a", edited=True, arguments=[1, 2])] == [{"x": 1}, {"x": 2}]


def test_what_a_value_says_is_never_read_as_a_reference() -> None:
    run = Run(flow(tool("a"), tool("b", "a", args={"x": [ref("$steps.a.output")]})))
    assert run.ok("a", {"t": "$input.secret", "u": "{{ 7 * 7 }}"})[0].arguments == {
        "x": [{"t": "$input.secret", "u": "{{ 7 * 7 }}"}]
    }


def test_what_is_outstanding_comes_by_step_by_element_and_by_turn() -> None:
    run = Run(flow(refined(for_each=tuple(range(11))), tool("b")))
    for index in range(11):
        run.ok(f"a[{index}]", {"good": False})
    assert [each.node for each in outstanding(run.definition, run.state)] == [*(f"a[{index}]~2" for index in range(11)), "b"]


def test_a_command_that_is_lost_while_the_run_is_halted_goes_out_again_when_it_is_resumed() -> None:
    run = Run(flow(tool("a"), tool("b"), tool("c", "b")))
    run.by(Halted)
    assert said(run.of(Redispatched, "a", why="gone")) == []
    assert [each.node for each in outstanding(run.definition, run.state)] == ["b"]
    run.ok("b")
    assert said(run.by(Resumed)) == ["act a#2", "act c#1"]


def test_an_answer_for_a_command_that_was_thought_lost_is_taken_as_long_as_nobody_else_has_it() -> None:
    run = Run(flow(tool("a"), tool("b", "a")))
    run.by(Halted)
    run.of(Redispatched, "a", why="gone")
    run.ok("a")
    assert said(run.by(Resumed)) == ["act b#1"]


def test_a_compensation_that_is_lost_while_the_run_is_halted_goes_out_again_too() -> None:
    run = Run(flow(tool("a", undo=True), tool("b", "a")))
    run.ok("a")
    run.fail("b")
    run.by(Halted)
    assert said(run.of(Redispatched, "a", why="gone")) == []
    assert said(run.by(Resumed)) == ["undo a#3"]


# Budgets


def test_a_step_waits_for_what_others_may_give_back_and_starts_when_they_have() -> None:
    three = [tool(name, estimate=Amount(calls=3)) for name in "abc"]
    run = Run(flow(*three, budget=Budget(calls=7)))
    assert said(run.issued[0]) == ["act a#1", "act b#1"]
    assert said(run.ok("a", usage=used(2))) == []
    assert said(run.ok("b", usage=used(2))) == ["act c#1"]


def test_a_cheap_step_does_not_overtake_one_that_waits_for_its_share() -> None:
    run = Run(flow(tool("a"), tool("b", estimate=Amount(calls=4)), tool("c"), budget=Budget(calls=4), max_parallel=9))
    assert said(run.issued[0]) == ["act a#1"]
    assert said(run.ok("a", usage=used(0))) == ["act b#1"]
    assert said(run.ok("b", usage=used(3))) == ["act c#1"]


def test_a_call_that_was_held_has_its_share_and_is_not_kept_back_by_one_that_waits_for_his() -> None:
    run = Run(
        flow(tool("z"), tool("a", "z", estimate=Amount(calls=3)), tool("b", estimate=Amount(calls=3)), budget=Budget(calls=7))
    )
    held(run, "b")
    assert said(run.ok("z", usage=used(2))) == []
    assert said(run.of(Released, "b")) == ["act b#2"]


def test_a_step_fails_when_what_is_spent_leaves_too_little() -> None:
    run = Run(flow(tool("a", undo=True), tool("b", "a"), budget=Budget(calls=2)))
    assert said(run.ok("a", usage=used(2))) == ["undo a#2"]
    assert run.state.failure == "b: budget_exhausted"


def test_a_step_has_a_budget_of_its_own_over_all_its_elements() -> None:
    run = Run(flow(tool("a", for_each=(1, 2, 3), budget=Budget(calls=2), on_failure="skip"), tool("b")))
    assert said(run.issued[0]) == ["act a[0]#1", "act a[1]#1", "act b#1"]
    run.ok("a[0]")
    assert run.word("a[2]") == "pending"
    run.ok("a[1]", usage=used(1))
    assert (run.word("a[2]"), run.state.nodes["a[2]"].why) == ("failed", "budget_exhausted")


def test_the_soft_share_is_told_once() -> None:
    run = Run(flow(tool("a"), tool("b", "a"), budget=Budget(calls=10, soft_percent=50)))
    assert not run.state.warned
    run.ok("a", usage=used(5))
    assert run.state.warned


def test_compensations_are_paid_for_beyond_the_limit() -> None:
    run = Run(flow(tool("a", undo=True), tool("b", "a"), budget=Budget(calls=2)))
    run.ok("a")
    assert said(run.fail("b", usage=used(1))) == ["undo a#2"]
    assert said(run.ok("a", usage=used(1))) == ["finish compensated"]
    assert run.state.spent == Amount(calls=3)


# Unwinding


def test_what_is_under_way_is_awaited_and_its_success_is_undone_too() -> None:
    run = Run(flow(tool("a", undo=True), tool("b", undo=True)))
    assert said(run.by(CancelAsked)) == []
    assert said(run.ok("a")) == []
    assert said(run.ok("b")) == ["undo b#2"]


def test_what_waits_for_a_person_a_worker_or_a_time_is_withdrawn() -> None:
    run = Run(flow(approval("a"), tool("b", kind="agent"), wait_named("c"), tool("d", retry=Retry(attempts=2)), tool("e")))
    held(run, "a")
    run.of(Offered, "b")
    run.fail("d", "flaky", again=True)
    assert said(run.by(CancelAsked)) == ["withdraw a#1", "withdraw b#1", "withdraw c#1", "withdraw d#2"]
    assert {run.word(name) for name in "abcd"} == {"cancelled"}
    assert said(run.fail("e")) == ["finish cancelled"]


def wait_named(name: str) -> Step:
    return Step(id=name, kind="wait", role="executor", wait=WaitSpec(lasts=timedelta(hours=1)))


def test_a_sub_run_is_withdrawn_and_awaited_since_its_own_compensations_come_first() -> None:
    run = Run(flow(tool("a", undo=True), child("b", "a")))
    run.ok("a")
    run.of(Offered, "b")
    assert said(run.by(CancelAsked)) == ["withdraw b#1"]
    assert said(run.fail("b", "cancelled")) == ["undo a#2"]


def test_a_sub_run_that_begins_after_the_run_turned_round_is_withdrawn_then() -> None:
    run = Run(flow(child("b")))
    assert said(run.by(CancelAsked)) == ["withdraw b#1"]
    assert said(run.of(Redispatched, "b", why="gone")) == ["act b#2", "withdraw b#2"]
    assert said(run.of(Offered, "b")) == ["withdraw b#2"]


def test_a_compensation_is_tried_again_and_then_the_run_is_stuck_until_a_person_moves_it_on() -> None:
    run = Run(flow(tool("a", undo=True, retry=Retry(attempts=2)), tool("b", "a", undo=True), tool("c", "b")))
    run.ok("a")
    run.ok("b")
    run.fail("c")
    assert said(run.ok("b")) == ["undo a#2"]
    assert said(run.fail("a", "flaky", again=True)) == ["sleep a#3"]
    assert run.wake("a") == (Undo(node="a", dispatch=4, attempt=2, arguments={"of": "a-made"}),)
    assert said(run.fail("a", "flaky", again=True)) == []
    assert str(run.state.status) == "stuck"
    assert run.by(Requeued, "a", edited=True, arguments={"of": "mended"}) == (
        Undo(node="a", dispatch=5, attempt=1, arguments={"of": "mended"}),
    )
    run.fail("a")
    assert said(run.by(SettledByHand, "a")) == ["finish compensated"]


def test_a_compensation_may_be_held_for_a_person() -> None:
    run = Run(flow(tool("a", undo=True), tool("b", "a")))
    run.ok("a")
    run.fail("b")
    held(run, "a")
    assert outstanding(run.definition, run.state) == ()
    assert run.of(Released, "a") == (Undo(node="a", dispatch=3, attempt=1, arguments={"of": "a-made"}),)


def test_a_compensation_whose_values_are_missing_makes_the_run_stuck() -> None:
    run = Run(flow(tool("a", undo=True), tool("b", "a")))
    run.ok("a", {"other": 1})
    run.fail("b")
    assert (run.word("a"), run.state.nodes["a"].text, str(run.state.status)) == ("compensation_failed", "$output.id", "stuck")


def test_a_cancelled_run_in_which_nothing_had_to_be_undone_is_cancelled() -> None:
    run = Run(flow(approval("a")))
    held(run, "a")
    assert said(run.by(CancelAsked)) == ["withdraw a#1", "finish cancelled"]


# Halts


def test_a_halted_run_takes_answers_and_issues_nothing_until_it_is_resumed() -> None:
    run = Run(flow(tool("a"), tool("b", "a"), tool("c")))
    assert said(run.by(Halted)) == []
    assert said(run.ok("a")) == []
    assert str(run.state.status) == "halted"
    assert said(run.by(Resumed)) == ["act b#1"]


def test_a_halted_run_does_not_undo_until_it_is_resumed() -> None:
    run = Run(flow(tool("a", undo=True), tool("b", "a")))
    run.ok("a")
    run.by(Halted)
    assert said(run.fail("b")) == []
    assert said(run.by(Resumed)) == ["undo a#2"]


def test_a_hold_that_is_lifted_while_the_run_is_halted_is_not_lost() -> None:
    run = Run(flow(tool("a")))
    held(run, "a")
    run.by(Halted)
    assert said(run.of(Released, "a")) == []
    assert said(run.by(Resumed)) == ["act a#2"]


# The end


def test_what_the_run_returns_is_null_where_its_definition_refers_to_what_is_not_there() -> None:
    run = Run(
        flow(tool("a", when=NO), tool("b"), returns={"a": ref("$steps.a.output.id"), "b": [ref("$steps.b.output.id")], "n": 1})
    )
    run.ok("b")
    assert run.state.output == {"a": None, "b": ["b-made"], "n": 1}


def test_a_definition_without_steps_ends_at_once() -> None:
    assert said(Run(flow()).issued[0]) == ["finish succeeded"]


def test_an_answer_keeps_what_it_gave() -> None:
    run = Run(flow(tool("a")))
    run.take(Succeeded(at=run.now, node="a", dispatch=1, output={"deep": [1, {"x": None}]}))
    assert run.state.nodes["a"].output == {"deep": [1, {"x": None}]}
