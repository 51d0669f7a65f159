"""The kill switch: what is halted or in safe mode, followed by every process within a second.

A halt is a row of the system tenant, so that one reading tells a process everything, whatever the number of tenants. Lifting one
is as much an event as setting it. When the reading cannot be taken for longer than `STALE`, every decision is deny.

    row `halt`, by tenant and what         what is halted or in safe mode, or was
    row `halt-epoch`, `epoch`              its version counts the changes
    row `halt-seen`, by instance           how many of them a process has followed: whoever halts can wait for all of them

What can be halted: `tenant`, `tool:NAME`, `agent:NAME` (also where it is an ancestor), `run:ID` (every call of the run),
`workflow:NAME` and `queue:NAME` (its calls, and every call that stands on one of them), and `all`, which is every tenant.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Literal

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Delete, Put, Require, Row, Unit
from aegis.model.event import SYSTEM_TENANT, Event
from aegis.model.proposal import Proposal
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.record import text

KIND, EPOCH, SEEN = "halt", "halt-epoch", "halt-seen"
ALL = "all"
NAMED = ("tool:", "agent:", "run:", "workflow:", "queue:")
EXPECTED = "expected `tenant`, `all`, `tool:NAME`, `agent:NAME`, `run:ID`, `workflow:NAME` or `queue:NAME`"
LOOK_SECONDS = 0.02
EVERY_SECONDS = 0.25
STALE = timedelta(seconds=5)
ATTEMPTS = 8
Mode = Literal["halt", "safe"]


class Halt(Struct, frozen=True, kw_only=True):
    """What of a tenant is stopped; `safe` lets reads pass and holds the rest. `all` belongs to the system tenant.

    `by_tenant` is that of the person, where it is not the halt's. `evidence` is what a trigger saw (`runtime.triggers`).
    """

    tenant: str
    what: str
    mode: Mode
    reason: str
    by: str
    by_tenant: str = ""
    evidence: Mapping[str, Any] = {}

    @property
    def told(self) -> str:
        """The words that a refused caller and an operator read."""
        return f"{self.what} is {'halted' if self.mode == 'halt' else 'in safe mode'} by {self.by}: {self.reason}"


class Confirmed(Struct, frozen=True, kw_only=True):
    """The processes that decide by a change, each with the milliseconds until it said so; and those that did not say so in time."""

    processes: Mapping[str, int]
    missing: tuple[str, ...] = ()


class Halts:
    """The halts of all tenants, as last read."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._active: dict[str, tuple[Halt, ...]] = {}
        self._read_at = float("-inf")
        self._epoch = 0
        self._noted = -1

    async def refresh(self) -> None:
        """Read what is halted now."""
        ref = (EPOCH, "epoch")
        epoch = (await self._store.rows(SYSTEM_TENANT, [ref])).get(ref)  # first: what is read after it is at least as new
        rows = await self._store.find(SYSTEM_TENANT, KIND, state="active", limit=100_000)
        found: dict[str, tuple[Halt, ...]] = {}
        for row in rows:
            halt = msgspec.json.decode(row.body, type=Halt)
            found[halt.tenant] = (*found.get(halt.tenant, ()), halt)
        self._active = found
        self._read_at = monotonic()
        self._epoch = epoch.version if epoch else 0

    async def follow(self, instance: str) -> None:
        """Read what is halted now, and say so where it has changed: from here on this process decides by it."""
        await self.refresh()
        if self._epoch == self._noted:
            return
        epoch = self._epoch
        put = Put(kind=SEEN, id=instance, body=msgspec.json.encode({"epoch": epoch}), state=str(epoch))
        await self._store.commit(Unit(tenant=SYSTEM_TENANT, writes=(put, *await self._gone(instance))))
        self._noted = epoch

    async def _gone(self, instance: str) -> tuple[Delete, ...]:
        """What processes that are gone have left, once, when this one begins."""
        if self._noted >= 0:
            return ()
        rows = await self._store.find(SYSTEM_TENANT, SEEN, limit=10_000)
        others = [row.id for row in rows if row.id != instance]
        return tuple([Delete(kind=SEEN, id=name) for name in others if not await self._store.alive(name)])

    async def confirmed(self, seconds: float) -> "Confirmed":
        """Wait until every serving process decides by the newest change that was read here, for so long at most."""
        epoch, began = self._epoch, monotonic()
        took: dict[str, int] = {}
        while True:
            missing = []
            for row in await self._store.find(SYSTEM_TENANT, SEEN, limit=10_000):
                if int(row.state) >= epoch:
                    took.setdefault(row.id, int((monotonic() - began) * 1000))
                elif await self._store.alive(row.id):
                    missing.append(row.id)
            if not missing or monotonic() - began > seconds:
                return Confirmed(processes=took, missing=tuple(missing))
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def any(self) -> bool:
        """Whether anything at all is halted or in safe mode."""
        return bool(self._active)

    @property
    def stale(self) -> bool:
        """Whether the last reading is too old to decide by."""
        return monotonic() - self._read_at > STALE.total_seconds()

    def of(self, proposal: Proposal, above: Iterable[str] = ()) -> tuple[str, str]:
        """Why this proposal is halted, and why it is in safe mode; empty when it is not.

        `above` are the tools of the calls that the caller stands on.
        """
        if not self._active:
            return "", ""
        who = proposal.principal
        names = {f"tool:{proposal.tool}", who.agent_id, *(link.agent_id for link in who.chain)}
        names |= {tool.replace(".", ":", 1) for tool in (proposal.tool, *above) if tool.startswith(("workflow.", "queue."))}
        hits = self.stands(who.tenant, names | ({f"run:{who.txn}"} if who.txn else set()))
        halted = next((halt.told for halt in hits if halt.mode == "halt"), "")
        return halted, next((halt.told for halt in hits if halt.mode == "safe"), "")

    def stands(self, tenant: str, names: Iterable[str]) -> tuple[Halt, ...]:
        """The halts and safe modes of these names now, and those of the whole tenant and of every tenant."""
        everywhere = self._active.get(SYSTEM_TENANT, ())
        wanted = {"tenant", *names}
        return (*(halt for halt in self._active.get(tenant, ()) if halt.what in wanted), *everywhere)

    def listed(self) -> tuple[Halt, ...]:
        """Everything that is halted, by tenant."""
        return tuple(halt for tenant in sorted(self._active) for halt in self._active[tenant])

    async def set(self, halt: Halt, *, statement: str = "") -> None:
        """Halt; durable when this returns, in effect in every process within a second."""
        if halt.what not in ("tenant", ALL) and not (halt.what.startswith(NAMED) and halt.what.partition(":")[2]):
            raise ConfigError(f"cannot halt `{halt.what}`: {EXPECTED}")
        if (halt.what == ALL) is not (halt.tenant == SYSTEM_TENANT):
            raise ConfigError(
                f"cannot halt `{halt.what}` of `{halt.tenant}`: `{ALL}` is of `{SYSTEM_TENANT}`, the rest of a tenant"
            )
        await self._write(halt, "active", statement)

    async def spring(self, halt: Halt, *, since: datetime | None) -> bool:
        """Halt for something that happened from `since` on, as one of perhaps many processes that saw it; false when it is done.

        What is halted stays as it is; safe mode becomes a halt. What happened before the last halt was lifted is over.
        """
        ref = (KIND, _row_id(halt))
        for _ in range(ATTEMPTS):
            row = (await self._store.rows(SYSTEM_TENANT, [ref])).get(ref)
            if row is not None and _settled(row, halt, since):
                return False
            if await self._write(halt, "active", "", expecting=row.version if row else 0):
                return True
        return False

    async def lift(self, halt: Halt, *, statement: str = "") -> bool:
        """Lift a halt; false when there is none to lift."""
        ref = (KIND, _row_id(halt))
        row = (await self._store.rows(SYSTEM_TENANT, [ref])).get(ref)
        if row is None or row.state != "active":
            return False
        await self._write(halt, "lifted", statement)
        return True

    async def _write(self, halt: Halt, state: str, statement: str, *, expecting: int | None = None) -> bool:
        """Commit the change and its event; false when the row is no longer the one that was expected."""
        ref = (KIND, _row_id(halt))
        for _ in range(ATTEMPTS):
            counts = (EPOCH, "epoch")
            rows = await self._store.rows(SYSTEM_TENANT, [ref, counts])
            version = {name: row.version for name, row in rows.items()}
            if expecting is not None and version.get(ref, 0) != expecting:
                return False
            now = self._clock.now()
            data = {
                "on_tenant": halt.tenant,
                "what": text(halt.what),
                "mode": halt.mode,
                "state": state,
                "reason": text(halt.reason),
                "by": halt.by,
                "statement": statement,
                **({"by_tenant": halt.by_tenant} if halt.by_tenant else {}),
                **({"evidence": dict(halt.evidence)} if halt.evidence else {}),
            }
            event = Event(id=f"halt:{ids.uuid7(now)}", type="halt", tenant=SYSTEM_TENANT, time=now, data=data)
            unit = Unit(
                tenant=SYSTEM_TENANT,
                events=(event,),
                requires=tuple(Require(kind=kind, id=name, version=version.get((kind, name), 0)) for kind, name in (ref, counts)),
                writes=(
                    Put(kind=KIND, id=ref[1], body=msgspec.json.encode(halt), state=state, lookup=halt.tenant, due=now),
                    Put(kind=EPOCH, id=counts[1], body=b"{}"),
                ),
            )
            if isinstance(await self._store.commit(unit), Committed):
                await self.refresh()
                return True
        raise ConfigError("others are changing the same halt at this moment: look at `aegis halts` and try again")


def _settled(row: Row, halt: Halt, since: datetime | None) -> bool:
    """Whether what happened from `since` on has been answered: by a halt that stands, or by a person who lifted one."""
    if row.state == "active":
        return halt.mode in (msgspec.json.decode(row.body, type=Halt).mode, "safe")
    return since is not None and row.due is not None and since <= row.due


def _row_id(halt: Halt) -> str:
    return f"{halt.tenant}\x1f{halt.what}"
