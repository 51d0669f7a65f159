"""What an answer does to its node: succeeded, failed, offered, held, released, taken over, woken."""

from datetime import timedelta

from aegis.workflow.budgets import settle
from aegis.workflow.draft import Draft, unit_of
from aegis.workflow.failing import NOT_CONVERGED, fail, fail_here, may_repeat
from aegis.workflow.graph import turn
from aegis.workflow.run import (
    Escalated,
    Failed,
    Held,
    Node,
    NodeState,
    Offered,
    Redispatched,
    Released,
    Succeeded,
    Waited,
)
from aegis.workflow.unwinding import stop
from aegis.workflow.values import view

UNDOING = NodeState.UNDOING


def succeeded(draft: Draft, event: Succeeded) -> None:
    """The node is done, or undone."""
    undoing = draft.nodes[event.node].state is UNDOING
    settle(draft, event.node, event.usage.amount)
    if undoing:
        draft.change(event.node, state=NodeState.COMPENSATED)
        return
    draft.complete(
        event.node,
        state=NodeState.SUCCEEDED,
        output=event.output,
        outcome=event.outcome,
        until=None,
        approval_id="",
        why="",
        text="",
    )
    if draft.step(event.node).repeat is not None and not draft.unwinding:
        _again(draft, event.node)


def failed(draft: Draft, event: Failed) -> None:
    """The attempt failed, to do or to undo."""
    settle(draft, event.node, event.usage.amount)
    if draft.nodes[event.node].state is UNDOING:
        _undo_failed(draft, event)
    else:
        fail(draft, event.node, event)


def offered(draft: Draft, event: Offered) -> None:
    """The task lies in its queue, or its sub-run goes on. A compensation that is offered is still under way."""
    if draft.nodes[event.node].state is not UNDOING:
        draft.change(event.node, state=NodeState.OFFERED)
        _not_wanted(draft, event.node)


def held(draft: Draft, event: Held) -> None:
    """A person must look; what was reserved stays so."""
    state = draft.nodes[event.node].state
    draft.change(
        event.node, state=UNDOING if state is UNDOING else NodeState.HELD, approval_id=event.approval_id, until=event.expires_at
    )
    if state is not UNDOING:
        _not_wanted(draft, event.node)


def escalated(draft: Draft, event: Escalated) -> None:
    """More people may answer."""
    draft.change(event.node, approval_id=event.approval_id)


def released(draft: Draft, event: Released) -> None:
    """The held call may be issued again, as the same attempt."""
    node = draft.nodes[event.node]
    if node.state is UNDOING:
        draft.change(event.node, state=NodeState.SUCCEEDED, undo_attempt=node.undo_attempt - 1, approval_id="", until=None)
    else:
        draft.change(event.node, state=NodeState.PENDING, attempt=node.attempt - 1, approval_id="", until=None)


def redispatched(draft: Draft, event: Redispatched) -> None:
    """Whoever had the command is gone: the same attempt under the next number, whatever the limits, since it counts already."""
    if draft.halted:
        draft.change(event.node, lost=True)
    else:
        issue_again(draft, event.node)


def issue_again(draft: Draft, node: str) -> None:
    """Issue a command under the next number, as it was."""
    if draft.nodes[node].state is UNDOING:
        draft.undo(node)
        return
    draft.act(node)
    _withdraw_late(draft, node)


def waited(draft: Draft, event: Waited) -> None:
    """The pause is over: the next attempt may be issued."""
    if draft.nodes[event.node].state is UNDOING:
        draft.change(event.node, state=NodeState.SUCCEEDED, undo_paused=False, until=None)
    else:
        draft.change(event.node, state=NodeState.PENDING, until=None)


def next_turn(draft: Draft, node: str, fresh: Node) -> None:
    """Let a `repeat` go into its next turn."""
    unit = unit_of(node)
    number = draft.turns.get(unit, 1) + 1
    draft.turns[unit] = number
    draft.nodes[turn(unit, number)] = fresh


def _not_wanted(draft: Draft, node: str) -> None:
    """What begins to wait, for a worker or a person, after its run turned round is not waited for."""
    if draft.unwinding:
        stop(draft, node, draft.nodes[node])


def _withdraw_late(draft: Draft, node: str) -> None:
    """A sub-run that began after its run turned round is to end, too."""
    if draft.unwinding and draft.step(node).kind == "workflow":
        draft.withdraw(node)


def _again(draft: Draft, node: str) -> None:
    """Whether this turn was the last one of its `repeat`, and if not, the next."""
    form, unit = draft.shape.form(node), unit_of(node)
    assert form.until is not None
    assert form.step.repeat is not None
    number = draft.turns.get(unit, 1)
    if form.until(view(draft, unit, form.needs, own=number)):
        return
    if number < form.step.repeat.most:
        next_turn(draft, node, Node())
    else:
        fail_here(draft, node, NOT_CONVERGED)


def _undo_failed(draft: Draft, event: Failed) -> None:
    told = {"why": event.kind, "text": event.text, "approval_id": ""}
    if may_repeat(draft, event.node, event):
        draft.sleep(event.node, draft.at + timedelta(milliseconds=event.pause_ms), undo_paused=True, **told)
    else:
        draft.change(event.node, state=NodeState.UNDO_FAILED, **told)
