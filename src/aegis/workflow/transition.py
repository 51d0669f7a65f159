"""The controller: what a run becomes by an event, and what is to be done then.

    transition(definition, state, event) -> (state, commands)

It is pure and total over what `table` allows: whatever goes wrong in a definition or a value (a place that is missing, a list that
is none, a budget that is used up) fails a node, and never raises. The same events in the same order give the same states and
commands, on every machine and in every version of the same `TRANSITION_VERSION`.

1. The event is taken: `answers`, `hands`, or one of the run's own below.
2. Unless the run is halted, what may start now is issued in canonical order (`ready`), or, when it unwinds, undone (`unwinding`).
3. How the run stands follows from its nodes.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aegis.errors import IllegalTransitionError
from aegis.workflow import answers, hands, ready, unwinding
from aegis.workflow.draft import UNDER_WAY, Draft, names
from aegis.workflow.graph import Step, Workflow
from aegis.workflow.run import (
    FINAL,
    CancelAsked,
    Command,
    Halted,
    Node,
    NodeState,
    Resumed,
    RunEvent,
    RunState,
    Signalled,
    Started,
    State,
    TimedOut,
)
from aegis.workflow.shape import Shape, shape
from aegis.workflow.table import check, tag

MAX_SIGNALS = 1000
_ACTIVE = (*UNDER_WAY, NodeState.UNDOING)
_NEEDS_SOMEBODY = (NodeState.PARKED, NodeState.UNDO_FAILED)


def begin(run_id: str) -> State:
    """A run before its first event."""
    return State(run=run_id)


def transition(definition: Workflow, state: State, event: RunEvent) -> tuple[State, tuple[Command, ...]]:
    """What the run becomes by this event, and the commands that follow, in order.

    Raises:
        IllegalTransitionError: This cannot happen to a run that stands so; nothing has changed.
        StaleAnswerError: The event answers a dispatch that is outstanding no more.
    """
    form = shape(definition)
    check(state, event, _step(form, event))
    draft = Draft(form, state, event.at)
    _found(draft, event)
    _TAKEN[tag(event)](draft, event)
    if not draft.unwinding and not draft.halted:
        ready.proceed(draft)
    if draft.unwinding:
        unwinding.proceed(draft)
    return draft.state(status(draft)), tuple(draft.commands)


def status(draft: Draft) -> RunState:
    """How a run stands, from how its nodes do."""
    if draft.status in FINAL:
        return draft.status
    if draft.halted:
        return RunState.HALTED
    active = any(node.state in _ACTIVE and node.dispatch for node in draft.nodes.values())
    if not draft.unwinding:
        return RunState.RUNNING if active else RunState.WAITING
    stuck = not active and any(node.state in _NEEDS_SOMEBODY for node in draft.nodes.values())
    return RunState.STUCK if stuck else RunState.UNWINDING


def _found(draft: Draft, event: RunEvent) -> None:
    """A node that somebody answers for is not lost."""
    node = draft.nodes.get(getattr(event, "node", ""))
    if node is not None and node.lost:
        draft.change(event.node, lost=False)  # type: ignore[union-attr]  # it has a node: that is how it was found


def _step(form: Shape, event: RunEvent) -> Step | None:
    node = getattr(event, "node", None)
    if node is None:
        return None
    try:
        return form.form(node).step
    except KeyError:
        return None


def _started(draft: Draft, event: Started) -> None:
    draft.started, draft.input = event.at, event.input
    draft.nodes = dict.fromkeys(draft.shape.forms, Node())


def _signalled(draft: Draft, event: Signalled) -> None:
    """Keep a signal for whoever waits for it; the repetition of one changes nothing."""
    key = f"{event.name}/{event.key}"
    if key in draft.keys:
        return
    if len(draft.keys) >= MAX_SIGNALS:
        raise IllegalTransitionError(f"run `{draft.old.run}` has had {MAX_SIGNALS} signals; it takes no more")
    draft.keys = (*draft.keys, key)
    draft.signals = (*draft.signals, (event.name, event.key, event.payload))


def _cancel(draft: Draft, _event: CancelAsked) -> None:
    draft.cancelled = True
    unwinding.unwind(draft, "cancelled")


def _timed_out(draft: Draft, _event: TimedOut) -> None:
    unwinding.unwind(draft, "timed_out")


def _halted(draft: Draft, _event: Halted) -> None:
    draft.halted = True


def _resumed(draft: Draft, _event: Resumed) -> None:
    """Go on; what was lost meanwhile is issued again first."""
    draft.halted = False
    for node in names(draft.definition, draft.counts, draft.turns):
        if draft.nodes[node].lost:
            answers.issue_again(draft, node)


_TAKEN: Mapping[str, Callable[[Draft, Any], None]] = {
    "started": _started,
    "succeeded": answers.succeeded,
    "failed": answers.failed,
    "offered": answers.offered,
    "held": answers.held,
    "escalated": answers.escalated,
    "released": answers.released,
    "redispatched": answers.redispatched,
    "waited": answers.waited,
    "signalled": _signalled,
    "cancel": _cancel,
    "timed_out": _timed_out,
    "halted": _halted,
    "resumed": _resumed,
    "requeued": hands.requeued,
    "discarded": hands.discarded,
    "settled": hands.settled,
}
