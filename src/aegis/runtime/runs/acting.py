"""Carrying out a command of a run: a tool is called through `enforce`, an agent gets its task, a person is asked, a run is started.

The key of an effect is `RUN:NODE` (`RUN:NODE:compensate` for what undoes it), so whoever takes a node up again meets what an
earlier attempt has done. An answer of the gate becomes an event of the run by one table. Where the gate cannot say yet what became
of an earlier attempt, it is asked again until it can: nothing is guessed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from aegis.errors import StoreBusyError
from aegis.journal.unit import Delete, Unit
from aegis.model.approval import Approval
from aegis.model.message import MessageContract, send_key
from aegis.model.principal import Principal
from aegis.runtime.ask import Answer, Ask, Kind
from aegis.runtime.effect import TOO_LATE
from aegis.runtime.enforce import Gate
from aegis.runtime.halts import Halts
from aegis.runtime.runs.agents import Agents, AgentTask
from aegis.runtime.runs.flow import CHILD, WAKE, Out, child_id, put_task
from aegis.runtime.runs.histories import Loaded
from aegis.runtime.runs.journaled import unkept
from aegis.runtime.runs.orchestrator import Orchestrator
from aegis.runtime.runs.principals import NoSuchAgent, acting, at_work
from aegis.runtime.runs.traced import of_step
from aegis.runtime.tenant import Tenant
from aegis.workflow.graph import Action, Amount, Step, Workflow, step_of
from aegis.workflow.run import Act, CancelAsked, Failed, Held, NodeState, Offered, RunEvent, RunState, Succeeded, Undo, Usage

PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
HALTED = "halted"
_AGAIN = frozenset({Kind.IN_FLIGHT, Kind.SETTLING, Kind.BUSY})


class Asking(Protocol):
    """Opens, maps and closes the approvals of approval steps (`runtime.runs.consent`)."""

    async def ask(
        self,
        tenant: Tenant,
        run_id: str,
        definition: Workflow,
        step: Step,
        node: str,
        dispatch: int,
        shows: Any,
        principal: Principal,
    ) -> RunEvent:
        """`Held`, or why nobody can be asked."""

    async def withdraw(self, tenant: str, approval_id: str, reason: str = "") -> bool:
        """Nobody needs to answer any more."""


class Acting:
    """The doer of one process."""

    def __init__(self, gate: Gate, runs: Orchestrator, agents: Agents, consent: Asking) -> None:
        self._gate = gate
        self._runs = runs
        self._agents = agents
        self._consent = consent
        self.fits: Callable[[str, Step, Any], str] = lambda tenant, step, value: ""  # noqa: ARG005 - until contracts are known

    async def carry_out(self, loaded: Loaded, command: Act | Undo) -> RunEvent | None:
        """What came of it; `None` when the run hears of it later."""
        tenant = self._gate.tenant(loaded.tenant)
        step = loaded.workflow.step(step_of(command.node))
        if halting(self._gate.halts, loaded, command.node, undo=isinstance(command, Undo)):
            await self._rest(loaded, command, step)
            return None
        try:
            if isinstance(command, Act):  # what was done is undone, whoever has left meanwhile
                _still_here(tenant, loaded)
            event = await self._done(tenant, loaded, command, step)
        except NoSuchAgent as error:
            return _failed(command, "no_such_agent", f"`{error}` is not at work in this tenant")
        if isinstance(event, Succeeded) and isinstance(command, Act):
            why = unkept(event.output) or self.fits(loaded.tenant, step, event.output)
            if why:
                return _failed(command, "contract", why, again=step.kind == "agent", usage=event.usage)
        return event

    async def withdraw(self, loaded: Loaded, node: str, dispatch: int) -> None:
        """Close the approval, take the task out of its queue, end the child run."""
        known = loaded.state.nodes.get(node)
        step = loaded.workflow.step(step_of(node))
        if known is not None and known.approval_id and known.dispatch == dispatch:
            await self._consent.withdraw(loaded.tenant, known.approval_id, "the run does not go on")
        if step.kind == "agent":
            await self._agents.withdraw(loaded.tenant, loaded.flow.run, node, dispatch)
        if step.kind == "workflow" and (child := await self._child(loaded, node)):
            await self._runs.advance(loaded.tenant, child, CancelAsked(at=_now(), by=f"run:{loaded.flow.run}", reason="unwinding"))

    async def used(self, loaded: Loaded, node: str) -> Usage:
        """What the task of a node that is given up has cost so far."""
        known = loaded.state.nodes.get(node)
        if known is None or loaded.workflow.step(step_of(node)).kind != "agent":
            return Usage()
        spent = await self._agents.spent(loaded.tenant, loaded.flow.run, node, known.attempt)
        return Usage(amount=Amount(micros=spent))

    async def ended(self, loaded: Loaded) -> bool:
        """Tell the run above how this one ended; false while it does not know yet that this one was begun."""
        above = loaded.flow.above
        if above is None:
            return True
        parent = await self._runs.find(loaded.tenant, above.run)
        node = parent.state.nodes.get(above.node) if parent else None
        if node is not None and node.state is NodeState.ISSUED:
            return False
        if node is not None and node.state is NodeState.OFFERED:
            await self._runs.advance(loaded.tenant, above.run, _child_event(loaded, above.node, node.dispatch))
        wake = Unit(tenant=loaded.tenant, writes=(_gone(f"run:{loaded.flow.run}"),))
        await self._runs.store.commit(wake)
        return True

    async def _rest(self, loaded: Loaded, command: Act | Undo, step: Step) -> None:
        """Something that this needs is halted: the command stays out, in nobody's hands, until the halt is lifted."""
        out = Out(
            run=loaded.flow.run, node=command.node, dispatch=command.dispatch, queue=step.queue, priority=step.priority,
            holder=HALTED, undo=isinstance(command, Undo),
        )  # fmt: skip
        await self._runs.store.commit(Unit(tenant=loaded.tenant, writes=(put_task(out),)))

    async def _done(self, tenant: Tenant, loaded: Loaded, command: Act | Undo, step: Step) -> RunEvent | None:
        action = step.undo if isinstance(command, Undo) else step.act
        if action is None:
            return await self._asked(tenant, loaded, command, step)
        if action.kind == "agent":
            return await self._handed(tenant, loaded, command, step, action)
        return await self._called(tenant, loaded, command, step, action)

    async def _asked(self, tenant: Tenant, loaded: Loaded, command: Act | Undo, step: Step) -> RunEvent:
        """An approval step."""
        runner = acting(tenant.name, tenant.directory, loaded.flow, step.run_as or loaded.workflow.run_as, command.node)
        return await self._consent.ask(
            tenant, loaded.flow.run, loaded.workflow, step, command.node, command.dispatch, command.arguments, runner
        )

    async def _handed(self, tenant: Tenant, loaded: Loaded, command: Act | Undo, step: Step, action: Action) -> RunEvent:
        """A task for an agent."""
        flow = loaded.flow
        runner = acting(tenant.name, tenant.directory, flow, step.run_as or loaded.workflow.run_as, command.node)
        return await self._agents.perform(
            AgentTask(
                tenant=tenant,
                run=flow.run,
                definition=loaded.workflow,
                step=step,
                node=command.node,
                dispatch=command.dispatch,
                attempt=command.attempt,
                arguments=command.arguments,
                principal=runner,
                agent_id=action.name,
                traceparent=of_step(flow, command.node, command.dispatch).traceparent,
            )
        )

    async def _called(self, tenant: Tenant, loaded: Loaded, command: Act | Undo, step: Step, action: Action) -> RunEvent | None:
        """A tool, a message, or another workflow: one governed call."""
        flow = loaded.flow
        runner = acting(tenant.name, tenant.directory, flow, step.run_as or loaded.workflow.run_as, command.node)
        tool = action.name if action.kind == "tool" else f"{_PREFIX[action.kind]}{action.name}"
        contract = tenant.contracts.get(tool)
        exact = action.version if action.version.count(".") == 2 else ""
        key = f"{flow.run}:{command.node}" + (":compensate" if isinstance(command, Undo) else "")
        arguments = command.arguments if isinstance(command.arguments, dict) else {}
        if isinstance(contract, MessageContract):
            arguments = {"source": runner.agent_id, "id": key, **arguments}
            key = key if contract.keyed == "required" else send_key(runner.agent_id, key)
        ask = Ask(
            principal=runner,
            tool=tool,
            version=exact,
            arguments=arguments,
            idempotency_key=key,
            request_id=f"{flow.run}:{command.node}:{command.dispatch}",
            traceparent=of_step(flow, command.node, command.dispatch).traceparent,
            door="workflow",
        )
        answer = await settled(lambda: self._gate.call(ask))
        if answer.passing:
            raise StoreBusyError(f"`{tool}` cannot be decided on now")
        writes = contract is None or contract.effect != "read"
        cost = contract.cost_micros if contract else 0
        event = event_of(answer, command, writes=writes, cost_micros=cost)
        if action.kind == "workflow" and isinstance(event, Succeeded):
            return await self._child_started(loaded, command, event)
        return event

    async def _child_started(self, loaded: Loaded, command: Act | Undo, event: Succeeded) -> RunEvent:
        """The child runs; it may have ended already."""
        child = await self._runs.find(loaded.tenant, str((event.output or {}).get("run", "")))
        if child is None:
            return _failed(command, "unknown", "the run that was started cannot be found")
        if child.flow.ended_at is not None:
            return _child_event(child, command.node, command.dispatch)
        return Offered(at=event.at, node=command.node, dispatch=command.dispatch)

    async def _child(self, loaded: Loaded, node: str) -> str:
        row = (CHILD, child_id(loaded.flow.run, node))
        found = (await self._runs.store.rows(loaded.tenant, [row])).get(row)
        return found.lookup if found else ""


