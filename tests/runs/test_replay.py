"""Replay of recorded events: it says identical, or where the first difference is, and never takes an erased value for a fault."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.workflow.definition.documents import made, only

from aegis.runtime.runs.journaled import MAX_COMMANDS, told
from aegis.workflow.graph import Workflow
from aegis.workflow.outstanding import outstanding
from aegis.workflow.replay import Recorded, compared, models, refold
from aegis.workflow.run import Act, Failed, RunEvent, Signalled, Sleep, Started, Succeeded, Undo, Usage, Waited
from aegis.workflow.transition import begin, transition

AT = datetime(2026, 11, 21, tzinfo=UTC)
STEPS: dict[str, Any] = {
    "gather": {"agent": "agent:gatherer", "role": "retriever", "input": {"article": "$input.article"}},
    "score": {"tool": "scores.make", "for_each": "$steps.gather.output.offers", "args": {"offer": "$item"}},
    "pay": {
        "tool": "pay.honours",
        "needs": ["score"],
        "when": {"steps.gather.output.total": {"gte": 10}},
        "args": {"amount": "$steps.gather.output.total"},
        "compensate": {"tool": "pay.refund", "args": {"id": "$output.id"}},
    },
    "told": {"wait": {"signal": "arrived", "timeout": "1h"}, "needs": ["pay"]},
}


def definition(**steps: Any) -> Workflow:
    return made(only(**{**STEPS, **steps}))


def outputs(node: str, total: int) -> Any:
    if node == "gather":
        return {"offers": ["a", "b"], "total": total}
    return {"id": 1}


class Live:
    """A run that goes on by what is outstanding, and writes down what a journal would."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow, self.state = workflow, begin("run_1")
        self.recorded: list[Recorded] = []
        self.take(Started(at=AT, input={"article": "chairs"}))

    def take(self, event: RunEvent) -> None:
        self.state, commands = transition(self.workflow, self.state, event)
        every = tuple(map(told, commands))
        kept, more = every[:MAX_COMMANDS], max(0, len(every) - MAX_COMMANDS)
        number = len(self.recorded) + 1
        self.recorded.append(Recorded(number=number, event=event, commands=kept, status=str(self.state.status), more=more))

    def go_on(self, choices: list[int], total: int = 50) -> "Live":
        """Answer what is outstanding, in the order that was chosen; every fourth answer is a failure that may be repeated."""
        for index, choice in enumerate(choices):
            out = outstanding(self.workflow, self.state)
            if not out:
                self.signal(index)
                continue
            self.take(self.answer(out[choice % len(out)], choice, index, total))
            if self.state.output is not None or str(self.state.status) in ("succeeded", "failed", "compensated"):
                break
        return self

    def answer(self, command: Any, choice: int, index: int, total: int) -> RunEvent:
        at = AT + timedelta(seconds=index)
        if isinstance(command, Sleep):
            waits = self.state.nodes[command.node].state == "waiting"
            over = {"kind": "timed_out", "outcome": "timed_out"}
            return (
                Failed(at=at, node=command.node, dispatch=command.dispatch, **over)
                if waits
                else Waited(at=at, node=command.node, dispatch=command.dispatch)
            )
        assert isinstance(command, Act | Undo)
        usage = (
            Usage(model={"id": "m", "version": "1", "prompt_sha256": "sha256:1", "seed": "7"})
            if command.node == "gather"
            else Usage()
        )
        if choice % 4 == 3:
            return Failed(at=at, node=command.node, dispatch=command.dispatch, kind="upstream", again=True, pause_ms=5, usage=usage)
        return Succeeded(at=at, node=command.node, dispatch=command.dispatch, output=outputs(command.node, total), usage=usage)

    def signal(self, index: int) -> None:
        if str(self.state.status) in ("running", "waiting"):
            self.take(Signalled(at=AT, name="arrived", key=f"k{index}", payload={"n": index}))


def whole() -> Live:
    return Live(definition()).go_on([0] * 5)


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(0, 60))
def test_what_was_live_is_identical_when_it_is_replayed(choices, total):
    live = Live(definition()).go_on(choices, total)

    replayed = refold(live.workflow, "run_1", live.recorded, told)

    assert replayed.verdict == "identical"
    assert replayed.events == len(live.recorded)
    assert msgspec.json.encode(replayed.state) == msgspec.json.encode(live.state)


