"""The kill switch: what is halted or in safe mode, followed by every process within a second.

A halt is a row of the system tenant, so that one reading tells a process everything, whatever the number of tenants. Lifting one
is as much an event as setting it. When the reading cannot be taken for longer than `STALE`, every decision is deny.
"""

from datetime import timedelta
from time import monotonic
from typing import Literal

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Put, Require, Unit
from aegis.model.event import SYSTEM_TENANT, Event
from aegis.model.proposal import Proposal
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.record import text

KIND = "halt"
EVERY_SECONDS = 0.25
STALE = timedelta(seconds=5)
ATTEMPTS = 8
Mode = Literal["halt", "safe"]


class Halt(Struct, frozen=True, kw_only=True):
    """What of a tenant is stopped: `tenant`, `tool:NAME` or `agent:NAME`; `safe` lets reads pass and holds the rest."""

    tenant: str
    what: str
    mode: Mode
    reason: str
    by: str

    @property
    def told(self) -> str:
        """The words that a refused caller and an operator read."""
        return f"{self.what} is {'halted' if self.mode == 'halt' else 'in safe mode'} by {self.by}: {self.reason}"


class Halts:
    """The halts of all tenants, as last read."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._active: dict[str, tuple[Halt, ...]] = {}
        self._read_at = float("-inf")

    async def refresh(self) -> None:
        """Read what is halted now."""
        rows = await self._store.find(SYSTEM_TENANT, KIND, state="active", limit=100_000)
        found: dict[str, tuple[Halt, ...]] = {}
        for row in rows:
            halt = msgspec.json.decode(row.body, type=Halt)
            found[halt.tenant] = (*found.get(halt.tenant, ()), halt)
        self._active = found
        self._read_at = monotonic()

    @property
    def stale(self) -> bool:
        """Whether the last reading is too old to decide by."""
        return monotonic() - self._read_at > STALE.total_seconds()

    def of(self, proposal: Proposal) -> tuple[str, str]:
        """Why this proposal is halted, and why it is in safe mode; empty when it is not."""
        active = self._active.get(proposal.principal.tenant)
        if not active:
            return "", ""
        who = proposal.principal
        names = {"tenant", f"tool:{proposal.tool}", who.agent_id, *(link.agent_id for link in who.chain)}
        hits = [halt for halt in active if halt.what in names]
        halted = next((halt.told for halt in hits if halt.mode == "halt"), "")
        return halted, next((halt.told for halt in hits if halt.mode == "safe"), "")

    def listed(self) -> tuple[Halt, ...]:
        """Everything that is halted, by tenant."""
        return tuple(halt for tenant in sorted(self._active) for halt in self._active[tenant])

    async def set(self, halt: Halt, *, statement: str = "") -> None:
        """Halt; durable when this returns, in effect in every process within a second."""
        if halt.what != "tenant" and not halt.what.startswith(("tool:", "agent:")):
            raise ConfigError(f"cannot halt `{halt.what}`: expected `tenant`, `tool:NAME` or `agent:NAME`")
        await self._write(halt, "active", statement)

    async def lift(self, halt: Halt, *, statement: str = "") -> bool:
        """Lift a halt; false when there is none to lift."""
        ref = (KIND, _row_id(halt))
        row = (await self._store.rows(SYSTEM_TENANT, [ref])).get(ref)
        if row is None or row.state != "active":
            return False
        await self._write(halt, "lifted", statement)
        return True

    async def _write(self, halt: Halt, state: str, statement: str) -> None:
        ref = (KIND, _row_id(halt))
        for _ in range(ATTEMPTS):
            row = (await self._store.rows(SYSTEM_TENANT, [ref])).get(ref)
            version = row.version if row else 0
            now = self._clock.now()
            data = {
                "on_tenant": halt.tenant,
                "what": text(halt.what),
                "mode": halt.mode,
                "state": state,
                "reason": text(halt.reason),
                "by": halt.by,
                "statement": statement,
            }
            event = Event(id=f"halt:{ids.uuid7(now)}", type="halt", tenant=SYSTEM_TENANT, time=now, data=data)
            unit = Unit(
                tenant=SYSTEM_TENANT,
                events=(event,),
                requires=(Require(kind=KIND, id=ref[1], version=version),),
                writes=(Put(kind=KIND, id=ref[1], body=msgspec.json.encode(halt), state=state, lookup=halt.tenant),),
            )
            if isinstance(await self._store.commit(unit), Committed):
                await self.refresh()
                return
        raise ConfigError("others are changing the same halt at this moment: look at `aegis halts` and try again")


def _row_id(halt: Halt) -> str:
    return f"{halt.tenant}\x1f{halt.what}"
