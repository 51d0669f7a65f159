"""What a run is told when something that it waits for has happened: a time has come, a person answered, another run ended."""

from msgspec.structs import replace

from aegis.errors import IdentityError
from aegis.journal.unit import Delete, Unit
from aegis.model.approval import Approval
from aegis.runtime.clock import Clock
from aegis.runtime.enforce import Gate
from aegis.runtime.runs.acting import Acting, halting
from aegis.runtime.runs.consent import ended
from aegis.runtime.runs.flow import Due, Out, to_withdraw, withdrawing
from aegis.runtime.runs.histories import Loaded
from aegis.runtime.runs.moving import Also
from aegis.runtime.runs.orchestrator import Orchestrator
from aegis.runtime.runs.placing import TIMED
from aegis.workflow.graph import step_of
from aegis.workflow.run import ENDED, Failed, Halted, NodeState, Resumed, RunEvent, RunState, Succeeded, TimedOut, Waited


class Waking:
    """Turns what happened into events of runs."""

    def __init__(self, runs: Orchestrator, gate: Gate, acting: Acting) -> None:
        self._runs = runs
        self._gate = gate
        self._acting = acting

    @property
    def _clock(self) -> Clock:
        return self._runs.clock

    async def due(self, tenant: str, due: Due) -> None:
        """A time has come: of a whole run, of a pause, of a wait."""
        loaded = await self._runs.find(tenant, due.run)
        if loaded is None or loaded.flow.ended_at is not None:
            return
        if not due.node:
            await self._runs.advance(tenant, due.run, TimedOut(at=self._clock.now()))
            return
        if event := self._over(loaded, due):
            timed = isinstance(event, Failed) and loaded.workflow.step(step_of(due.node)).kind in TIMED
            await (self._late(loaded, due, event) if timed else self._runs.advance(tenant, due.run, event))  # type: ignore[arg-type]  # a failure

    async def _late(self, loaded: Loaded, due: Due, event: Failed) -> None:
        """Something took too long: the run hears what it cost, and whoever is at it is told to stop."""
        row = withdrawing(due.run, due.node, due.dispatch)
        event = replace(event, usage=await self._acting.used(loaded, due.node))
        if await self._runs.advance(loaded.tenant, due.run, event, also=Also(writes=(row,))) is not None:
            await self.wake(loaded.tenant, row.id)
            await self._runs.store.commit(Unit(tenant=loaded.tenant, writes=(Delete(kind=row.kind, id=row.id),)))

    async def wake(self, tenant: str, name: str) -> bool:
        """Whether what a row `wake` names has been told, or done.

        `run:ID`: a run ended that another waits for. `withdraw`: what a node had out is to be taken back. Else an approval ended.

        False while the run that waits has not recorded yet that it does: it is to be told again.
        """
        if name.startswith("run:"):
            child = await self._runs.find(tenant, name.removeprefix("run:"))
            return child is None or await self._acting.ended(child)
        if back := to_withdraw(name):
            loaded = await self._runs.find(tenant, back.run)
            if loaded is not None:
                await self._acting.withdraw(loaded, back.node, back.dispatch)
            return True
        found = await self._gate.desk.find(tenant, name)
        return found is None or await self._told(found[0])

    async def answered(self, approval: Approval) -> None:
        """An approval has ended: that of a step ends the step, that of a call lets it be tried again."""
        await self._told(approval)

    async def _told(self, approval: Approval) -> bool:
        run, node = whose(approval)
        loaded = await self._runs.find(approval.tenant, run) if run else None
        known = loaded.state.nodes.get(node) if loaded else None
        if known is None or known.state in ENDED:
            return True
        if known.approval_id != approval.approval_id:
            return known.state not in (NodeState.ISSUED, NodeState.UNDOING)
        if event := ended(approval, node, known.dispatch, self._clock.now()):
            await self._runs.advance(approval.tenant, run, event)
        return True

    async def may_go_on(self, tenant: str, out: Out) -> bool:
        """Whether nothing that this command needs is halted any more."""
        try:
            self._gate.tenant(tenant)
        except IdentityError:
            return False
        loaded = await self._runs.find(tenant, out.run)
        return loaded is None or not halting(self._gate.halts, loaded, out.node, undo=out.undo)

    async def halted(self) -> None:
        """Tell the runs that are halted by name, and those that are not any more."""
        named: dict[tuple[str, str], tuple[str, str]] = {}
        for halt in self._gate.halts.listed():
            if halt.what.startswith("run:") and halt.mode == "halt":
                named[halt.tenant, halt.what.removeprefix("run:")] = (halt.by, halt.reason)
        for (tenant, run), (by, reason) in named.items():
            loaded = await self._runs.find(tenant, run)
            if loaded is not None and loaded.flow.ended_at is None and not loaded.state.halted:
                await self._runs.advance(tenant, run, Halted(at=self._clock.now(), by=by, reason=reason))
        for tenant in sorted(self._runs.active):
            for row in await self._runs.store.find(tenant, "flow", state=str(RunState.HALTED), limit=200):
                if (tenant, row.id) not in named:
                    await self._runs.advance(tenant, row.id, Resumed(at=self._clock.now(), by="operator"))

    def _over(self, loaded: Loaded, due: Due) -> RunEvent | None:
        node = loaded.state.nodes.get(due.node)
        if node is None or node.dispatch != due.dispatch:
            return None
        now = self._clock.now()
        if node.state in (NodeState.PAUSED, NodeState.UNDOING):
            return Waited(at=now, node=due.node, dispatch=due.dispatch)
        step = loaded.workflow.step(step_of(due.node))
        if node.state in (NodeState.ISSUED, NodeState.OFFERED) and step.timeout is not None and step.kind in TIMED:
            return Failed(
                at=now, node=due.node, dispatch=due.dispatch, kind="timed_out", text="it took longer than the step allows",
                again=True, outcome="timed_out",
            )  # fmt: skip
        if node.state is not NodeState.WAITING:
            return None
        wait = step.wait
        if wait is not None and wait.signal:
            return Failed(
                at=now, node=due.node, dispatch=due.dispatch, kind="timed_out", text=f"no signal `{wait.signal}` came in time",
                outcome="timed_out",
            )  # fmt: skip
        return Succeeded(at=now, node=due.node, dispatch=due.dispatch)


def whose(approval: Approval) -> tuple[str, str]:
    """The run and node that an approval is for; empty when it is no run's.

    That of a step is filed under the run; that of a call under the call, whose id is `RUN:NODE:DISPATCH`.
    """
    if approval.step is not None:
        return approval.run, approval.step.node
    parts = approval.request_id.split(":")
    if len(parts) == 3 and parts[0].startswith("run_"):
        return parts[0], parts[1]
    return "", ""
