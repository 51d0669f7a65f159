"""Dead letters: messages that reached nobody, each with its reason, until a person has looked.

`undelivered` ones were permitted once: their time ran out, they were handed out too often, or producer and consumer do not speak
the same version. A person may put them back. `refused` ones were never permitted: their type or version is unknown, or their data
does not fit. They are kept so that the fault can be found, once for each source and id, at most `MAX_REFUSED` for one agent and
`MAX_SEALED` bytes each, so that nobody fills the store for nothing; nothing puts them back but a new send.
"""

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from msgspec import Struct

from aegis.crypto.digest import sha256
from aegis.errors import ConfigError, SealError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Conflict, Delete, Payload, Put, Receipt, Require, Row, Unit
from aegis.model.event import Event
from aegis.model.message import PREFIX, MessageContract
from aegis.model.principal import Principal
from aegis.model.proposal import canon_arguments
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.mailbox import CONTENT, MESSAGE, Waiting, gone, put
from aegis.runtime.record import actor, commitment, text
from aegis.runtime.tenant import Tenant
from aegis.runtime.vault import Vault

DEAD, SHELF = "dead-letter", "dead-letters"
MAX_REFUSED = 100
MAX_SEALED = 16 * 1024
ATTEMPTS = 16
State = Literal["undelivered", "refused"]


