"""What becomes of a node that failed: it is tried again, is parked for a person, is passed over, or its failure leaves the graph.

A failure of which nobody knows whether it took effect is always parked: only a person can clear that up. A call that changes
something and was waited for no longer is in doubt as well: it may be tried again, under the same key, but it is never taken for not
done. While a run unwinds nothing is tried again.
"""

from datetime import timedelta

from aegis.workflow.draft import Draft
from aegis.workflow.run import Failed, NodeState
from aegis.workflow.unwinding import UNKNOWN, in_doubt, unwind

NOT_CONVERGED = "not_converged"


def fail(draft: Draft, node: str, event: Failed) -> None:
    """Take the failure of a node's last attempt."""
    step = draft.step(node)
    told = {"why": event.kind, "text": event.text, "outcome": event.outcome, "until": None, "approval_id": ""}
    if may_repeat(draft, node, event) and not draft.unwinding:
        draft.change(node, state=NodeState.PAUSED, **told)
        draft.sleep(node, draft.at + timedelta(milliseconds=event.pause_ms))
    elif in_doubt(step, event.kind, event.outcome):
        draft.change(node, state=NodeState.PARKED, **{**told, "why": UNKNOWN})
    elif draft.unwinding:
        draft.change(node, state=NodeState.FAILED, **told)
    elif step.on_failure == "park":
        draft.change(node, state=NodeState.PARKED, **told)
    else:
        draft.change(node, state=NodeState.FAILED, **told)
        if step.on_failure == "unwind":
            leave(draft, node)


def fail_here(draft: Draft, node: str, kind: str, text: str = "") -> None:
    """Fail a node for a reason that is found here: no attempt was made, and none will help.

    If nobody knows of an earlier attempt whether it took effect, that is as unknown as before.
    """
    known = draft.nodes[node]
    if in_doubt(draft.step(node), known.why, known.outcome):
        kind, text = UNKNOWN, text or kind
    fail(draft, node, Failed(at=draft.at, node=node, dispatch=known.dispatch, kind=kind, text=text))


def may_repeat(draft: Draft, node: str, event: Failed) -> bool:
    """Whether another attempt is made: it makes sense, its kind is one of those, and one is left."""
    retry = draft.step(node).retry
    found = draft.nodes[node]
    made = found.undo_attempt if found.state is NodeState.UNDOING else found.attempt
    return event.again and event.kind != UNKNOWN and made < retry.attempts and (not retry.on or event.kind in retry.on)


def leave(draft: Draft, node: str) -> None:
    """The failure leaves the graph."""
    unwind(draft, f"{node}: {draft.nodes[node].why}")
