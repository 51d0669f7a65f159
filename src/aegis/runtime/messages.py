"""Receive messages: a consumer leases one, works, and says that it is done (`ack`) or that it could not (`nack`).

    ready   -> leased                    a consumer that the message is addressed to takes it, for some seconds
    leased  -> gone                      ack
    leased  -> ready, or dead            nack, or the lease ran out; dead after `MAX_DELIVERIES`
    ready   -> dead                      its time ran out, or the consumer does not read its version

Each step is one unit that requires the message to stand as it was read, so of many consumers exactly one has a message.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.errors import SealError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Delete, Require, Row, Unit
from aegis.model.decision import Decision
from aegis.model.event import Event, instant
from aegis.model.message import PREFIX, Accepts
from aegis.model.principal import Principal
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.facts import FactSource
from aegis.runtime.letters import Letters
from aegis.runtime.mailbox import CONTENT, DUE, MESSAGE, Waiting, due_id, put, queue
from aegis.runtime.receiving import barred
from aegis.runtime.record import actor, text
from aegis.runtime.tenant import Snapshot, Tenant
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault

EVERY_SECONDS = 1.0
MAX_DELIVERIES = 3
PAGE = 16


class Leased(Struct, frozen=True, kw_only=True):
    """A message in the hands of a consumer. `content` are the attributes and the data that were sent."""

    waiting: Waiting
    content: dict[str, Any]


class Mismatch(Struct, frozen=True, kw_only=True):
    """The next message is of a version that the consumer does not read; it is dead now."""

    waiting: Waiting
    detail: str


class Wanted(Struct, frozen=True, kw_only=True):
    """What a consumer asks for. `addresses` are those under which the type's contracts know it; `digest` is the newest of them."""

    type: str
    addresses: tuple[str, ...]
    accepts: Accepts
    seconds: int
    digest: str = ""
    version: str = ""


class Told(StrEnum):
    """What became of an ack or nack: `absent` covers everything that is not this agent's."""

    DONE = "done"
    ABSENT = "absent"
    LOST = "lost"


