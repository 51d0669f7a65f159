"""What was asked for and is not answered yet, read from a state alone: what a sweep compares with who is at work.

What waits for a person (a held call, an open approval, a dead letter) is not outstanding, and neither is `Withdraw`, which nobody
answers.
"""

from collections.abc import Mapping

from aegis.workflow.draft import UNDER_WAY, unit_of
from aegis.workflow.graph import Workflow, step_of
from aegis.workflow.run import Act, Command, Node, NodeState, Sleep, State, Undo


def outstanding(definition: Workflow, state: State) -> tuple[Command, ...]:
    """Every such command in canonical order (by step, element, turn), equal to what was issued."""
    found = {name: command for name, node in state.nodes.items() if (command := of_node(name, node)) is not None}
    order = {step.id: index for index, step in enumerate(definition.steps)}
    return tuple(found[name] for name in sorted(found, key=lambda name: _place(name, order)))


def _place(name: str, order: Mapping[str, int]) -> tuple[int, int, int]:
    step, unit = step_of(name), unit_of(name)
    index = int(unit[len(step) + 1 : -1]) if unit != step else -1
    return order[step], index, int(name[len(unit) + 1 :] or 1)


def of_node(name: str, node: Node) -> Command | None:
    """What is outstanding of one node."""
    if not node.dispatch or node.lost:
        return None
    if node.state in UNDER_WAY:
        return Act(node=name, dispatch=node.dispatch, attempt=node.attempt, arguments=node.arguments)
    if node.state is NodeState.UNDOING and not node.undo_paused:
        undo = Undo(node=name, dispatch=node.dispatch, attempt=node.undo_attempt, arguments=node.undo_arguments)
        return None if node.approval_id else undo
    sleeps = node.state in (NodeState.WAITING, NodeState.PAUSED) or node.undo_paused
    return Sleep(node=name, dispatch=node.dispatch, until=node.until) if sleeps and node.until is not None else None