_PREFIX = {"workflow": "workflow.", "emit": "message."}


async def settled(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer, asked for again while an earlier attempt of the same effect is still being cleared up, or was never made."""
    turn = 0
    while True:
        answer = await call()
        if (answer.kind not in _AGAIN and answer.reason != TOO_LATE) or answer.holder is not None:
            return answer
        await asyncio.sleep(PAUSES[min(turn, len(PAUSES) - 1)])
        turn += 1


def event_of(answer: Answer, command: Act | Undo, *, writes: bool, cost_micros: int) -> RunEvent:
    """What an answer of the gate is to a run.

    done                          succeeded
    held                          held: a person must look
    denied                        failed, for good
    failed, 4xx                   failed, for good: the tool has refused
    failed, otherwise             failed, and may be tried again
    interrupted                   failed, and may be tried again: the tool makes that safe
    withheld, gone, unknown       of a write: only a person can clear it up
    """
    used = Usage(amount=Amount(calls=1, micros=cost_micros))
    if answer.kind is Kind.DONE:
        return Succeeded(at=_now(), node=command.node, dispatch=command.dispatch, output=answer.result, usage=used)
    if answer.kind is Kind.HELD and answer.approval is not None:
        return _held(command, answer.approval)
    why = "; ".join(reason.text for reason in answer.decision.reasons if reason.text) if answer.decision else ""
    if answer.kind is Kind.DENIED:
        rules = ", ".join(answer.decision.rules) if answer.decision else ""
        return _failed(command, "denied", f"{rules}: {why}" if why else rules, outcome="denied", usage=Usage(amount=Amount()))
    if answer.holder is not None:
        return _failed(command, "resource_busy", "another request is changing the same thing", again=True)
    if answer.kind is Kind.FAILED:
        refused = 400 <= answer.upstream_status < 500
        return _failed(command, "refused" if refused else answer.reason or "upstream", _status(answer), again=not refused)
    if answer.kind is Kind.INTERRUPTED:
        return _failed(command, "interrupted", "the call broke off", again=True, usage=used)
    if answer.kind is Kind.CONFLICT:
        return _failed(command, "conflict", "the key of this step stands for another request")
    if not writes:
        return _failed(command, str(answer.kind), "the result cannot be shown", again=False, usage=used)
    return _failed(command, "unknown", f"the tool may have acted ({answer.kind}): a person must look", usage=used)


def _status(answer: Answer) -> str:
    return f"the tool answered {answer.upstream_status}" if answer.upstream_status else "the tool was not reached"


def _held(command: Act | Undo, approval: Approval) -> Held:
    return Held(
        at=_now(),
        node=command.node,
        dispatch=command.dispatch,
        approval_id=approval.approval_id,
        expires_at=approval.expires_at,
    )


def _failed(
    command: Act | Undo, kind: str, text: str, *, again: bool = False, outcome: str = "failed", usage: Usage | None = None
) -> Failed:
    return Failed(
        at=_now(), node=command.node, dispatch=command.dispatch, kind=kind, text=text, again=again, outcome=outcome,
        usage=usage or Usage(),
    )  # fmt: skip


def _child_event(child: Loaded, node: str, dispatch: int) -> RunEvent:
    if child.state.status is RunState.SUCCEEDED:
        return Succeeded(at=_now(), node=node, dispatch=dispatch, output=child.state.output, usage=Usage(amount=child.state.spent))
    text = f"run {child.flow.run} ended as {child.state.status}"
    return Failed(
        at=_now(), node=node, dispatch=dispatch, kind=f"run_{child.state.status}", text=text, usage=Usage(amount=child.state.spent)
    )


def halting(halts: Halts, loaded: Loaded, node: str, *, undo: bool) -> bool:
    """Whether something that this command needs is halted now. What is in safe mode is decided on: writes wait for a person."""
    step = loaded.workflow.step(step_of(node))
    action = step.undo if undo else step.act
    names = ["tenant", "all", f"run:{loaded.flow.run}", f"workflow:{loaded.workflow.name}", f"queue:{step.queue}"]
    if action is not None:
        names.append(action.name if action.kind == "agent" else f"tool:{action.name}")
    runner = step.run_as or loaded.workflow.run_as
    stands = halts.stands(loaded.tenant, (*names, *([runner] if runner else []), loaded.flow.starter.agent_id))
    return any(halt.mode == "halt" for halt in stands)


def _still_here(tenant: Tenant, loaded: Loaded) -> None:
    """Everybody through whom the task came is at work still.

    Raises:
        NoSuchAgent: Somebody is not: nothing more is done on their behalf.
    """
    starter = loaded.flow.starter
    for name in (starter.agent_id, *starter.chain):
        if name.startswith("agent:"):
            at_work(tenant.directory, name)


def _gone(name: str) -> Delete:
    return Delete(kind=WAKE, id=name)


def _now() -> datetime:
    """A place holder: the time of an event is that of its commit (`Orchestrator.advance`)."""
    return EPOCH


EPOCH = datetime.fromtimestamp(0, tz=UTC)
