"""The next state of a run while it is being made: a copy that is written to during one transition, and the commands that follow.

Every command of a node has a dispatch number of its own, so each names one thing to do, once.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from aegis.workflow.graph import Step, Workflow, element, turn
from aegis.workflow.run import Act, Command, Finish, Node, NodeState, RunState, Sleep, State, Undo, Withdraw
from aegis.workflow.shape import Shape

# Tuples: a state is found in them by identity, while a set would ask each for its hash.
OVER = (NodeState.SUCCEEDED, NodeState.SKIPPED, NodeState.FAILED, NodeState.CANCELLED)
UNDER_WAY = (NodeState.ISSUED, NodeState.OFFERED)


def unit_of(node: str) -> str:
    """The step or element that a node is a turn of: `score[2]~3` is one of `score[2]`."""
    return node.partition("~")[0]


@lru_cache(maxsize=256)
def elements_of(step: str, count: int) -> tuple[str, ...]:
    """The elements of a step with so many, in their order."""
    return tuple(element(step, index) for index in range(count))


def names(definition: Workflow, counts: Mapping[str, int], turns: Mapping[str, int]) -> Iterator[str]:
    """Every node in canonical order: by step, the step itself before its elements, those in their order, each turn by turn."""
    for step in definition.steps:
        units = (step.id, *elements_of(step.id, counts.get(step.id, 0)))
        for unit in units:
            yield from (turn(unit, number) for number in range(1, turns.get(unit, 1) + 1))


class Draft:
    """A state that may be written to. `at` is the time of the event that is being taken.

    `fresh` holds, as they were before, the nodes whose command this transition is about to issue; `views` what ended steps show.
    """

    def __init__(self, shape: Shape, state: State, at: datetime) -> None:
        self.shape, self.definition, self.at = shape, shape.definition, at
        self.old = state
        self.nodes = dict(state.nodes)
        self.counts, self.turns, self.shares = dict(state.counts), dict(state.turns), dict(state.shares)
        self.status, self.started, self.input = state.status, state.started, state.input
        self.done, self.failure, self.output = state.done, state.failure, state.output
        self.unwinding, self.cancelled, self.halted = state.unwinding, state.cancelled, state.halted
        self.spent, self.reserved, self.warned = state.spent, state.reserved, state.warned
        self.signals, self.keys = state.signals, state.keys
        self.commands: list[Command] = []
        self.fresh: dict[str, Node] = {}
        self.views: dict[str, dict[str, Any]] = {}

    def step(self, node: str) -> Step:
        """The step that a node belongs to."""
        return self.shape.form(node).step

    def change(self, node: str, **fields: Any) -> Node:
        """Write fields of a node."""
        made = self.nodes[node] = replace(self.nodes[node], **fields)
        return made

    def complete(self, node: str, **fields: Any) -> Node:
        """Write that a node was carried out, as the next in the order of completion."""
        self.done += 1
        return self.change(node, done=self.done, **fields)

    def last(self, unit: str) -> str:
        """The node of the turn that a unit stands in."""
        number = self.turns.get(unit, 1)
        return unit if number == 1 else turn(unit, number)

    def state_of(self, unit: str) -> NodeState:
        """How the last turn of a unit stands."""
        return self.nodes[self.last(unit) if self.turns else unit].state

    def ended(self, step: Step) -> bool:
        """Whether a step has ended for good; that of a `for_each` when all its elements have."""
        return (self.nodes[step.id].state if step.for_each is not None else self.state_of(step.id)) in OVER

    def act(self, node: str, **fields: Any) -> None:
        """Issue the command of a node under the next number."""
        made = self.change(node, state=NodeState.ISSUED, dispatch=self.nodes[node].dispatch + 1, lost=False, **fields)
        self.commands.append(Act(node=node, dispatch=made.dispatch, attempt=made.attempt, arguments=made.arguments))

    def undo(self, node: str, **fields: Any) -> None:
        """Issue the compensation of a node under the next number."""
        made = self.change(node, state=NodeState.UNDOING, dispatch=self.nodes[node].dispatch + 1, lost=False, **fields)
        self.commands.append(Undo(node=node, dispatch=made.dispatch, attempt=made.undo_attempt, arguments=made.undo_arguments))

    def sleep(self, node: str, until: datetime, **fields: Any) -> None:
        """Ask to be woken at this time for a node."""
        made = self.change(node, dispatch=self.nodes[node].dispatch + 1, until=until, **fields)
        self.commands.append(Sleep(node=node, dispatch=made.dispatch, until=until))

    def withdraw(self, node: str) -> None:
        """Take back what a node has out."""
        if self.nodes[node].dispatch:
            self.commands.append(Withdraw(node=node, dispatch=self.nodes[node].dispatch))

    def retract(self, node: str) -> None:
        """Take a command back that nobody has seen yet."""
        self.nodes[node] = replace(self.fresh[node], reserved=None)
        self.commands = [each for each in self.commands if not (isinstance(each, Act) and each.node == node)]

    def finish(self, state: RunState, output: Any = None) -> None:
        """Say that the run has ended."""
        self.status, self.output = state, output
        self.commands.append(Finish(state=state, output=output))

    def state(self, status: RunState) -> State:
        """What was written, as the next state."""
        return State(
            run=self.old.run, status=status, started=self.started, input=self.input, nodes=self.nodes, counts=self.counts,
            turns=self.turns, done=self.done, failure=self.failure, unwinding=self.unwinding, cancelled=self.cancelled,
            halted=self.halted, spent=self.spent, reserved=self.reserved, shares=self.shares, warned=self.warned,
            signals=self.signals, keys=self.keys, output=self.output, events=self.old.events + 1,
        )  # fmt: skip
