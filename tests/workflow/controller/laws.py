"""The laws of the controller, each looked at over one transition, by means of their own: nothing here asks the controller why."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from aegis.policy.ir import Leaf, Literal
from aegis.workflow.graph import Step, Workflow, element, step_of, turn
from aegis.workflow.outstanding import of_node, outstanding
from aegis.workflow.run import FINAL, Act, Command, Finish, NodeState, RunEvent, RunState, Sleep, State, Undo, Withdraw
from aegis.workflow.table import tag

S = NodeState
OVER = {S.SUCCEEDED, S.FAILED, S.SKIPPED}
OUT = {S.ISSUED, S.OFFERED}
COSTLY = {"agent", "tool", "workflow", "emit"}
ANSWERS = {"succeeded", "failed", "held", "waited"}
SNAPSHOT = msgspec.json.Decoder(State)


def check(definition: Workflow, before: State, event: RunEvent, after: State, commands: tuple[Command, ...]) -> None:
    """Every law that can be seen in one transition."""
    nothing_starts_without_its_permit(definition, before, event, after, commands)
    nothing_moves_forward_while_unwinding(before, event, after, commands)
    nothing_is_issued_while_halted(after, commands)
    if not (before.unwinding and tag(event) == "requeued"):  # what nobody knows of is asked for again whatever the limits
        limits_hold(definition, before, after, commands)
    compensation_is_the_reverse_of_completion(definition, after, commands)
    outstanding_is_issued_minus_answered(definition, before, event, after, commands)
    the_run_ends_or_waits_for_somebody(definition, after, commands)
    books_balance(after)
    attempts_are_bounded(definition, after)
    what_nobody_knows_is_never_taken_for_not_done(before, event, after)
    a_snapshot_is_the_state(after)


def nothing_starts_without_its_permit(
    definition: Workflow, before: State, event: RunEvent, after: State, commands: Iterable[Command]
) -> None:
    for command in commands:
        if not isinstance(command, Act) or again(before, event, command.node):
            continue
        step = definition.step(step_of(command.node))
        assert all(over(definition, after, need) for need in step.needs), f"{command.node} started before its needs ended"
        if step.when is not None and not by_element(step):
            assert holds(step.when, definition, after), f"{command.node} started though its condition does not hold"
        for index in range(turn_of(command.node) - 1):
            unit = command.node.partition("~")[0]
            assert after.nodes[turn(unit, index + 1)].state is S.SUCCEEDED


def nothing_moves_forward_while_unwinding(before: State, event: RunEvent, after: State, commands: Iterable[Command]) -> None:
    if not after.unwinding:
        assert not any(isinstance(command, Undo) for command in commands)
        return
    for command in commands:
        if isinstance(command, Act):
            assert again(before, event, command.node), f"{command.node} moved forward while unwinding"


def nothing_is_issued_while_halted(after: State, commands: Iterable[Command]) -> None:
    if after.halted:
        assert not any(isinstance(command, Act | Undo) for command in commands)


def limits_hold(definition: Workflow, before: State, after: State, commands: Iterable[Command]) -> None:
    active = [name for name, node in after.nodes.items() if node.state in OUT and node.dispatch]
    fresh = {command.node for command in commands if isinstance(command, Act) and reserved_anew(before, after, command.node)}
    assert not definition.max_parallel or len(active) <= max(definition.max_parallel, was_active(before))
    assert not fresh or definition.budget.allows(after.spent.plus(after.reserved)), "issued beyond the hard limit"
    for step in definition.steps:
        mine = [name for name in active if step_of(name) == step.id]
        assert not step.max_parallel or len(mine) <= max(step.max_parallel, was_active(before, step.id))
        if step.id in after.shares and any(step_of(name) == step.id for name in fresh):
            share = after.shares[step.id]
            assert step.budget.allows(share.spent.plus(share.reserved)), "issued beyond the hard limit of the step"
    assert after.warned or not definition.budget.warns(after.spent)


def compensation_is_the_reverse_of_completion(definition: Workflow, after: State, commands: Iterable[Command]) -> None:
    undoing = [name for name, node in after.nodes.items() if node.state is S.UNDOING]
    assert len(undoing) <= 1
    for command in commands:
        if not isinstance(command, Undo):
            continue
        node = after.nodes[command.node]
        left = [
            other.done
            for name, other in after.nodes.items()
            if other.state in {S.SUCCEEDED, S.FAILED} and other.done and definition.step(step_of(name)).undo is not None
        ]
        assert node.done
        assert all(done < node.done for done in left), f"{command.node} is undone too early"
        assert not any(other.state in OUT for other in after.nodes.values()), "undone while something is under way"
        if not node.undo_edited:
            assert command.arguments == {"of": (node.output or {}).get("id")}


def outstanding_is_issued_minus_answered(
    definition: Workflow, before: State, event: RunEvent, after: State, commands: Iterable[Command]
) -> None:
    left = {command.node: command for command in outstanding(definition, before)}
    if tag(event) in ANSWERS | {"redispatched"} and not by_person(before, event.node):
        left.pop(event.node)
    if tag(event) == "offered" and before.nodes[event.node].lost:  # it was not lost after all
        left[event.node] = of_node(event.node, replace(before.nodes[event.node], lost=False))
    for command in commands:
        if isinstance(command, Act | Undo | Sleep):
            assert command.node not in left, f"{command.node} has two dispatches out"
            assert command.dispatch > (before.nodes[command.node].dispatch if command.node in before.nodes else 0)
            left[command.node] = command
        elif isinstance(command, Withdraw) and not sub_run(definition, left.get(command.node)):
            left.pop(command.node, None)
    assert {command.node: command for command in outstanding(definition, after)} == left


def the_run_ends_or_waits_for_somebody(definition: Workflow, after: State, commands: tuple[Command, ...]) -> None:
    ends = [command for command in commands if isinstance(command, Finish)]
    if after.status in FINAL:
        assert ends == [Finish(state=after.status, output=after.output)]
        assert not outstanding(definition, after)
        return
    assert not ends
    states = {node.state for node in after.nodes.values()}
    people = states & {S.HELD, S.PARKED, S.UNDO_FAILED} or any(
        node.state is S.UNDOING and node.approval_id for node in after.nodes.values()
    )
    signals = any(node.state is S.WAITING for node in after.nodes.values())
    assert after.halted or people or signals or outstanding(definition, after), "nobody can move this run on"
    assert (after.status is RunState.HALTED) == after.halted
    assert (after.status in {RunState.UNWINDING, RunState.STUCK}) == (after.unwinding and not after.halted)


def books_balance(after: State) -> None:
    reserved = sum(node.reserved.calls for node in after.nodes.values() if node.reserved is not None)
    assert after.reserved.calls == reserved
    assert after.spent.calls == sum(node.spent.calls for node in after.nodes.values())
    for step, share in after.shares.items():
        mine = [node for name, node in after.nodes.items() if step_of(name) == step]
        assert share.reserved.calls == sum(node.reserved.calls for node in mine if node.reserved is not None)
        assert share.spent.calls == sum(node.spent.calls for node in mine)
    done = sorted(node.done for node in after.nodes.values() if node.done)
    assert done == list(range(1, after.done + 1))


def what_nobody_knows_is_never_taken_for_not_done(before: State, event: RunEvent, after: State) -> None:
    for name, node in before.nodes.items():
        if node.why == "unknown" and node.state in {S.PENDING, S.PARKED} and tag(event) != "discarded":
            assert after.nodes[name].state not in {S.CANCELLED, S.FAILED}, f"{name} may have taken effect"


def attempts_are_bounded(definition: Workflow, after: State) -> None:
    for name, node in after.nodes.items():
        most = definition.step(step_of(name)).retry.attempts
        assert 0 <= node.attempt <= most
        assert 0 <= node.undo_attempt <= most


def a_snapshot_is_the_state(after: State) -> None:
    assert SNAPSHOT.decode(msgspec.json.encode(after)) == after


def sub_run(definition: Workflow, command: Command | None) -> bool:
    """Whether this is the start of a sub-run: withdrawn, it is still awaited."""
    return isinstance(command, Act) and definition.step(step_of(command.node)).kind == "workflow"


def by_person(before: State, node: str) -> bool:
    """Whether a node waited for a person, or was lost, so that nothing of it was out."""
    found = before.nodes[node]
    return found.lost or found.state is S.HELD or bool(found.state is S.UNDOING and found.approval_id)


def was_active(state: State, step: str = "") -> int:
    """How many nodes were under way."""
    return sum(1 for name, node in state.nodes.items() if node.state in OUT and node.dispatch and step in {"", step_of(name)})


def reserved_anew(before: State, after: State, node: str) -> bool:
    """Whether something was set aside for a node."""
    return after.nodes[node].reserved is not None and (node not in before.nodes or before.nodes[node].reserved is None)


def again(before: State, event: RunEvent, node: str) -> bool:
    """Whether the event asks for this very node again, or lets what was lost go out again."""
    if tag(event) == "resumed":
        return node in before.nodes and before.nodes[node].lost
    return tag(event) in {"redispatched", "requeued"} and event.node == node


def over(definition: Workflow, state: State, step: str) -> bool:
    """Whether a step has ended: all its elements, each in its last turn."""
    units = [element(step, index) for index in range(state.counts[step])] if step in state.counts else [step]
    return all(state.nodes[turn(unit, state.turns.get(unit, 1))].state in OVER for unit in units)


def turn_of(node: str) -> int:
    return int(node.partition("~")[2] or 1)


def by_element(step: Step) -> bool:
    return isinstance(step.when, Leaf) and step.when.path.parts[0] == "item"


def holds(when: Any, definition: Workflow, state: State) -> bool:
    """One comparison `steps.ID.outcome eq WORD` or `input.NAME eq VALUE`, looked up by hand."""
    assert isinstance(when, Leaf)
    (operand,) = when.operands
    assert isinstance(operand, Literal)
    root, *rest = when.path.parts
    if root == "input":
        return state.input.get(rest[0]) == operand.value
    step = rest[0]
    node = state.nodes[step if step in state.counts else turn(step, state.turns.get(step, 1))]
    return ("skipped" if node.state is S.SKIPPED else node.outcome) == operand.value
