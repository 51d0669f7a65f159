"""What people and agents read of runs: the list, one run with its steps and what each waits for, and its events.

    Runs.listed      runs, newest first, by workflow and state, a page at a time
    Runs.one         one run as it stands: steps in order, budgets, children
    Runs.events      its events as the journal holds them

Values (inputs, outputs, arguments) are left out unless they are asked for: who may see them is decided by whoever asks.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from aegis.journal.store import Store
from aegis.journal.unit import Row
from aegis.runtime.runs.flow import CHILD, FLOW, Above, Flow, child_id, read_flow
from aegis.runtime.runs.histories import Histories, Loaded
from aegis.runtime.runs.journaled import PREFIX
from aegis.runtime.runs.newest import LATEST, newest
from aegis.workflow.draft import names
from aegis.workflow.graph import Amount, Budget, Step, Workflow, step_of
from aegis.workflow.run import Node, NodeState, RunState
from aegis.workflow.table import of_node

PAGE = 500
MOST = 5000
EVENTS = 500


class Waits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a step waits for, in a word (`approval`, `signal`, `time`, `attempt`, `worker`, `person`, `halt`), and the details."""

    what: str
    approval_id: str = ""
    signal: str = ""
    until: datetime | None = None
    queue: str = ""


class StepView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node of a run. `compensation` is how its undoing stands; `values` are there for who may see them."""

    node: str
    step: str
    kind: str
    role: str
    name: str
    state: NodeState
    queue: str
    attempt: int = 0
    attempts: int = 0
    dispatch: int = 0
    outcome: str = ""
    why: str = ""
    text: str = ""
    waits: Waits | None = None
    done: int = 0
    compensation: str = ""
    undo_attempt: int = 0
    needs: tuple[str, ...] = ()
    spent: Amount = Amount()
    reserved: Amount | None = None
    child: str = ""
    values: Mapping[str, Any] | None = None


class RunView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run, and its steps in canonical order."""

    run: str
    workflow: str
    version: str
    definition: str
    state: RunState
    started_by: str
    subject: str
    started_at: datetime
    moved_at: datetime | None = None
    ended_at: datetime | None = None
    request_id: str = ""
    above: Above | None = None
    plan: str = ""
    failure: str = ""
    unwinding: bool = False
    cancelled: bool = False
    halted: bool = False
    events: int = 0
    spent: Amount = Amount()
    reserved: Amount = Amount()
    budget: Budget = Budget()
    warned: bool = False
    runbook: str = ""
    erased: bool = False
    steps: tuple[StepView, ...] = ()
    signals: tuple[str, ...] = ()
    values: Mapping[str, Any] | None = None


class Listed(Struct, frozen=True, kw_only=True):
    """A page of runs, newest first. `after` leads to the next; it is empty where nothing is left."""

    runs: tuple[Flow, ...]
    after: str = ""


Sees = Callable[[Flow, Workflow], bool]


class Runs:
    """Reads runs; it changes nothing."""

    def __init__(self, store: Store, histories: Histories) -> None:
        self._store = store
        self._histories = histories

    async def listed(
        self,
        tenant: str,
        now: datetime,
        *,
        workflow: str = "",
        state: str = "",
        after: str = "",
        limit: int = 50,
        sees: Sees | None = None,
    ) -> Listed:
        """Runs that `sees` lets through, started before the run `after`, newest first."""
        found: list[Flow] = []
        looked = 0

        async def read(below: str, most: int) -> tuple[Row, ...]:
            return await self._store.find(tenant, FLOW, state=state or None, lookup=workflow or None, after=below, limit=most)

        async for row in newest(read, now, after or LATEST):
            flow = read_flow(row)
            looked += 1
            if sees is None or sees(flow, await self._histories.definition(tenant, flow.digest)):
                found.append(flow)
            if len(found) >= limit or looked >= MOST:
                return Listed(runs=tuple(found), after=flow.run)
        return Listed(runs=tuple(found))

    async def one(self, tenant: str, run: str, *, values: bool = False) -> RunView | None:
        """The run as it stands; `None` when there is none of this id."""
        loaded = await self._histories.load(tenant, run)
        if loaded is None:
            return None
        return run_view(loaded, await self.children(tenant, run), values=values)

    async def children(self, tenant: str, run: str) -> dict[str, str]:
        """The runs that were started for its nodes, by node."""
        begin = child_id(run, "")
        found: dict[str, str] = {}
        after = begin
        while rows := await self._store.find(tenant, CHILD, after=after, limit=PAGE):
            after = rows[-1].id
            found |= {row.id.removeprefix(begin): row.lookup for row in rows if row.id.startswith(begin)}
            if not after.startswith(begin) or len(rows) < PAGE:
                break
        return found

    async def events(self, tenant: str, run: str, *, after: int = -1, limit: int = EVENTS) -> tuple[dict[str, Any], ...]:
        """Events of the run behind the place `after`, oldest first, as the journal holds them: words and commitments, no values."""
        page = await self._store.events(tenant, request_id=run, after=after, limit=limit)
        return tuple(msgspec.json.decode(each.body) for each in page)

    async def newest_events(self, tenant: str, run: str, limit: int) -> tuple[dict[str, Any], ...]:
        """The last events of the run itself, oldest first."""
        page = await self._store.events(tenant, request_id=run, limit=limit, newest_first=True)
        return tuple(msgspec.json.decode(each.body) for each in reversed(page) if each.type.startswith(PREFIX))