class Messages:
    """Leases of one process. What it holds of its own are the messages that it is leasing at this moment."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, facts: FactSource, letters: Letters, snapshot: Snapshot) -> None:
        self.letters = letters
        self._store = store
        self._vault = vault
        self._clock = clock
        self._facts = facts
        self._snapshot = snapshot
        self._taking: set[tuple[str, str]] = set()

    async def barred(self, tenant: Tenant, who: Principal, wanted: Wanted) -> Decision | None:
        """Why this agent may not receive now; `None` when it may."""
        tool = PREFIX + wanted.type
        return await barred(self._facts, tenant, who, tool=tool, version=wanted.version, digest=wanted.digest)

    async def lease(self, tenant: Tenant, who: Principal, wanted: Wanted, trace: Trace | None = None) -> Leased | Mismatch | None:
        """The next message for this agent, which nobody else gets while the lease lasts; `None` when nothing waits.

        `trace` is the span that asks, here and below.
        """
        for to in wanted.addresses:
            after = ""
            while rows := await self._store.find(tenant.name, MESSAGE, lookup=queue(to, wanted.type), after=after, limit=PAGE):
                after = rows[-1].id
                for row in rows:
                    taken = await self._taken(tenant.name, row, who, wanted, trace)
                    if taken is not None:
                        return taken
                if len(rows) < PAGE:
                    break
        return None

    async def _taken(self, tenant: str, row: Row, who: Principal, wanted: Wanted, trace: Trace | None) -> Leased | Mismatch | None:
        """This message, unless another consumer has it by now."""
        if (tenant, row.id) in self._taking:
            return None
        self._taking.add((tenant, row.id))
        try:
            return await self._take(tenant, row, who, wanted, trace)
        finally:
            self._taking.discard((tenant, row.id))

    async def _take(self, tenant: str, row: Row, who: Principal, wanted: Wanted, trace: Trace | None) -> Leased | Mismatch | None:
        waiting, now = _waiting(row), self._clock.now()
        if waiting.dies_at <= now:
            await self.letters.bury(tenant, waiting, row.version, "timeout", _TIMEOUT)
            return None
        if not wanted.accepts.takes(_numbers(waiting.version)):
            detail = _mismatch(waiting, who, wanted)
            buried = await self.letters.bury(tenant, waiting, row.version, "version_mismatch", detail)
            return Mismatch(waiting=waiting, detail=detail) if buried else None
        content = await self._content(tenant, waiting)
        if content is None:
            await self.letters.bury(tenant, waiting, row.version, "unreadable", "its content was erased or cannot be opened")
            return None
        leased = replace(
            waiting, lease=ids.new("lse", now), holder=who.agent_id, due=now + timedelta(seconds=wanted.seconds),
            deliveries=waiting.deliveries + 1,
        )  # fmt: skip
        told = {"accepts": wanted.accepts.text, "until": instant(leased.due), "actor": actor(who), "token_jti": text(who.token_id)}
        event = _event("message_leased", tenant, leased, now, who.agent_id, **told, **_told(trace))
        moved = await self._move(tenant, waiting, row.version, leased, event)
        return Leased(waiting=leased, content=content) if moved else None

    async def ack(self, tenant: str, who: Principal, message_id: str, lease: str, trace: Trace | None = None) -> Told:
        """The message is done with. To say it twice is as good as once."""
        row = await self._row(tenant, message_id)
        if row is None:
            return await self._acked_before(tenant, who, message_id, lease)
        waiting = _waiting(row)
        if waiting.holder != who.agent_id or waiting.lease != lease:
            return Told.LOST if waiting.holder == who.agent_id else Told.ABSENT
        event = _event("message_acked", tenant, waiting, self._clock.now(), who.agent_id, actor=actor(who), **_told(trace))
        return Told.DONE if await self._move(tenant, waiting, row.version, None, event) else Told.LOST

    async def nack(self, tenant: str, who: Principal, message_id: str, lease: str, reason: str, trace: Trace | None = None) -> Told:
        """The consumer could not: the message goes back, or to the dead letters when that was its last delivery."""
        row = await self._row(tenant, message_id)
        waiting = _waiting(row) if row else None
        if row is None or waiting is None or waiting.holder != who.agent_id:
            return Told.ABSENT
        if waiting.lease != lease:
            return Told.LOST
        return Told.DONE if await self._back(tenant, waiting, row.version, "message_nacked", reason, trace) else Told.LOST

    async def sweep(self) -> int:
        """Settle what is due in every tenant: leases that ran out, and messages whose time did. Safe in several processes."""
        settled = 0
        for tenant in self._snapshot:
            after = ""
            while rows := await self._store.find(tenant.name, DUE, after=after, limit=PAGE):
                now = instant(self._clock.now())
                for row in rows:
                    if row.id.partition("\x1f")[0] > now:
                        break
                    after = row.id
                    settled += await self._due(tenant.name, row.id)
                if after != rows[-1].id or len(rows) < PAGE:
                    break
        return settled

    async def listed(self, tenant: str, *, after: str = "", limit: int = 100) -> tuple[Waiting, ...]:
        """What waits in mailboxes, oldest first."""
        return tuple(_waiting(row) for row in await self._store.find(tenant, MESSAGE, after=after, limit=limit))

    async def find(self, tenant: str, message_id: str) -> Waiting | None:
        """The waiting message of this id."""
        row = await self._row(tenant, message_id)
        return _waiting(row) if row else None

    async def _due(self, tenant: str, due: str) -> bool:
        row = await self._row(tenant, due.partition("\x1f")[2])
        waiting = _waiting(row) if row else None
        if row is None or waiting is None or due_id(waiting) != due:
            return False
        if not waiting.lease:
            return await self.letters.bury(tenant, waiting, row.version, "timeout", _TIMEOUT)
        return await self._back(tenant, waiting, row.version, "message_lapsed", "the lease ran out")

    async def _back(self, tenant: str, waiting: Waiting, version: int, kind: str, reason: str, trace: Trace | None = None) -> bool:
        """A delivery that came to nothing."""
        now = self._clock.now()
        if waiting.deliveries >= MAX_DELIVERIES:
            detail = f"handed out {waiting.deliveries} times; the last time: {text(reason, 160)}"
            return await self.letters.bury(tenant, waiting, version, "too_many_deliveries", detail)
        if waiting.dies_at <= now:
            return await self.letters.bury(tenant, waiting, version, "timeout", _TIMEOUT)
        ready = replace(waiting, lease="", holder="", due=waiting.dies_at)
        event = _event(kind, tenant, waiting, now, waiting.holder, reason=text(reason), **_told(trace))
        return await self._move(tenant, waiting, version, ready, event)

    async def _move(self, tenant: str, old: Waiting, version: int, new: Waiting | None, event: Event) -> bool:
        """Write the message as `new` (`None`: it is gone), if it still stands as it was read."""
        ends = Delete(kind=DUE, id=due_id(old))
        writes = (ends, *put(new)) if new else (ends, Delete(kind=MESSAGE, id=old.id))
        requires = (Require(kind=MESSAGE, id=old.id, version=version),)
        return isinstance(
            await self._store.commit(Unit(tenant=tenant, events=(event,), requires=requires, writes=writes)), Committed
        )

    async def _acked_before(self, tenant: str, who: Principal, message_id: str, lease: str) -> Told:
        found = await self._store.event(tenant, f"message_acked:{lease}")
        body = msgspec.json.decode(found.body) if found else {}
        same = (body.get("message_id"), body.get("agent_id")) == (message_id, who.agent_id)
        return Told.DONE if same else Told.ABSENT

    async def _content(self, tenant: str, waiting: Waiting) -> dict[str, Any] | None:
        try:
            plain = await self._vault.read(tenant, waiting.event, CONTENT)
        except SealError:
            return None
        return msgspec.json.decode(plain, type=dict[str, Any]) if plain is not None else None

    async def _row(self, tenant: str, message_id: str) -> Row | None:
        return (await self._store.rows(tenant, [(MESSAGE, message_id)])).get((MESSAGE, message_id))


_TIMEOUT = "its time ran out before anybody was done with it"


def _told(trace: Trace | None) -> dict[str, str]:
    return trace.told if trace else {}


def _waiting(row: Row) -> Waiting:
    return msgspec.json.decode(row.body, type=Waiting)


def _numbers(version: str) -> tuple[int, int, int]:
    major, minor, patch = map(int, version.split("."))
    return major, minor, patch


def _mismatch(waiting: Waiting, who: Principal, wanted: Wanted) -> str:
    return (
        f"message `{waiting.type}` is of version {waiting.version} (`schemaversion`, stated by {waiting.sender}), "
        f"and {who.agent_id} reads {wanted.accepts.text} (`accept`)"
    )


def _event(kind: str, tenant: str, waiting: Waiting, now: datetime, agent_id: str, **more: Any) -> Event:
    """One step of a leased message; a lease takes each step once."""
    data = {
        "agent_id": agent_id,
        "message_id": waiting.id,
        "message": {"type": waiting.type, "version": waiting.version, "id": text(waiting.source_id)},
        "sender": waiting.sender,
        "to": waiting.to,
        "lease": waiting.lease,
        "deliveries": waiting.deliveries,
        **more,
    }
    return Event(id=f"{kind}:{waiting.lease}", type=kind, tenant=tenant, time=now, request_id=waiting.request_id, data=data)
