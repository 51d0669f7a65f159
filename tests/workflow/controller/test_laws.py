"""Laws over generated definitions and runs that are played at random."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aegis.workflow.graph import Workflow
from aegis.workflow.outstanding import outstanding
from aegis.workflow.run import FINAL, Act, Command, RunEvent, Started, State, Succeeded
from aegis.workflow.table import tag
from aegis.workflow.transition import begin, transition
from workflow.controller.generated import INPUT, workflows
from workflow.controller.laws import check
from workflow.controller.moves import GOOD, moves
from workflow.controller.play import T0, Run, flow, ref, tool

EVENTS = msgspec.json.Decoder(RunEvent)
LONG = 40


def step(definition: Workflow, state: State, event: RunEvent) -> tuple[State, tuple[Command, ...]]:
    after, commands = transition(definition, state, event)
    check(definition, state, event, after, commands)
    return after, commands


def played(definition: Workflow, data: st.DataObject) -> tuple[State, list[RunEvent]]:
    """A run that was played for a while: mostly answers, sometimes a hand from outside."""
    log: list[RunEvent] = [Started(at=T0, input=INPUT)]
    state, _ = step(definition, begin("run_1"), log[0])
    for _ in range(data.draw(st.integers(0, LONG), label="length")):
        if state.status in FINAL:
            break
        found = moves(definition, state)
        good = [event for event in found if tag(event) in {"succeeded", "waited", "released", "signalled"}]
        event = data.draw(st.sampled_from(good if good and data.draw(st.integers(0, 2)) else found), label="event")
        state, _ = step(definition, state, event)
        log.append(event)
    return state, log


def driven(definition: Workflow, state: State) -> tuple[State, list[RunEvent]]:
    """Everything goes well from here on, or is given up: the run must end."""
    log: list[RunEvent] = []
    for _ in range(500):
        if state.status in FINAL:
            return state, log
        event = next(event for event in moves(definition, state) if tag(event) in GOOD and not _idle(state, event))
        log.append(event)
        state, _ = step(definition, state, event)
    raise AssertionError("the run does not end")


def _idle(state: State, event: RunEvent) -> bool:
    return tag(event) == "signalled" and state.halted


@settings(max_examples=150, deadline=None)
@given(workflows(), st.data())
def test_every_law_holds_over_every_run_and_every_run_can_be_brought_to_an_end(definition: Workflow, data: st.DataObject) -> None:
    state, _ = played(definition, data)
    driven(definition, state)


@pytest.mark.campaign
@settings(max_examples=5000, deadline=None)
@given(workflows(most=9), st.data())
def test_and_over_many_more_and_larger_ones(definition: Workflow, data: st.DataObject) -> None:
    state, _ = played(definition, data)
    driven(definition, state)


@settings(max_examples=50, deadline=None)
@given(workflows(), st.data())
def test_a_replay_of_what_was_recorded_equals_the_run_whether_from_the_start_or_from_a_snapshot(
    definition: Workflow, data: st.DataObject
) -> None:
    state, log = played(definition, data)
    middle = data.draw(st.integers(0, len(log)), label="snapshot after")
    again, live = begin("run_1"), begin("run_1")
    for number, event in enumerate(log):
        recorded = EVENTS.decode(msgspec.json.encode(event))
        live, commands = transition(definition, live, event)
        if number == middle:
            again = msgspec.json.decode(msgspec.json.encode(again), type=State)
        again, repeated = transition(replace(definition), again, recorded)
        assert repeated == commands
        assert outstanding(definition, again) == outstanding(definition, live)
    assert again == live == state


@settings(max_examples=60, deadline=None)
@given(workflows(limits=False, signals=False), st.data())
def test_the_order_in_which_siblings_complete_changes_neither_what_is_issued_nor_the_end(
    definition: Workflow, data: st.DataObject
) -> None:
    state, _ = transition(definition, begin("run_1"), Started(at=T0, input=INPUT))
    while state.status not in FINAL:
        ready = [event for event in moves(definition, state) if isinstance(event, Succeeded)]
        pair = [
            event for event in ready if any(isinstance(c, Act) and c.node == event.node for c in outstanding(definition, state))
        ]
        if len(pair) > 1:
            pair = data.draw(st.permutations(pair))[:2]
            there, back = _both(definition, state, pair), _both(definition, state, pair[::-1])
            assert there == back
        if not ready:
            break
        state, _ = transition(definition, state, data.draw(st.sampled_from(ready)))


@settings(max_examples=30, deadline=None)
@given(st.permutations([f"a[{index}]" for index in range(5)]))
def test_the_elements_of_a_fan_out_may_complete_in_any_order(order: list[str]) -> None:
    run = Run(flow(tool("a", for_each=tuple(range(5))), tool("b", "a", args={"all": ref("$steps.a.output")})))
    for node in order:
        last = run.ok(node, node)
    assert last == (Act(node="b", dispatch=1, attempt=1, arguments={"all": sorted(order)}),)


@settings(max_examples=60, deadline=None)
@given(workflows(signals=False), st.randoms(use_true_random=False))
def test_whatever_the_order_of_successes_the_run_ends_the_same(definition: Workflow, random: Any) -> None:
    definition = replace(definition, budget=type(definition.budget)())
    definition = replace(definition, steps=tuple(replace(each, budget=definition.budget) for each in definition.steps))
    assert _end(definition, lambda found: found[0]) == _end(definition, random.choice)


def _end(definition: Workflow, choose: Any) -> Any:
    state, _ = transition(definition, begin("run_1"), Started(at=T0, input=INPUT))
    while state.status not in FINAL:
        ready = [event for event in moves(definition, state) if isinstance(event, Succeeded)]
        if not ready:
            break
        state, _ = transition(definition, state, choose(ready))
    return _unordered(state)


def _both(definition: Workflow, state: State, pair: Any) -> Any:
    issued: set[Any] = set()
    for event in pair:
        if event.node not in {command.node for command in outstanding(definition, state)}:
            continue
        state, commands = transition(definition, state, event)
        issued |= {msgspec.json.encode(command) for command in commands}
    return (not state.unwinding and issued), _unordered(state)


def _unordered(state: State) -> Any:
    if state.unwinding:  # what was under way when the failure left the graph may be another
        return state.unwinding
    return replace(state, nodes={name: replace(node, done=0) for name, node in state.nodes.items()})
