"""What becomes of a node that failed: it is tried again, is parked for a person, is passed over, or its failure leaves the graph.

A failure of which nobody knows whether it took effect is always parked: only a person can clear that up. While a run unwinds
nothing is tried again.
"""

from datetime import timedelta

from aegis.workflow.draft import Draft
from aegis.workflow.run import Failed, NodeState
from aegis.workflow.unwinding import unwind

UNKNOWN = "unknown"
NOT_CONVERGED = "not_converged"


def fail(draft: Draft, node: str, event: Failed) -> None:
    """Take the failure of a node's last attempt."""
    step = draft.step(node)
    told = {"why": event.kind, "text": event.text, "outcome": event.outcome, "until": None, "approval_id": ""}
    if event.kind == UNKNOWN:
        draft.change(node, state=NodeState.PARKED, **told)
    elif draft.unwinding:
        draft.change(node, state=NodeState.FAILED, **told)
    elif may_repeat(draft, node, event):
        draft.change(node, state=NodeState.PAUSED, **told)
        draft.sleep(node, draft.at + timedelta(milliseconds=event.pause_ms))
    elif step.on_failure == "park":
        draft.change(node, state=NodeState.PARKED, **told)
    else:
        draft.change(node, state=NodeState.FAILED, **told)
        if step.on_failure == "unwind":
            leave(draft, node)


def fail_here(draft: Draft, node: str, kind: str, text: str = "") -> None:
    """Fail a node for a reason that is found here: no attempt was made, and none will help."""
    fail(draft, node, Failed(at=draft.at, node=node, dispatch=draft.nodes[node].dispatch, kind=kind, text=text))


def may_repeat(draft: Draft, node: str, event: Failed) -> bool:
    """Whether another attempt is made: it makes sense, its kind is one of those, and one is left."""
    retry = draft.step(node).retry
    found = draft.nodes[node]
    made = found.undo_attempt if found.state is NodeState.UNDOING else found.attempt
    return event.again and event.kind != UNKNOWN and made < retry.attempts and (not retry.on or event.kind in retry.on)


def leave(draft: Draft, node: str) -> None:
    """The failure leaves the graph."""
    unwind(draft, f"{node}: {draft.nodes[node].why}")
