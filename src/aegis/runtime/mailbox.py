"""The mailbox: what stands behind the tools `message.NAME`, in the store beside everything else.

A permitted send becomes one row for each addressee, the sealed content, and the event that tells of it, in one unit. The event's id
is made from the key of the call, so a send that comes again finds its first self: a message is put in once, however often it is
tried.

Every waiting message has one row in `message-due` whose id begins with the instant at which something is to happen to it: the end
of its lease while it is leased, else the end of its time. So whoever looks for what is due reads exactly that.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from aegis.errors import StoreBusyError, StoreError, UpstreamError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Delete, Existing, Put, Require, Unit
from aegis.model.call import Call
from aegis.model.contract import Contract
from aegis.model.event import Event, instant
from aegis.model.message import MessageContract
from aegis.model.operation import OutgoingRequest
from aegis.model.proposal import canon_arguments
from aegis.model.upstream import Upstream, UpstreamResponse
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.known import CALL
from aegis.runtime.record import commitment, text
from aegis.runtime.trace import parsed
from aegis.runtime.vault import WHOLE_TENANT, Vault

MESSAGE, DUE = "message", "message-due"
READY, LEASED = "ready", "leased"
CONTENT = "message"


class Waiting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message in a mailbox. `to` is an agent or a role; `event` is beside which its content is sealed.

    `dies_at` is the end of its time. While it is leased, `holder` has it under `lease` until `due`. `traceparent` is the span that
    put it in.
    """

    id: str
    type: str
    version: str
    sender: str
    source_id: str
    to: str
    sent_at: datetime
    dies_at: datetime
    due: datetime
    event: str
    request_id: str
    deliveries: int = 0
    lease: str = ""
    holder: str = ""
    traceparent: str = ""

    @property
    def queue(self) -> str:
        """Where consumers look for it; while it is leased, nobody finds it there."""
        return queue(self.to, self.type, LEASED if self.lease else READY)


def queue(to: str, kind: str, state: str = READY) -> str:
    """The messages of one type for one addressee, in one state."""
    return f"{state}\x1f{to}\x1f{kind}"


def put(waiting: Waiting) -> tuple[Put, Put]:
    """The rows of a message."""
    body = msgspec.json.encode(waiting)
    state = LEASED if waiting.lease else READY
    return (
        Put(kind=MESSAGE, id=waiting.id, body=body, state=state, lookup=waiting.queue, due=waiting.due),
        Put(kind=DUE, id=due_id(waiting), body=b"{}"),
    )


def due_id(waiting: Waiting) -> str:
    """The row that says when something is to happen to the message."""
    return f"{instant(waiting.due)}\x1f{waiting.id}"


def gone(waiting: Waiting) -> tuple[Delete, Delete]:
    """The rows of a message, removed."""
    return Delete(kind=MESSAGE, id=waiting.id), Delete(kind=DUE, id=due_id(waiting))


class Mailbox:
    """The upstream of every message contract. It holds no state of its own."""

    def __init__(self, store: Store, vault: Vault, clock: Clock) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock

    async def send(
        self, contract: Contract, request: OutgoingRequest, *, idempotency_key: str, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        """Put the message in, once for each key."""
        assert isinstance(contract, MessageContract), "the router sends messages here and nothing else"
        if not idempotency_key:
            raise UpstreamError("connect_failed", "a message without a key", sent=False)
        said: dict[str, Any] = msgspec.json.decode(request.body or b"{}")
        event_id = f"message:{idempotency_key}"
        try:
            put_in = await self._put(contract, said, event_id, headers.get("aegis-request-id", ""), headers.get("traceparent", ""))
        except StoreBusyError as error:
            raise UpstreamError("connect_failed", error.code, sent=False) from None
        except StoreError as error:
            raise UpstreamError("reset", error.code, sent=True) from None
        return UpstreamResponse(status=200, headers={}, body=msgspec.json.encode({"messages": put_in}))

    async def _put(
        self, contract: MessageContract, said: dict[str, Any], event_id: str, request_id: str, traceparent: str
    ) -> list[dict[str, str]]:
        """Where the message stands, now or since the first time."""
        now = self._clock.now()
        dies_at = now + timedelta(seconds=contract.wait_seconds)
        waiting = [
            Waiting(
                id=ids.new("msg", now), type=contract.type, version=contract.version, sender=said["source"], source_id=said["id"],
                to=to, sent_at=now, dies_at=dies_at, due=dies_at, event=event_id, request_id=request_id,
                traceparent=traceparent,
            )
            for to in contract.copies(said.get("to", ""))
        ]  # fmt: skip
        content = canon_arguments({**said, "time": said.get("time", instant(now))})
        sealed = await self._vault.seal(contract.tenant, event_id, CONTENT, content, await self._whose(contract.tenant, request_id))
        addressed = [{"id": each.id, "to": each.to} for each in waiting]
        data = {
            "agent_id": said["source"],
            "message": {"type": contract.type, "version": contract.version, "digest": contract.digest, "id": text(said["id"])},
            "messages": addressed,
            "dies_at": instant(dies_at),
            "content": {"pii_commit": commitment(sealed)},
        }
        if span := parsed(traceparent):
            data |= {"trace_id": span[0], "span_id": span[1]}
        unit = Unit(
            tenant=contract.tenant,
            events=(Event(id=event_id, type="message", tenant=contract.tenant, time=now, request_id=request_id, data=data),),
            payloads=(sealed,),
            requires=tuple(Require(kind=MESSAGE, id=each.id, version=0) for each in waiting),
            writes=tuple(row for each in waiting for row in put(each)),
        )
        receipt = await self._store.commit(unit)
        if isinstance(receipt, Existing):
            found: list[dict[str, str]] = msgspec.json.decode(receipt.events[0].body)["messages"]
            return found
        if self._vault.refused(contract.tenant, receipt):
            return await self._put(contract, said, event_id, request_id, traceparent)
        if not isinstance(receipt, Committed):
            raise StoreError("a new message met an old one")  # ids are drawn at random: this does not happen twice
        return addressed

    async def _whose(self, tenant: str, request_id: str) -> str:
        """The name of the keys of the data subject for whom the message is sent."""
        row = (await self._store.rows(tenant, [(CALL, request_id)])).get((CALL, request_id)) if request_id else None
        return msgspec.json.decode(row.body, type=Call).sealed_for if row else WHOLE_TENANT


class Router:
    """What is ours goes to its own place (messages to the mailbox, workflows to runs), everything else to the tools."""

    def __init__(self, mailbox: Mailbox, tools: Upstream) -> None:
        self._places: dict[type[Contract], Upstream] = {MessageContract: mailbox}
        self._tools = tools

    def know(self, kind: type[Contract], place: Upstream) -> None:
        """Calls of contracts of this kind go there."""
        self._places[kind] = place

    async def send(
        self, contract: Contract, request: OutgoingRequest, *, idempotency_key: str, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        """As the port says."""
        to = self._places.get(type(contract), self._tools)
        return await to.send(contract, request, idempotency_key=idempotency_key, headers=headers)
