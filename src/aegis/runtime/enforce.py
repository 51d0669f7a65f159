"""The one path from proposal to effect. Every door ends here.

    admit       decide on facts, record the decision (commit unit 1)      runtime.admission
    carry_out   call the tool once, record the outcome (commit unit 2)    runtime.effect
    settle      calls that nobody finished                                runtime.recovery

No record, no act: when the store cannot commit, nothing is forwarded and the error goes to the door, which refuses. A caller that
goes away does not interrupt the tool: the call is finished and recorded, and the same key gets its result later.
"""

import asyncio
from typing import Any

import msgspec
from msgspec.structs import replace

from aegis.errors import IdentityError
from aegis.journal.store import Store
from aegis.journal.unit import Unit
from aegis.model.call import Call, CallState
from aegis.model.principal import Principal
from aegis.model.upstream import Upstream
from aegis.runtime import ids, record
from aegis.runtime.admission import Admission, Permit
from aegis.runtime.approvals import Desk
from aegis.runtime.ask import Answer, Ask
from aegis.runtime.clock import Clock
from aegis.runtime.delegations import Delegations
from aegis.runtime.effect import Effect
from aegis.runtime.halts import Halts
from aegis.runtime.known import CALL
from aegis.runtime.once import Once
from aegis.runtime.recorded import Recorded, recorded
from aegis.runtime.recovery import Recovery
from aegis.runtime.resources import Resources
from aegis.runtime.revocations import Revocations
from aegis.runtime.running import Running
from aegis.runtime.spans import Spans
from aegis.runtime.tenant import Snapshot, Tenant
from aegis.runtime.tool import Tool
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault


class Gate:
    """`enforce` for one process: decides, records, acts, records again."""

    def __init__(self, *, store: Store, vault: Vault, clock: Clock, upstream: Upstream, snapshot: Snapshot, instance: str) -> None:
        tool, self.spans = Tool(upstream), Spans()
        self.store = store
        self.vault = vault
        self.clock = clock
        self.snapshot = snapshot
        self.instance = instance
        self._carried = Running(instance)
        self.recovery = Recovery(store, vault, clock, tool, snapshot, self._carried, self.spans)
        self.desk = Desk(store, vault, clock, snapshot, self.spans)
        self.halts = Halts(store, clock)
        self.revocations = Revocations(store, clock)
        self.once = Once(store, clock)
        self.resources = Resources(store, clock)
        self.delegations = Delegations(store, vault, clock, self.halts, self.spans, instance)
        self._admission = Admission(store, vault, clock, self.recovery, self.halts, self.spans, instance)
        self._effect = Effect(store, vault, clock, tool, self.recovery, self.spans, instance)
        self._running: set[asyncio.Task[Answer]] = set()

    def tenant(self, name: str) -> Tenant:
        """The tenant, or `IdentityError`: a token of a tenant that is not served here opens nothing."""
        found = self.snapshot.get(name)
        if found is None:
            raise IdentityError("unknown_tenant", "this gateway does not serve the tenant of the token")
        return found

    async def call(self, ask: Ask) -> Answer:
        """Decide, forward, and answer. Cancelling the caller does not cancel a call that was permitted."""
        task = asyncio.ensure_future(self._call(ask))
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def decide(self, ask: Ask) -> Answer:
        """Decide and record for a caller that enforces by itself and then reports with `report`."""
        answer = await self._admission.admit(self.tenant(ask.principal.tenant), ask, execute=False)
        assert isinstance(answer, Answer), "only an executing caller gets a permit"
        return answer

    async def report(self, tenant: str, agent_id: str, request_id: str, *, done: bool, result: tuple[Any, ...] = ()) -> bool:
        """Record what came of a decided call; false when this agent has no such call that waits for it."""
        ref = ("call", request_id)
        row = (await self.store.rows(tenant, [ref])).get(ref)
        if row is None or row.lookup != agent_id or row.state != CallState.DECIDED:
            return False
        reason = "reported_done" if done else "reported_not_done"
        return await self.recovery.resolve(tenant, request_id, done=done, by=agent_id, reason=reason, result=result) in (
            CallState.DONE,
            CallState.REOPENED,
        )

    async def trace_of(self, who: Principal, trace: Trace) -> Trace:
        """The span of a request: in the trace that its caller named, else in that of the request that it stands on."""
        if trace.parent_id or who.parent is None:
            return trace
        ref = (CALL, who.parent.request_id)
        row = (await self.store.rows(who.tenant, [ref])).get(ref)
        above = msgspec.json.decode(row.body, type=Call).traceparent if row else ""
        return Trace.continued(above) if above else trace

    async def refuse(self, tenant: str, agent_id: str, reason: str, what: str, *, request_id: str, door: str, trace: Trace) -> None:
        """Record the refusal of an authenticated caller whose request never became a proposal."""
        now = self.clock.now()
        event = record.refusal(
            tenant,
            event_id=f"refusal:{ids.uuid7(now)}",
            now=now,
            request_id=request_id,
            agent_id=agent_id,
            reason=reason,
            what=what,
            door=door,
            traced=trace.told,
        )
        await self.store.commit(Unit(tenant=tenant, events=(event,)))

    async def recorded(self, tenant: str, request_id: str) -> Recorded | None:
        """The newest decision on a request, as it can be looked at again."""
        return await recorded(self.store, self.vault, tenant, request_id)

    async def drain(self) -> None:
        """Wait for every call under way to be recorded."""
        while self._running:
            await asyncio.wait(set(self._running))

    @property
    def in_flight(self) -> int:
        """Calls under way in this process."""
        return len(self._running)

    async def _call(self, ask: Ask) -> Answer:
        request_id = ask.request_id or ids.new("req", self.clock.now())
        with self._carried.during(request_id):
            asked = replace(ask, request_id=request_id)
            admitted = await self._admission.admit(self.tenant(ask.principal.tenant), asked, execute=True)
            return await self._effect.carry_out(admitted) if isinstance(admitted, Permit) else admitted

    def _finished(self, task: "asyncio.Task[Answer]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # the caller may be gone: what it would have been told is in the journal or in the log of the store
