"""Unwinding: nothing new moves forward, what is under way is awaited, and then what was done is undone, latest first.

1. Nodes that have nothing out are cancelled, also those whose command this very transition was about to issue. What waits for
   a person, a worker or a time is withdrawn and cancelled; a sub-run is withdrawn and awaited, since its own compensations come
   before ours. What is under way is awaited: if it succeeds, it counts.
2. When nothing is out any more, compensations run one at a time in reverse order of completion, with the values that stand
   recorded. A step without one is passed over.
3. A compensation that fails for good makes the run `stuck`, and so does an effect of which nobody knows whether it took place:
   there a person goes on. When all is done the run is `compensated` if anything was undone, else `failed` or `cancelled`.
"""

from aegis.workflow.budgets import release
from aegis.workflow.draft import UNDER_WAY, Draft, names, unit_of
from aegis.workflow.graph import Step
from aegis.workflow.run import Node, NodeState, RunState
from aegis.workflow.values import MissingValue, resolve, view
from aegis.workflow.values_syntax import refs

_WAITS = (NodeState.HELD, NodeState.WAITING, NodeState.PAUSED, NodeState.OFFERED)
_BLOCKS = (*UNDER_WAY, NodeState.PARKED, NodeState.UNDOING, NodeState.UNDO_FAILED)
_UNDOABLE = (NodeState.SUCCEEDED, NodeState.FAILED)


UNKNOWN = "unknown"
TIMED_OUT = "timed_out"


def in_doubt(step: Step, why: str, outcome: str) -> bool:
    """Whether nobody knows if a failed attempt took effect: it says so, or a call that changes something was given up."""
    changes = step.kind in ("tool", "emit") and (step.undo is not None or bool(step.irrevocable))
    return why == UNKNOWN or (outcome == TIMED_OUT and changes)


def unwind(draft: Draft, failure: str) -> None:
    """Turn the run round, for this reason."""
    assert not draft.unwinding, "it turns round once"
    draft.unwinding, draft.failure = True, failure
    for node in draft.fresh:
        release(draft, node)
        draft.retract(node)
    for node in names(draft.definition, draft.counts, draft.turns):
        stop(draft, node, draft.nodes[node])


def proceed(draft: Draft) -> None:
    """Undo what is next, or end the run, unless something is still awaited."""
    if draft.halted or any(node.state in _BLOCKS for node in draft.nodes.values()):
        return
    left = [(node.done, name) for name, node in draft.nodes.items() if node.done and _undoable(draft, name, node)]
    if left:
        _undo(draft, max(left)[1])
    else:
        draft.finish(_end(draft))


def stop(draft: Draft, name: str, node: Node) -> None:
    """Cancel a node that waits, or take back what it has out."""
    if node.state is NodeState.PENDING or (node.state is NodeState.ISSUED and not node.dispatch):
        _cancel(draft, name, NodeState.CANCELLED)
    elif node.state is NodeState.PARKED and node.why != UNKNOWN:
        _cancel(draft, name, NodeState.FAILED)
    elif draft.step(name).kind == "workflow" and node.state in UNDER_WAY:
        draft.withdraw(name)
    elif node.state in _WAITS:
        draft.withdraw(name)
        _cancel(draft, name, NodeState.CANCELLED)


def _cancel(draft: Draft, name: str, state: NodeState) -> None:
    """End a node that has nothing out. One that was to be asked for again, and of whose effect nobody knows, waits for a person."""
    release(draft, name)
    node = draft.nodes[name]
    if node.state in (NodeState.PENDING, NodeState.PAUSED) and in_doubt(draft.step(name), node.why, node.outcome):
        draft.change(name, state=NodeState.PARKED, why=UNKNOWN)
    else:
        draft.change(name, state=state, lost=False)


def _undoable(draft: Draft, name: str, node: Node) -> bool:
    return node.state in _UNDOABLE and draft.step(name).undo is not None


def _undo(draft: Draft, name: str) -> None:
    attempt = draft.nodes[name].undo_attempt + 1
    if draft.nodes[name].undo_edited:
        draft.undo(name, undo_attempt=attempt)
        return
    try:
        arguments = _arguments(draft, name)
    except MissingValue as missing:
        draft.change(name, state=NodeState.UNDO_FAILED, why="missing_value", text=missing.text)
        return
    draft.undo(name, undo_attempt=attempt, undo_arguments=arguments)


def _arguments(draft: Draft, name: str) -> object:
    undo = draft.step(name).undo
    template = undo.arguments if undo is not None else None
    seen = view(draft, unit_of(name), {ref.path[1] for ref in refs(template) if ref.path[0] == "steps"})
    seen["output"] = draft.nodes[name].output
    return resolve(template, seen)


def _end(draft: Draft) -> RunState:
    if any(node.state is NodeState.COMPENSATED for node in draft.nodes.values()):
        return RunState.COMPENSATED
    return RunState.CANCELLED if draft.cancelled else RunState.FAILED
