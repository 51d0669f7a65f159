"""What was asked for and is not answered yet, read from a state alone: what a sweep compares with who is at work.

What waits for a person (a held call, an open approval, a dead letter) is not outstanding, and neither is `Withdraw`, which nobody
answers.
"""

from aegis.workflow.draft import names
from aegis.workflow.graph import Workflow
from aegis.workflow.run import Act, Command, Node, NodeState, Sleep, State, Undo


def outstanding(definition: Workflow, state: State) -> tuple[Command, ...]:
    """Every such command in canonical order, equal to what was issued."""
    found = ((name, state.nodes[name]) for name in names(definition, state.counts, state.turns) if name in state.nodes)
    return tuple(command for name, node in found if (command := of_node(name, node)) is not None)


def of_node(name: str, node: Node) -> Command | None:
    """What is outstanding of one node."""
    if not node.dispatch:
        return None
    if node.state in {NodeState.ISSUED, NodeState.OFFERED}:
        return Act(node=name, dispatch=node.dispatch, attempt=node.attempt, arguments=node.arguments)
    if node.state is NodeState.UNDOING and not node.undo_paused:
        undo = Undo(node=name, dispatch=node.dispatch, attempt=node.undo_attempt, arguments=node.undo_arguments)
        return None if node.approval_id else undo
    sleeps = node.state in {NodeState.WAITING, NodeState.PAUSED} or node.undo_paused
    return Sleep(node=name, dispatch=node.dispatch, until=node.until) if sleeps and node.until is not None else None
