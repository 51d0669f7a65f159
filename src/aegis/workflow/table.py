"""Which event may happen when: one table over the standing of a run, one over the standing of a node. All else is refused.

An event of a node must be in both. A standing is a state, made finer where the same state expects different things: a held call is
released, an open approval succeeds; a wait for a time ends well, a wait for a signal times out.
"""

from collections.abc import Mapping

from aegis.errors import IllegalTransitionError, StaleAnswerError
from aegis.workflow.graph import Step
from aegis.workflow.run import FINAL, Node, NodeState, RunEvent, RunState, State

_ANSWERS = frozenset({"succeeded", "failed", "offered", "held", "escalated", "released", "waited"})
_HANDS = frozenset({"requeued", "discarded", "settled"})
_STOPS = frozenset({"cancel", "timed_out"})

RUN: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"started"}),
    "running": _ANSWERS | _HANDS | _STOPS | {"redispatched", "signalled", "halted"},
    "waiting": _ANSWERS | _HANDS | _STOPS | {"redispatched", "signalled", "halted"},
    "halted": _ANSWERS | _HANDS | _STOPS | {"redispatched", "signalled", "resumed"},
    "unwinding": _ANSWERS | _HANDS | {"redispatched", "signalled", "halted"},
    "unwinding, halted": _ANSWERS | _HANDS | {"redispatched", "signalled", "resumed"},
    "stuck": _ANSWERS | _HANDS | {"redispatched", "signalled", "halted"},
    **{str(state): frozenset() for state in FINAL},
}

NODE: Mapping[str, frozenset[str]] = {
    "pending": frozenset(),
    "expanded": frozenset(),
    "issued": frozenset({"succeeded", "failed", "offered", "held", "redispatched"}),
    "offered": frozenset({"succeeded", "failed", "redispatched"}),
    "held call": frozenset({"released", "failed", "escalated"}),
    "open approval": frozenset({"succeeded", "failed", "escalated"}),
    "waiting for a time": frozenset({"succeeded"}),
    "waiting for a signal": frozenset(),
    "waiting for a signal in time": frozenset({"failed"}),
    "paused": frozenset({"waited"}),
    "parked": frozenset({"requeued", "discarded"}),
    "parked, unwinding": frozenset({"requeued", "discarded", "settled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "skipped": frozenset(),
    "cancelled": frozenset(),
    "undoing": frozenset({"succeeded", "failed", "offered", "held", "redispatched"}),
    "undoing, paused": frozenset({"waited"}),
    "undoing, held": frozenset({"released", "failed", "escalated"}),
    "compensated": frozenset(),
    "compensation_failed": frozenset({"requeued", "settled"}),
}


def tag(event: RunEvent) -> str:
    """The word of an event on the wire."""
    return str(event.__struct_config__.tag)


def of_run(state: State) -> str:
    """How a run stands."""
    return "unwinding, halted" if state.status is RunState.HALTED and state.unwinding else str(state.status)


def of_node(node: Node, step: Step, *, unwinding: bool) -> str:
    """How a node stands."""
    if node.state is NodeState.ISSUED:
        return "issued" if node.dispatch else "expanded"
    if node.state is NodeState.HELD:
        return "open approval" if step.kind == "approval" else "held call"
    if node.state is NodeState.WAITING:
        return _waiting(node, step)
    if node.state is NodeState.PARKED:
        return "parked, unwinding" if unwinding else "parked"
    if node.state is NodeState.UNDOING:
        return "undoing, paused" if node.undo_paused else "undoing, held" if node.approval_id else "undoing"
    return str(node.state)


def check(state: State, event: RunEvent, step: Step | None) -> None:
    """Refuse an event that cannot happen now. `step` is that of the node it is about, if it is about one.

    Raises:
        IllegalTransitionError: The run or the node does not expect it.
        StaleAnswerError: It is about a dispatch that is outstanding no more.
    """
    word, run = tag(event), of_run(state)
    if word not in RUN[run]:
        raise IllegalTransitionError(f"run `{state.run}` is {run}; `{word}` cannot happen to it then")
    name = getattr(event, "node", None)
    if name is not None:
        _check_node(state, event, word, name, step)


def _check_node(state: State, event: RunEvent, word: str, name: str, step: Step | None) -> None:
    node = state.nodes.get(name)
    if node is None or step is None:
        raise IllegalTransitionError(f"`{word}`: run `{state.run}` has no node `{name}`")
    dispatch = getattr(event, "dispatch", node.dispatch)
    if dispatch != node.dispatch:
        raise StaleAnswerError(f"`{word}` answers dispatch {dispatch} of `{name}`; outstanding is {node.dispatch}")
    standing = of_node(node, step, unwinding=state.unwinding)
    if word not in NODE[standing]:
        raise IllegalTransitionError(f"node `{name}` is {standing}; `{word}` cannot happen to it then")


def _waiting(node: Node, step: Step) -> str:
    if step.wait is None or not step.wait.signal:
        return "waiting for a time"
    return "waiting for a signal in time" if node.dispatch else "waiting for a signal"
