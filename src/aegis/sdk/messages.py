"""Messages for both clients: send one, receive the next, say what became of it.

    client.send("order.placed", "1.2.0", {"order_id": "A-1"})

    received = client.receive("order.placed", accept="1.2")
    if received is not None:
        client.ack(received)

A send has an id of its own, made when none is given: with the same id it happens once, however often it is tried. A message that
is received is this consumer's until its lease ends; then it goes to another one.
"""

import asyncio
import base64
import binascii
import time
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import orjson
from msgspec import Struct

from aegis.errors import ApprovalPending, ConfigError
from aegis.sdk import exchange
from aegis.sdk.exchange import Message

Parent = tuple[str, str]
_ZERO = timedelta(0)
_MINUTE = timedelta(seconds=60)
_PAUSES = (0.2, 1.0)


class Sent(Struct, frozen=True, kw_only=True):
    """A message that was taken. `messages` are the ids by addressee; `repeated` tells that it had been taken before."""

    id: str
    request_id: str
    messages: dict[str, str]
    approval_id: str = ""
    repeated: bool = False


class Received(Struct, frozen=True, kw_only=True):
    """A message in our hands. `event` is the whole CloudEvents envelope, `version` that of the producer."""

    message_id: str
    lease: str
    type: str
    version: str
    source: str
    data: Any
    deliveries: int
    expires_at: str
    event: dict[str, Any]

    @property
    def traceparent(self) -> str:
        """The span that sent it: give it to calls that are made because of this message; empty when nobody told."""
        return str(self.event.get("traceparent", ""))


def envelope(
    source: str, kind: str, version: str, data: Mapping[str, Any], *, event_id: str, to: str, subject: str, parent: Parent | None
) -> dict[str, Any]:
    """The CloudEvents 1.0 envelope of a message from the agent `source`."""
    found: dict[str, Any] = {
        "specversion": "1.0", "id": event_id, "source": source, "type": kind, "schemaversion": version,
        "datacontenttype": "application/json", "data": dict(data),
    }  # fmt: skip
    parents = {"parentagent": parent[0], "parentrequest": parent[1]} if parent else {}
    return found | {name: value for name, value in {"to": to, "subject": subject, **parents}.items() if value}


