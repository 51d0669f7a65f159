"""What is not in the table is refused, naming both: every event is tried in every standing that a run and a node can have together."""

from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from aegis.errors import IllegalTransitionError, StaleAnswerError
from aegis.workflow import run as events
from aegis.workflow.graph import Step, WaitSpec, Workflow, step_of
from aegis.workflow.run import (
    CancelAsked,
    Discarded,
    Escalated,
    Failed,
    Halted,
    Held,
    Offered,
    Redispatched,
    Released,
    Requeued,
    Resumed,
    RunEvent,
    SettledByHand,
    Signalled,
    Started,
    State,
    Succeeded,
    TimedOut,
    Waited,
)
from aegis.workflow.table import NODE, RUN, of_node, of_run, tag
from aegis.workflow.transition import begin, transition
from workflow.controller.generated import equal
from workflow.controller.moves import moves
from workflow.controller.play import T0, Run, flow, tool
from workflow.controller.test_exhaustive import GRAPHS

ON: dict[str, Any] = {"at": T0, "node": "a", "dispatch": 1}
HAND: dict[str, Any] = {"at": T0, "node": "a", "by": "person:ada"}
EVERY: list[RunEvent] = [
    Started(at=T0),
    Succeeded(**ON),
    Failed(**ON, kind="broken"),
    Offered(**ON),
    Held(**ON, approval_id="apr_1", expires_at=T0),
    Escalated(**ON, approval_id="apr_1"),
    Released(**ON),
    Redispatched(**ON, why="gone"),
    Waited(**ON),
    Signalled(at=T0, name="go", key="another"),
    CancelAsked(at=T0, by="person:ada"),
    TimedOut(at=T0),
    Halted(at=T0, by="person:ada"),
    Resumed(at=T0, by="person:ada"),
    Requeued(**HAND),
    Discarded(**HAND),
    SettledByHand(**HAND),
]
ONE = flow(tool("a", on_failure="park"))
WAITS = flow(
    Step(id="a", kind="wait", role="executor", wait=WaitSpec(lasts=timedelta(hours=1))),
    Step(id="b", kind="wait", role="executor", wait=WaitSpec(signal="never")),
    tool("c", when=equal("input.flag", value=True)),
)


@cache
def examples() -> tuple[tuple[Workflow, State, str, str], ...]:
    """A run for every way in which a run, and a node of it, can stand together: (definition, state, node, standing)."""
    found: dict[tuple[str, str], tuple[Workflow, State, str, str]] = {}
    for definition in (WAITS, *(param.values[0] for param in GRAPHS)):
        for state in _reached(definition):
            for name, node in state.nodes.items():
                standing = of_node(node, definition.step(step_of(name)), unwinding=state.unwinding)
                found.setdefault((of_run(state), standing), (definition, state, name, standing))
    return tuple(found.values())


def _reached(definition: Workflow, most: int = 500) -> Iterator[State]:
    state, _ = transition(definition, begin("run_1"), Started(at=T0))
    queue, seen = deque([state]), 0
    while queue and seen < most:
        state = queue.popleft()
        seen += 1
        yield state
        queue.extend(transition(definition, state, event)[0] for event in moves(definition, state))


def test_every_event_is_in_the_table_and_the_table_has_no_other() -> None:
    words = {tag(event) for event in EVERY}
    assert words == {str(each.__struct_config__.tag) for each in events.RunEvent.__args__}
    assert set().union(*NODE.values()) == {tag(event) for event in EVERY if hasattr(event, "node")}
    assert set().union(*RUN.values()) == words
    assert {str(state) for state in events.RunState} | {"unwinding, halted"} == set(RUN)


def test_the_examples_stand_in_every_way_that_the_table_knows() -> None:
    assert {standing for _, _, _, standing in examples()} == set(NODE)
    assert {of_run(state) for _, state, _, _ in examples()} == set(RUN) - {"pending"}


@pytest.mark.parametrize("event", EVERY, ids=tag)
def test_an_event_is_taken_where_the_table_says_so_and_refused_everywhere_else(event: RunEvent) -> None:
    about_node = hasattr(event, "node")
    for definition, state, name, standing in examples():
        told = replace(event, node=name) if about_node else event
        told = replace(told, dispatch=state.nodes[name].dispatch) if hasattr(told, "dispatch") else told
        legal = tag(event) in RUN[of_run(state)] and (not about_node or tag(event) in NODE[standing])
        if legal and tag(event) == "requeued" and standing == "parked, unwinding" and state.halted:
            legal = False  # see hands: resume it first
        if legal:
            assert transition(definition, state, told)[0].events == state.events + 1
        else:
            with pytest.raises(IllegalTransitionError, match=rf"`{tag(event)}`|resume it, then"):
                transition(definition, state, told)


@pytest.mark.parametrize("event", EVERY, ids=tag)
def test_nothing_but_its_start_happens_to_a_run_that_has_not_begun(event: RunEvent) -> None:
    if tag(event) == "started":
        assert transition(ONE, begin("run_1"), event)[1]
    else:
        with pytest.raises(IllegalTransitionError, match=f"run `run_1` is pending; `{tag(event)}` cannot happen"):
            transition(ONE, begin("run_1"), event)


def test_an_answer_under_an_older_number_is_stale_and_names_both_numbers() -> None:
    run = Run(ONE)
    run.of(Redispatched, "a", why="gone")
    with pytest.raises(StaleAnswerError, match="`succeeded` answers dispatch 1 of `a`; outstanding is 2"):
        run.take(Succeeded(**ON))


def test_an_answer_that_comes_twice_is_refused() -> None:
    run = Run(flow(tool("a"), tool("b")))
    run.ok("a")
    with pytest.raises(IllegalTransitionError, match="node `a` is succeeded; `succeeded` cannot happen"):
        run.take(Succeeded(**ON))


@pytest.mark.parametrize("name", ["b", "a[0]", "a~2", ""])
def test_an_event_of_a_node_that_is_not_there_names_it(name: str) -> None:
    with pytest.raises(IllegalTransitionError, match="has no node"):
        Run(ONE).take(Succeeded(at=T0, node=name, dispatch=0))


def test_a_refused_event_leaves_the_state_as_it_was() -> None:
    run = Run(ONE)
    before = run.state
    with pytest.raises(IllegalTransitionError):
        run.of(Released, "a")
    assert run.state == before
