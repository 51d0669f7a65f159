"""What a task has used: what its agent says, bounded and marked as the agent's word, and what its governed calls cost.

Where money is limited, the credential of a task may spend what its node reserves and no more, whatever the agent does. So tasks
that run side by side never pass a hard limit, and what they spent is read from what was counted.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from aegis.journal.store import Store
from aegis.model.allowance import Allowance
from aegis.runtime.known import ALLOWANCE
from aegis.runtime.record import text
from aegis.workflow.graph import Amount, Step, Workflow
from aegis.workflow.run import Failed, RunEvent, Succeeded, Usage

MAX_TOKENS = 10**9
MAX_MICROS = 10**15
MODEL = ("id", "version", "prompt_sha256", "seed")
MAX_TEXT = 128


def usage(*, tokens: int = 0, micros: int = 0, model: Mapping[str, str] | None = None) -> Usage:
    """One call of an agent, with what it says that it took."""
    return Usage(
        amount=Amount(calls=1, tokens=_bounded(tokens, MAX_TOKENS), micros=_bounded(micros, MAX_MICROS)),
        self_reported=True,
        model={name: text(str(model[name]), MAX_TEXT) for name in MODEL if model and model.get(name)},
    )


def bound(definition: Workflow, step: Step) -> int | None:
    """What the calls of one task may cost: its reservation, where the run or the step has a limit of money."""
    limits = []
    if definition.budget.micros is not None:
        limits.append(step.estimate.micros)
    if step.budget.micros is not None:
        limits.append(step.estimate.micros or step.budget.micros)
    return min(limits, default=None)


Told = TypeVar("Told", bound=RunEvent)


async def spent_under(store: Store, tenant: str, token_id: str) -> int:
    """What the calls under a task's credentials cost; they are counted where money is limited."""
    row = (await store.rows(tenant, [(ALLOWANCE, token_id)])).get((ALLOWANCE, token_id))
    return msgspec.json.decode(row.body, type=Allowance).spent_micros if row else 0


async def with_calls(store: Store, tenant: str, token_id: str, event: Told, *, before: int = 0) -> Told:
    """The ending of a task with the cost of its calls, and of those that were made `before` under leases that lapsed."""
    if not isinstance(event, Succeeded | Failed):
        return event
    spent = before + await spent_under(store, tenant, token_id)
    used = event.usage
    return replace(event, usage=replace(used, amount=used.amount.plus(Amount(micros=spent)))) if spent else event


def _bounded(number: int, most: int) -> int:
    return min(max(0, number), most)
