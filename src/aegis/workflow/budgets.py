"""Budgets of a run and of its steps: reserved when a command is issued, settled when it is answered.

Nothing is issued that could carry what is spent and reserved over a hard limit. Where it could, a node waits as long as a
reservation of others may come back; when what is spent alone leaves too little, it fails (`budget_exhausted`). Compensations are
never refused for money: what they use is counted.
"""

from typing import Literal

from aegis.workflow.draft import Draft
from aegis.workflow.graph import Amount, Budget, Step
from aegis.workflow.run import Share

COSTLY = frozenset({"agent", "tool", "workflow", "emit"})
NOTHING = Amount()
Room = Literal["now", "later", "never"]


def room(draft: Draft, node: str, step: Step) -> tuple[Room, Room]:
    """Whether the estimate of a node fits now, may fit when others have settled, or never will: in the run, and in its step."""
    if not draft.shape.budgeted or not asks(draft, node, step):
        return "now", "now"
    share = draft.shares.get(step.id, Share())
    return (
        _room(draft.definition.budget, draft.spent, draft.reserved, step.estimate),
        _room(step.budget, share.spent, share.reserved, step.estimate),
    )


def asks(draft: Draft, node: str, step: Step) -> bool:
    """Whether a node has anything to reserve: it costs something, and holds no reservation from before it was held."""
    return step.kind in COSTLY and draft.nodes[node].reserved is None


def reserve(draft: Draft, node: str, step: Step) -> Amount | None:
    """Set the estimate of a node aside; what stands in its `reserved`."""
    held = draft.nodes[node].reserved
    if step.kind not in COSTLY or held is not None:
        return held
    draft.reserved = draft.reserved.plus(step.estimate)
    if _limited(step.budget):
        share = draft.shares.get(step.id, Share())
        draft.shares[step.id] = Share(spent=share.spent, reserved=share.reserved.plus(step.estimate))
    return step.estimate


def settle(draft: Draft, node: str, used: Amount) -> None:
    """Give back what a node had reserved, and count what it used. Waits and approvals cost nothing."""
    found, step = draft.nodes[node], draft.step(node)
    if step.kind not in COSTLY:
        return
    back = found.reserved or NOTHING
    draft.reserved = draft.reserved.minus(back)
    draft.spent = draft.spent.plus(used)
    if _limited(step.budget):
        share = draft.shares.get(step.id, Share())
        draft.shares[step.id] = Share(spent=share.spent.plus(used), reserved=share.reserved.minus(back))
    draft.warned = draft.warned or draft.definition.budget.warns(draft.spent)
    draft.change(node, reserved=None, spent=found.spent.plus(used))


def release(draft: Draft, node: str) -> None:
    """Give back what a node had reserved and never used."""
    if draft.nodes[node].reserved is not None:
        settle(draft, node, NOTHING)


def _room(budget: Budget, spent: Amount, reserved: Amount, estimate: Amount) -> Room:
    wanted = spent.plus(estimate)
    if budget.allows(wanted.plus(reserved)):
        return "now"
    return "later" if budget.allows(wanted) else "never"


def _limited(budget: Budget) -> bool:
    return budget.calls is not None or budget.tokens is not None or budget.micros is not None