def run_view(loaded: Loaded, children: Mapping[str, str], *, values: bool = False) -> RunView:
    """A run that was read, for whoever may see it."""
    flow, state, workflow = loaded.flow, loaded.state, loaded.workflow
    return RunView(
        run=flow.run, workflow=flow.workflow, version=flow.version, definition=flow.digest, state=flow.status,
        started_by=flow.starter.agent_id, subject=flow.starter.subject, started_at=flow.started_at, moved_at=flow.moved_at,
        ended_at=flow.ended_at, request_id=flow.request_id, above=flow.above, plan=flow.plan, failure=state.failure,
        unwinding=state.unwinding, cancelled=state.cancelled, halted=state.halted, events=state.events, spent=state.spent,
        reserved=state.reserved, budget=workflow.budget, warned=state.warned, runbook=workflow.runbook, erased=loaded.erased,
        steps=tuple(_steps(loaded, children, values=values)), signals=tuple(name for name, _, _ in state.signals),
        values={"input": state.input, "output": state.output} if values else None,
    )  # fmt: skip


def takes_part(workflow: Workflow, agent_id: str) -> bool:
    """Whether an agent has a part in a workflow: it acts in a step, or does one."""
    agents = {workflow.run_as}
    for step in workflow.steps:
        agents.add(step.run_as)
        agents |= {action.name for action in (step.act, step.undo) if action is not None and action.kind == "agent"}
    return agent_id in agents


def _steps(loaded: Loaded, children: Mapping[str, str], *, values: bool) -> Iterator[StepView]:
    state, workflow = loaded.state, loaded.workflow
    for name in names(workflow, state.counts, state.turns):
        node = state.nodes.get(name, Node())
        step = workflow.step(step_of(name))
        yield StepView(
            node=name, step=step.id, kind=step.kind, role=step.role, name=_acts(step), state=node.state, queue=step.queue,
            attempt=node.attempt, attempts=step.retry.attempts, dispatch=node.dispatch, outcome=node.outcome, why=node.why,
            text=node.text, waits=waits(step, node, unwinding=state.unwinding), done=node.done, compensation=_undone(step, node),
            undo_attempt=node.undo_attempt, needs=step.needs, spent=node.spent, reserved=node.reserved,
            child=children.get(name, ""), values=_values(node) if values else None,
        )  # fmt: skip


def waits(step: Step, node: Node, *, unwinding: bool) -> Waits | None:
    """What a node waits for; `None` when it does not, or only for other steps."""
    standing = of_node(node, step, unwinding=unwinding)
    if standing in ("held call", "open approval", "undoing, held"):
        return Waits(what="approval", approval_id=node.approval_id, until=node.until)
    if standing in ("waiting for a signal", "waiting for a signal in time"):
        return Waits(what="signal", signal=step.wait.signal if step.wait else "", until=node.until)
    if standing == "waiting for a time":
        return Waits(what="time", until=node.until)
    if standing in ("paused", "undoing, paused"):
        return Waits(what="attempt", until=node.until)
    if standing == "offered":
        return Waits(what="worker", queue=step.queue)
    if standing in ("parked", "parked, unwinding", "compensation_failed"):
        return Waits(what="person")
    return None


def _acts(step: Step) -> str:
    return step.act.name if step.act is not None else step.wait.signal if step.wait is not None else ""


def _undone(step: Step, node: Node) -> str:
    """How the compensation of a step stands, in a word."""
    if node.state in (NodeState.UNDOING, NodeState.COMPENSATED, NodeState.UNDO_FAILED):
        return {"undoing": "under way", "compensated": "done", "compensation_failed": "failed"}[str(node.state)]
    return step.undo.name if step.undo is not None else ""


def _values(node: Node) -> dict[str, Any]:
    found = {"arguments": node.arguments, "output": node.output, "undo_arguments": node.undo_arguments}
    return {name: value for name, value in found.items() if value is not None}