def agent_of(token: str) -> str:
    """Whose token it is, as it says itself; the gateway verifies it."""
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return str(claims["agent_id"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        raise ConfigError("token: expected an agent's access token, which names the agent that sends") from None


def _sending(content: Mapping[str, Any], key: str, override: str) -> Message:
    return exchange.ask("/v1/messages", content, key=key, override=override)


def _leasing(kind: str, accept: str, lease: timedelta, parent: Parent | None) -> Message:
    body = {"type": kind, "accept": accept, "lease_seconds": int(lease.total_seconds())}
    return exchange.ask("/v1/messages/lease", body, parent=parent)


def _settling(taken: Received, word: str, body: Mapping[str, Any], parent: Parent | None) -> Message:
    path = f"/v1/messages/{quote(taken.message_id, safe='')}/{word}"
    return exchange.ask(path, {"lease": taken.lease, **body}, parent=parent)


def _sent(event_id: str, value: Mapping[str, Any]) -> Sent:
    return Sent(
        id=event_id,
        request_id=value["request_id"],
        messages={each["to"]: each["id"] for each in value["messages"]},
        approval_id=value.get("approval_id", ""),
        repeated=bool(value.get("repeat_of")),
    )


def _received(value: Mapping[str, Any]) -> Received | None:
    found = value["message"]
    if found is None:
        return None
    event = found["event"]
    return Received(
        message_id=found["message_id"], lease=found["lease"], type=event["type"], version=event["schemaversion"],
        source=event["source"], data=event.get("data"), deliveries=found["deliveries"], expires_at=found["expires_at"], event=event,
    )  # fmt: skip


def _again(held: ApprovalPending, deadline: float) -> float:
    """How long to pause before the identical message is sent again; raises when there is no time left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise held
    return max(_PAUSES[0], min(held.retry_after, _PAUSES[1], left))


class Mail:
    """What `Client` says of messages."""

    _at: Any

    @abstractmethod
    def _send(self, message: Message, *, again: bool) -> dict[str, Any]:
        """Exchange one request."""

    def send(
        self,
        kind: str,
        version: str,
        data: Mapping[str, Any],
        *,
        event_id: str = "",
        to: str = "",
        subject: str = "",
        key: str = "",
        parent: Parent | None = None,
        override: str = "",
        wait: timedelta = _ZERO,
    ) -> Sent:
        """Send a message of this type and version. `to` where its contract leaves a choice, `key` where it asks for one."""
        made, deadline = event_id or uuid.uuid4().hex, time.monotonic() + wait.total_seconds()
        while True:
            content = envelope(
                self._at.agent_id, kind, version, data, event_id=made, to=to, subject=subject, parent=parent or self._at.parent
            )
            try:
                return _sent(made, self._send(_sending(content, key, override), again=True))
            except ApprovalPending as held:
                time.sleep(_again(held, deadline))

    def receive(
        self, kind: str, *, accept: str, lease: timedelta = _MINUTE, wait: timedelta = _ZERO, parent: Parent | None = None
    ) -> Received | None:
        """The next message of this type, for `lease`; `None` when none came within `wait`. `accept` are versions such as `1.2`."""
        deadline = time.monotonic() + wait.total_seconds()
        while True:
            found = _received(self._send(_leasing(kind, accept, lease, parent or self._at.parent), again=False))
            left = deadline - time.monotonic()
            if found is not None or left <= 0:
                return found
            time.sleep(min(_PAUSES[0], left))

    def ack(self, taken: Received, *, parent: Parent | None = None) -> None:
        """The message is done with."""
        self._send(_settling(taken, "ack", {}, parent or self._at.parent), again=True)

    def nack(self, taken: Received, reason: str, *, parent: Parent | None = None) -> None:
        """Give the message back; `reason` is recorded and holds none of its data."""
        self._send(_settling(taken, "nack", {"reason": reason}, parent or self._at.parent), again=False)


class AsyncMail:
    """What `AsyncClient` says of messages: the same, awaited."""

    _at: Any

    @abstractmethod
    async def _send(self, message: Message) -> dict[str, Any]:
        """Exchange one request."""

    async def send(
        self,
        kind: str,
        version: str,
        data: Mapping[str, Any],
        *,
        event_id: str = "",
        to: str = "",
        subject: str = "",
        key: str = "",
        parent: Parent | None = None,
        override: str = "",
        wait: timedelta = _ZERO,
    ) -> Sent:
        """As `Mail.send`."""
        made, deadline = event_id or uuid.uuid4().hex, time.monotonic() + wait.total_seconds()
        while True:
            content = envelope(
                self._at.agent_id, kind, version, data, event_id=made, to=to, subject=subject, parent=parent or self._at.parent
            )
            try:
                return _sent(made, await self._send(_sending(content, key, override)))
            except ApprovalPending as held:
                await asyncio.sleep(_again(held, deadline))

    async def receive(
        self, kind: str, *, accept: str, lease: timedelta = _MINUTE, wait: timedelta = _ZERO, parent: Parent | None = None
    ) -> Received | None:
        """As `Mail.receive`."""
        deadline = time.monotonic() + wait.total_seconds()
        while True:
            found = _received(await self._send(_leasing(kind, accept, lease, parent or self._at.parent)))
            left = deadline - time.monotonic()
            if found is not None or left <= 0:
                return found
            await asyncio.sleep(min(_PAUSES[0], left))

    async def ack(self, taken: Received, *, parent: Parent | None = None) -> None:
        """As `Mail.ack`."""
        await self._send(_settling(taken, "ack", {}, parent or self._at.parent))

    async def nack(self, taken: Received, reason: str, *, parent: Parent | None = None) -> None:
        """As `Mail.nack`."""
        await self._send(_settling(taken, "nack", {"reason": reason}, parent or self._at.parent))