def test_an_event_that_was_edited_shows_the_first_difference_side_by_side():
    live = whole()
    edited = msgspec.structs.replace(live.recorded[1], event=msgspec.structs.replace(live.recorded[1].event, output={"offers": []}))
    recorded = [live.recorded[0], edited, *live.recorded[2:]]

    found = refold(live.workflow, "run_1", recorded, told)

    assert found.verdict == "different"
    assert found.difference is not None
    assert (found.difference.number, found.difference.what) == (2, "commands")
    assert found.difference.recorded == ("act score[0] 1.1", "act score[1] 1.1")
    assert found.difference.found != found.difference.recorded
    assert found.events == 1


def test_an_event_that_is_missing_is_told_by_its_number():
    live = whole()

    found = refold(live.workflow, "run_1", [*live.recorded[:2], *live.recorded[3:]], told)

    assert found.difference is not None
    assert (found.difference.what, found.difference.recorded, found.difference.found) == ("number", ("4",), ("3",))


def test_an_event_that_cannot_happen_is_told_in_the_words_of_the_controller():
    live = whole()
    twice = [*live.recorded[:2], msgspec.structs.replace(live.recorded[1], number=3)]

    found = refold(live.workflow, "run_1", twice, told)

    assert found.difference is not None
    assert found.difference.what == "event"
    assert "`gather` is succeeded" in found.difference.found[0]


def test_a_recorded_state_that_does_not_follow_is_a_difference():
    live = whole()
    changed = [msgspec.structs.replace(live.recorded[0], status="succeeded"), *live.recorded[1:]]

    found = refold(live.workflow, "run_1", changed, told)

    assert found.difference is not None
    assert (found.difference.what, found.difference.recorded, found.difference.found) == ("status", ("succeeded",), ("running",))


def test_commands_beyond_those_that_were_kept_are_counted():
    live = whole()
    changed = [live.recorded[0], msgspec.structs.replace(live.recorded[1], more=1), *live.recorded[2:]]

    found = refold(live.workflow, "run_1", changed, told)

    assert found.difference is not None
    assert found.difference.what == "commands"


def test_another_definition_shows_where_it_would_have_gone_another_way():
    live = whole()
    stricter = definition(pay={**STEPS["pay"], "when": {"steps.gather.output.total": {"gte": 1000}}})

    found = refold(stricter, "run_1", live.recorded, told)

    assert found.difference is not None
    assert found.difference.event == "succeeded score[1]"
    assert found.difference.recorded == ("act pay 1.1",)
    assert "pay" not in " ".join(found.difference.found)


@pytest.mark.parametrize("number", [1, 2])
def test_a_difference_behind_an_erased_value_is_not_comparable_and_no_fault(number):
    live = whole()
    each = live.recorded[number - 1]
    name = "input" if number == 1 else "output"
    gone = msgspec.structs.replace(each, event=msgspec.structs.replace(each.event, **{name: None}), erased=True)
    recorded = [gone if other.number == number else other for other in live.recorded]

    found = refold(live.workflow, "run_1", recorded, told)

    assert found.verdict == "not_comparable"
    assert found.erased[0] == number


def test_an_erased_value_that_nothing_turned_on_leaves_the_run_comparable():
    live = Live(definition()).go_on([0] * 4)
    live.signal(9)
    last = live.recorded[4]
    gone = msgspec.structs.replace(last, event=msgspec.structs.replace(last.event, output=None), erased=True)

    found = refold(live.workflow, "run_1", [*live.recorded[:4], gone, *live.recorded[5:]], told)

    assert found.verdict == "identical"
    assert found.erased == (5,)


def test_the_model_of_every_agent_action_is_listed_and_compared_between_runs():
    live = Live(definition()).go_on([3, 0, 0, 0, 0, 0])
    used = models(live.recorded)

    assert [(each.node, each.dispatch, each.outcome) for each in used] == [("gather", 1, "failed"), ("gather", 3, "succeeded")]
    assert used[0].model == {"id": "m", "version": "1", "prompt_sha256": "sha256:1", "seed": "7"}
    assert compared(used, used) == ()
    other = [msgspec.structs.replace(used[1], model={**used[1].model, "seed": "8"})]
    assert [node for node, _, _ in compared(used, other)] == ["gather"]
    assert compared(used, [])[0][2] is None