class Dead(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dead letter. `event` is beside which its content is sealed; empty when it was too large to keep."""

    id: str
    state: State
    type: str
    version: str
    sender: str
    source_id: str
    to: str = ""
    reason: str
    detail: str = ""
    at: datetime
    event: str = ""
    request_id: str = ""
    deliveries: int = 0
    size_bytes: int = 0
    wait_seconds: int = 0


class Refusal(Struct, frozen=True, kw_only=True):
    """A message that was not permitted because it is not of a known kind or shape.

    `sealed_for` is the name of the keys of its data subject.
    """

    type: str
    version: str
    source_id: str
    reason: str
    detail: str
    envelope: dict[str, Any]
    request_id: str
    sealed_for: str = ""


class Letters:
    """The dead letters of all tenants. It holds no state of its own."""

    def __init__(self, store: Store, vault: Vault, clock: Clock) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock

    async def bury(self, tenant: str, waiting: Waiting, version: int, reason: str, detail: str = "") -> bool:
        """Take a message out of its mailbox; false when it stands otherwise than at `version` by now."""
        now = self._clock.now()
        dead = Dead(
            id=waiting.id, state="undelivered", type=waiting.type, version=waiting.version, sender=waiting.sender,
            source_id=waiting.source_id, to=waiting.to, reason=reason, detail=text(detail), at=now, event=waiting.event,
            request_id=waiting.request_id, deliveries=waiting.deliveries,
            wait_seconds=int((waiting.dies_at - waiting.sent_at).total_seconds()),
        )  # fmt: skip
        unit = Unit(
            tenant=tenant,
            events=(_event("dead_letter", f"dead_letter:{ids.uuid7(now)}", tenant, dead, now),),
            requires=(Require(kind=MESSAGE, id=waiting.id, version=version), Require(kind=DEAD, id=dead.id, version=0)),
            writes=(*gone(waiting), _put(dead)),
        )
        return isinstance(await self._store.commit(unit), Committed)

    async def refuse(self, who: Principal, refused: Refusal) -> bool:
        """Keep a message that was not permitted; false when it is kept already, or when the agent has too many."""
        for _ in range(ATTEMPTS):
            shelf = await self._row(who.tenant, SHELF, who.agent_id)
            kept = await self._store.find(who.tenant, DEAD, lookup=_shelf("refused", who.agent_id), limit=MAX_REFUSED)
            if len(kept) >= MAX_REFUSED:
                return False
            receipt = await self._kept(who, refused, shelf.version if shelf else 0)
            self._vault.refused(who.tenant, receipt)
            if not isinstance(receipt, Conflict):
                return isinstance(receipt, Committed)
        return False

    async def _kept(self, who: Principal, refused: Refusal, shelf: int) -> Receipt:
        """Put a refused message on its sender's shelf, if nobody has put anything there since it was counted."""
        tenant, now = who.tenant, self._clock.now()
        event_id = "dead_letter:" + sha256(f"{who.agent_id}\0{refused.source_id}".encode()).removeprefix("sha256:")
        content = canon_arguments(refused.envelope)
        kept = len(content) <= MAX_SEALED
        sealed = await self._vault.seal(tenant, event_id, CONTENT, content, refused.sealed_for) if kept else None
        dead = Dead(
            id=ids.new("msg", now), state="refused", type=text(refused.type, 128), version=text(refused.version, 32),
            sender=who.agent_id, source_id=text(refused.source_id, 128), reason=refused.reason, detail=text(refused.detail), at=now,
            event=event_id if sealed else "", request_id=refused.request_id, size_bytes=len(content),
        )  # fmt: skip
        event = _event("dead_letter", event_id, tenant, dead, now, sealed=sealed, actor=actor(who), token_jti=text(who.token_id))
        unit = Unit(
            tenant=tenant,
            events=(event,),
            payloads=(sealed,) if sealed else (),
            requires=(Require(kind=DEAD, id=dead.id, version=0), Require(kind=SHELF, id=who.agent_id, version=shelf)),
            writes=(_put(dead), Put(kind=SHELF, id=who.agent_id, body=b"{}")),
        )
        return await self._store.commit(unit)

    async def listed(self, tenant: str, *, after: str = "", limit: int = 100) -> tuple[Dead, ...]:
        """Dead letters, oldest first."""
        return tuple(_dead(row) for row in await self._store.find(tenant, DEAD, after=after, limit=limit))

    async def find(self, tenant: str, letter_id: str) -> Dead | None:
        """The dead letter of this id."""
        row = await self._row(tenant, DEAD, letter_id)
        return _dead(row) if row else None

    async def opened(self, tenant: str, dead: Dead, *, by: str, statement: str) -> Any:
        """What the letter holds, for a person; that they looked is recorded first. `None` when it was not kept or was erased."""
        now = self._clock.now()
        event = _event("dead_letter_read", f"dead_letter_read:{ids.uuid7(now)}", tenant, dead, now, by=by, statement=statement)
        await self._store.commit(Unit(tenant=tenant, events=(event,)))
        try:
            plain = await self._vault.read(tenant, dead.event, CONTENT) if dead.event else None
        except SealError:
            return None
        return msgspec.json.decode(plain) if plain is not None else None

    async def requeue(self, tenant: Tenant, letter_id: str, *, by: str, reason: str, statement: str) -> Waiting:
        """Put a message back, with its whole time before it and all its deliveries.

        Raises:
            ConfigError: There is no such letter, it was never permitted, or nobody knows its type and version any more.
        """
        row, dead = await self._existing(tenant.name, letter_id)
        if dead.state == "refused":
            raise ConfigError(f"`{letter_id}` was never permitted: its sender mends it and sends it again")
        known = [each for each in tenant.by_digest.values() if isinstance(each, MessageContract)]
        if not any((each.name, each.version) == (PREFIX + dead.type, dead.version) for each in known):
            raise ConfigError(f"`{letter_id}`: tenant `{tenant.name}` has no message `{dead.type}` in version {dead.version} now")
        now = self._clock.now()
        dies_at = now + timedelta(seconds=dead.wait_seconds)
        waiting = Waiting(
            id=dead.id, type=dead.type, version=dead.version, sender=dead.sender, source_id=dead.source_id, to=dead.to, sent_at=now,
            dies_at=dies_at, due=dies_at, event=dead.event, request_id=dead.request_id,
        )  # fmt: skip
        requires = (Require(kind=DEAD, id=dead.id, version=row.version), Require(kind=MESSAGE, id=dead.id, version=0))
        told = {"by": by, "why": text(reason), "statement": statement}
        await self._settle(
            tenant.name, dead, "dead_letter_requeued", told, requires, (Delete(kind=DEAD, id=dead.id), *put(waiting))
        )
        return waiting

    async def discard(self, tenant: str, letter_id: str, *, by: str, reason: str, statement: str) -> Dead:
        """Forget a dead letter; the events and what is sealed beside them stay."""
        row, dead = await self._existing(tenant, letter_id)
        told = {"by": by, "why": text(reason), "statement": statement}
        requires = (Require(kind=DEAD, id=dead.id, version=row.version),)
        await self._settle(tenant, dead, "dead_letter_discarded", told, requires, (Delete(kind=DEAD, id=dead.id),))
        return dead

    async def _settle(
        self,
        tenant: str,
        dead: Dead,
        kind: str,
        told: dict[str, Any],
        requires: tuple[Require, ...],
        writes: tuple[Put | Delete, ...],
    ) -> None:
        now = self._clock.now()
        event = _event(kind, f"{kind}:{ids.uuid7(now)}", tenant, dead, now, **told)
        if not isinstance(
            await self._store.commit(Unit(tenant=tenant, events=(event,), requires=requires, writes=writes)), Committed
        ):
            raise ConfigError(f"somebody else has settled `{dead.id}` at this moment: `aegis messages dead` lists what is left")

    async def _existing(self, tenant: str, letter_id: str) -> tuple[Row, Dead]:
        row = await self._row(tenant, DEAD, letter_id)
        if row is None:
            raise ConfigError(f"no dead letter `{letter_id}` in tenant `{tenant}`: `aegis messages dead` lists them")
        return row, _dead(row)

    async def _row(self, tenant: str, kind: str, row_id: str) -> Row | None:
        return (await self._store.rows(tenant, [(kind, row_id)])).get((kind, row_id))


def _dead(row: Row) -> Dead:
    return msgspec.json.decode(row.body, type=Dead)


def _put(dead: Dead) -> Put:
    return Put(kind=DEAD, id=dead.id, body=msgspec.json.encode(dead), state=dead.state, lookup=_shelf(dead.state, dead.sender))


def _shelf(state: State, sender: str) -> str:
    """Where the letters of one sender are counted."""
    return f"{state}\x1f{sender}"


def _event(
    kind: str, event_id: str, tenant: str, dead: Dead, now: datetime, *, sealed: Payload | None = None, **more: Any
) -> Event:
    data = {
        "agent_id": dead.sender,
        "message_id": dead.id,
        "message": {"type": dead.type, "version": dead.version, "id": text(dead.source_id)},
        "to": dead.to,
        "state": dead.state,
        "reason": dead.reason,
        "detail": dead.detail,
        "deliveries": dead.deliveries,
        "content": {"pii_commit": commitment(sealed)} if sealed else {},
        **more,
    }
    return Event(id=event_id, type=kind, tenant=tenant, time=now, request_id=dead.request_id, data=data)
