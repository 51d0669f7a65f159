"""What people do to nodes that wait for them: requeue, discard, settle by hand."""

from aegis.errors import IllegalTransitionError
from aegis.workflow.answers import next_turn
from aegis.workflow.draft import Draft
from aegis.workflow.failing import NOT_CONVERGED, leave
from aegis.workflow.run import Discarded, Node, NodeState, Requeued, SettledByHand
from aegis.workflow.unwinding import UNKNOWN


def requeued(draft: Draft, event: Requeued) -> None:
    """New attempts, for a node that is parked or for a compensation that failed.

    A run that unwinds does nothing anew: only an effect of which nobody knows may be asked for again then, as it was.
    """
    node = draft.nodes[event.node]
    if node.state is NodeState.UNDO_FAILED:
        edits = {"undo_arguments": event.arguments, "undo_edited": True} if event.edited else {}
        draft.change(event.node, state=NodeState.SUCCEEDED, undo_attempt=0, **edits)
    elif draft.unwinding:
        _ask_again(draft, event)
    elif node.why == NOT_CONVERGED:
        draft.change(event.node, state=NodeState.SUCCEEDED, why="", text="", outcome="succeeded")
        next_turn(draft, event.node, Node(arguments=event.arguments, edited=event.edited))
    else:
        edits = {"arguments": event.arguments, "edited": True} if event.edited else {}
        why = UNKNOWN if node.why == UNKNOWN else ""  # until it is issued: whether it took effect is as unknown as before
        draft.change(event.node, state=NodeState.PENDING, attempt=0, why=why, text="", outcome="", **edits)


def discarded(draft: Draft, event: Discarded) -> None:
    """It is given up: its failure leaves the graph, unless its step may fail."""
    draft.change(event.node, state=NodeState.FAILED)
    if not draft.unwinding and draft.step(event.node).on_failure != "skip":
        leave(draft, event.node)


def settled(draft: Draft, event: SettledByHand) -> None:
    """A person has seen to it that the effect is undone, or that there was none."""
    draft.change(event.node, state=NodeState.COMPENSATED)


def _ask_again(draft: Draft, event: Requeued) -> None:
    if event.edited:
        raise IllegalTransitionError(f"run `{draft.old.run}` unwinds; node `{event.node}` can be asked for again only as it was")
    if draft.halted:
        raise IllegalTransitionError(f"run `{draft.old.run}` is halted; resume it, then requeue node `{event.node}`")
    draft.act(event.node, attempt=1)
