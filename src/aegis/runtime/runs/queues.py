"""Owned queues as they stand: open, paused or draining, how much lies in them, and since when.

    open        takes tasks in and hands them out
    paused      takes tasks in and hands none out
    draining    hands out what lies there and takes nothing in; new tasks wait outside

What is handed out already is not touched by any of them: `aegis halt queue:NAME` stops that, too. An agent changes a queue by
calling `queue.NAME`, which policy decides; a person by a command, which is signed.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError, StoreBusyError, StoreError, UpstreamError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Put, Require, Unit
from aegis.model.call import Call
from aegis.model.contract import Contract
from aegis.model.event import Event
from aegis.model.operation import OutgoingRequest
from aegis.model.queue import QueueContract, queues
from aegis.model.upstream import UpstreamResponse
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.known import CALL
from aegis.runtime.record import text
from aegis.runtime.runs.acting import HALTED
from aegis.runtime.runs.flow import TASK as FLOW_TASK
from aegis.runtime.runs.flow import read_task
from aegis.runtime.runs.queued import QUEUE, TASK, Gate, Queued, Standing, TaskState, read, standing
from aegis.runtime.tenant import Tenant

ATTEMPTS = 8
PAGE = 500
MOST = 10_000
GATES = {"pause": Gate.PAUSED, "resume": Gate.OPEN, "drain": Gate.DRAINING}


class Depth(Struct, frozen=True, kw_only=True):
    """How a queue stands, over all processes. `waiting` are tasks that it did not take in yet, or that rest because of a halt.

    `ready` lie in it, `working` are in the hands of a worker or of a process. At most `MOST` tasks are looked at.
    """

    queue: str
    owner: str
    gate: Gate
    by: str = ""
    reason: str = ""
    waiting: int = 0
    ready: int = 0
    working: int = 0
    oldest: datetime | None = None
    workers: tuple[str, ...] = ()


class Others(Protocol):
    """Answers what is asked of a queue about one step of a run: retry, cancel, requeue, discard, edit."""

    async def ask(self, contract: QueueContract, said: Mapping[str, Any], by: str, request_id: str) -> str:
        """What became of it, in a word.

        Raises:
            UpstreamError: It could not be done.
        """


class Queues:
    """The queues of all tenants, and the upstream of their contracts. It holds no state of its own."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.others: Others | None = None

    async def send(
        self,
        contract: Contract,
        request: OutgoingRequest,
        *,
        idempotency_key: str,  # noqa: ARG002 - to do any of it again changes nothing
        headers: Mapping[str, str],
    ) -> UpstreamResponse:
        """As the port of tools says: do what a permitted call asks of the queue."""
        assert isinstance(contract, QueueContract), "the router sends queues here and nothing else"
        said: dict[str, Any] = msgspec.json.decode(request.body or b"{}")
        by = await self._caller(contract.tenant, headers.get("aegis-request-id", ""))
        try:
            state = await self._done(contract, said, by, headers.get("aegis-request-id", ""))
        except StoreBusyError as error:
            raise UpstreamError("connect_failed", error.code, sent=False) from None
        except StoreError as error:
            raise UpstreamError("reset", error.code, sent=True) from None
        return UpstreamResponse(status=200, headers={}, body=msgspec.json.encode({"state": state}))

    async def set(self, tenant: str, queue: str, gate: Gate, *, by: str, reason: str = "", statement: str = "") -> Standing:
        """Open, pause or drain a queue; durable when this returns, and in effect for every lease after it.

        Raises:
            StoreBusyError: Others are changing it at this moment.
        """
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            before, version = standing(await self._store.rows(tenant, [(QUEUE, queue)]), queue)
            found = Standing(gate=gate, by=by, reason=text(reason), at=now)
            data = {
                "queue": queue, "state": str(gate), "was": str(before.gate), "by": by, "reason": text(reason),
                "statement": statement,
            }  # fmt: skip
            event = Event(id=f"queue:{ids.uuid7(now)}", type="queue_changed", tenant=tenant, time=now, data=data)
            unit = Unit(
                tenant=tenant,
                events=(event,),
                requires=(Require(kind=QUEUE, id=queue, version=version),),
                writes=(Put(kind=QUEUE, id=queue, body=msgspec.json.encode(found), state=str(gate)),),
            )
            if isinstance(await self._store.commit(unit), Committed):
                return found
        raise StoreBusyError("others are changing the same queue at this moment: try again")

    async def listed(self, tenant: Tenant) -> tuple[Depth, ...]:
        """Every queue of a tenant, by name."""
        found = queues(tenant.contracts)
        return tuple([await self.depth(tenant, name) for name in sorted(found)])

    async def depth(self, tenant: Tenant, name: str) -> Depth:
        """How one queue stands.

        Raises:
            ConfigError: The tenant has none of this name.
        """
        contract = queues(tenant.contracts).get(name)
        if contract is None:
            raise ConfigError(f"no queue `{name}` in tenant `{tenant.name}`: `aegis queue list` shows them")
        found, _ = standing(await self._store.rows(tenant.name, [(QUEUE, name)]), name)
        tasks = await self.tasks(tenant.name, name)
        states = [task.state for task in tasks]
        holders = await self._out(tenant.name, name)
        waiting = [task for task in tasks if task.state in (TaskState.WAITING, TaskState.READY)]
        return Depth(
            queue=name, owner=contract.owner, gate=found.gate, by=found.by, reason=found.reason,
            waiting=states.count(TaskState.WAITING) + holders.count(HALTED),
            ready=states.count(TaskState.READY) + holders.count(""),
            working=states.count(TaskState.LEASED) + sum(1 for each in holders if each not in ("", HALTED)),
            oldest=min((task.offered_at for task in waiting), default=None),
            workers=tuple(sorted({task.worker or task.agent_id for task in tasks if task.state is TaskState.LEASED})),
        )  # fmt: skip

    async def tasks(self, tenant: str, queue: str) -> list[Queued]:
        """The tasks that lie in a queue or are at work, oldest first."""
        found: list[Queued] = []
        for state in (TaskState.WAITING, TaskState.READY, TaskState.LEASED):
            after = ""
            while len(found) < MOST and (
                rows := await self._store.find(tenant, TASK, state=str(state), lookup=queue, after=after, limit=PAGE)
            ):
                after = rows[-1].id
                found += [read(row) for row in rows]
                if len(rows) < PAGE:
                    break
        return sorted(found, key=lambda task: task.offered_at)

    async def _out(self, tenant: str, queue: str) -> list[str]:
        """Who has the commands of this queue that are out: a process, nobody yet, or a halt."""
        found: list[str] = []
        after, looked = "", 0
        while looked < MOST and (rows := await self._store.find(tenant, FLOW_TASK, after=after, limit=PAGE)):
            after, looked = rows[-1].id, looked + len(rows)
            found += [out.holder for out in map(read_task, rows) if out.queue == queue]
            if len(rows) < PAGE:
                break
        return found

    async def _done(self, contract: QueueContract, said: Mapping[str, Any], by: str, request_id: str) -> str:
        gate = GATES.get(str(said["action"]))
        if gate is not None:
            return str((await self.set(contract.tenant, contract.queue, gate, by=by)).gate)
        if self.others is None:
            raise UpstreamError("connect_failed", "runs of workflows are not served here", sent=False)
        return await self.others.ask(contract, said, by, request_id)

    async def _caller(self, tenant: str, request_id: str) -> str:
        row = (await self._store.rows(tenant, [(CALL, request_id)])).get((CALL, request_id))
        return msgspec.json.decode(row.body, type=Call).agent_id if row else ""
