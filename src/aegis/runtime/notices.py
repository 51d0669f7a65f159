"""Tells channels what waits and what ended: at least once, in order, and never in the way of a call.

    row `channel` of the tenant, by name     how far the journal was told, who tells it now, and when it is tried again

The journal says what happened; a channel is a cursor over it. A notice's id is made from its event, so that it stays the same
when the notice is sent again, and a receiver tells duplicates by it. It holds ids and digests; the values that an approver is
shown go along only where the channel says so. One process tells a channel; another takes over when that one is gone.

A receiver that fails is tried again after a pause that doubles, up to an hour. A notice that was tried `MAX_ATTEMPTS` times is
given up, with an event `notice_dropped`, so that one that nobody will ever take does not silence those behind it. `aegis approvals
list` shows what waits, whatever a receiver was told.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.journal.store import Store
from aegis.journal.unit import Committed, Put, Require, Unit
from aegis.model.approval import Approval
from aegis.model.channel import Channel, Sent
from aegis.model.event import Event, Stored, instant
from aegis.runtime.approvals import Desk
from aegis.runtime.clock import Clock
from aegis.runtime.record import text

log = logging.getLogger("aegis.notices")

KIND = "channel"
EVERY_SECONDS = 1.0
PAGE = 500
AT_ONCE = 100
"""So many notices are sent to one channel before the next one has its turn."""
MAX_ATTEMPTS = 16
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(hours=1)
LEASED = timedelta(seconds=60)
KEPT = 5_000
"""After so many events without a notice the cursor is written down all the same."""


class Sender(Protocol):
    """Sends one notice. Whatever goes wrong is an answer; nothing is raised."""

    async def send(self, channel: Channel, notice_id: str, body: bytes) -> Sent:
        """Sign it for this moment, and send it."""


class Place(Struct, frozen=True, kw_only=True):
    """How a channel stands. `next` is the place of the first event that it was not told of."""

    next: int
    failures: int = 0
    not_before: datetime | None = None
    holder: str = ""
    until: datetime | None = None


class Notice(Struct, frozen=True, kw_only=True):
    """What is told of one event."""

    id: str
    type: str
    seq: int
    time: datetime
    data: dict[str, Any]

    @property
    def body(self) -> bytes:
        """As it travels."""
        return msgspec.json.encode({"type": self.type, "timestamp": instant(self.time), "data": self.data})


class Notices:
    """The channels of all tenants, told by one of perhaps many processes."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        desk: Desk,
        sender: Sender,
        channels: Callable[[], Sequence[Channel]],
        *,
        instance: str,
        url: str = "",
    ) -> None:
        self._store = store
        self._clock = clock
        self._desk = desk
        self._sender = sender
        self._channels = channels
        self._instance = instance
        self._url = url.rstrip("/")
        self._read: dict[tuple[str, str], int] = {}

    async def turn(self) -> int:
        """Tell every channel what it was not told yet; how many notices were taken."""
        return sum([await self._tell(channel) for channel in self._channels()])

    async def _tell(self, channel: Channel) -> int:
        """Read on from where the channel stands, and send what it wants to know, for a while."""
        held = await self._place(channel)
        if held is None:
            return 0
        place, version = held
        start, taken = max(place.next, self._read.get((channel.tenant, channel.name), 0)), 0
        while taken < AT_ONCE:
            events = await self._store.events(channel.tenant, after=start - 1, limit=PAGE)
            for event in events:
                notice = await self._notice(channel, event)
                if notice is not None:
                    moved = await self._send(channel, notice, place, version)
                    if moved is None:
                        return taken
                    (place, version), taken = moved, taken + 1
                start = event.seq + 1
            self._read[channel.tenant, channel.name] = start
            if len(events) < PAGE:
                break
        if start - place.next >= KEPT:
            await self._write(channel, replace(place, next=start), version)
        return taken

    async def _place(self, channel: Channel) -> tuple[Place, int] | None:
        """Where the channel stands, when this process may tell it now."""
        ref, now = (KIND, channel.name), self._clock.now()
        row = (await self._store.rows(channel.tenant, [ref])).get(ref)
        if row is None:  # what happened before there was a channel is told to nobody
            head = (await self._store.heads()).get(channel.tenant)
            first = Place(next=head.frontier.size if head else 0)
            return (first, 1) if await self._write(channel, first, 0) else None
        place = msgspec.json.decode(row.body, type=Place)
        if place.not_before is not None and place.not_before > now:
            return None
        foreign = place.holder not in ("", self._instance) and place.until is not None and place.until > now
        if foreign and await self._store.alive(place.holder):
            return None
        if place.holder != self._instance:
            self._read.pop((channel.tenant, channel.name), None)
        return place, row.version

    async def _send(self, channel: Channel, notice: Notice, place: Place, version: int) -> tuple[Place, int] | None:
        """Send one notice; where the channel stands after it, or `None` when it has to wait."""
        now = self._clock.now()
        if place.holder != self._instance or place.until is None or place.until - now < LEASED / 2:
            place = replace(place, holder=self._instance, until=now + LEASED)
            if not await self._write(channel, place, version):
                return None
            version += 1
        sent = await self._sender.send(channel, notice.id, notice.body)
        if sent.taken:
            after = replace(place, next=notice.seq + 1, failures=0, not_before=None)
            return (after, version + 1) if await self._write(channel, after, version) else None
        failures = place.failures + 1
        if failures >= MAX_ATTEMPTS:
            after = replace(place, next=notice.seq + 1, failures=0, not_before=None)
            given_up = await self._write(channel, after, version, self._dropped(channel, notice, sent))
            return (after, version + 1) if given_up else None
        self._told_off(channel, notice, sent, failures)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
        await self._write(channel, replace(place, failures=failures, not_before=self._clock.now() + pause), version)
        return None

    def _told_off(self, channel: Channel, notice: Notice, sent: Sent, failures: int) -> None:
        if failures == 1:
            told = {"tenant": channel.tenant, "channel": channel.name, "status": sent.status, "detail": text(sent.detail)}
            log.warning("channel waits for its receiver", extra={**told, "notice": notice.id})

    def _dropped(self, channel: Channel, notice: Notice, sent: Sent) -> Event:
        data = {
            "channel": channel.name, "notice": notice.id, "what": notice.type, "upstream_status": sent.status,
            "reason": f"not taken in {MAX_ATTEMPTS} attempts",
        }  # fmt: skip
        event_id = f"notice_dropped:{channel.name}:{notice.id}"
        return Event(id=event_id, type="notice_dropped", tenant=channel.tenant, time=self._clock.now(), data=data)

    async def _write(self, channel: Channel, place: Place, version: int, *events: Event) -> bool:
        """Write the row of a channel that stands at `version`."""
        unit = Unit(
            tenant=channel.tenant,
            events=events,
            requires=(Require(kind=KIND, id=channel.name, version=version),),
            writes=(Put(kind=KIND, id=channel.name, body=msgspec.json.encode(place)),),
        )
        return isinstance(await self._store.commit(unit), Committed)

    async def _notice(self, channel: Channel, stored: Stored) -> Notice | None:
        """What the channel is told of an event, if anything."""
        kind = _INTERESTING.get(stored.type, "run.ended" if stored.type.startswith("workflow_") else "")
        if not kind or kind not in channel.events:
            return None
        body = msgspec.json.decode(stored.body)
        data = await self._approval(channel, body, kind) if kind.startswith("approval.") else _plain(body, kind)
        if data is None:
            return None
        return Notice(id=notice_id(stored), type=kind, seq=stored.seq, time=stored.time, data={"tenant": channel.tenant, **data})

    async def _approval(self, channel: Channel, body: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
        """What is told of an approval as it stood then: ids, digests, and where its card is."""
        approval_id = body.get("approval_id", "")
        if not approval_id or (kind == "approval.ended" and body.get("state") == "pending"):
            return None
        found = await self._desk.find(channel.tenant, approval_id)
        if found is None or (body["type"] == "decision" and not _first(body, found[0])):
            return None
        approval = found[0]
        told = {**_about(approval), "link": f"{self._url}/v1/approvals/{approval_id}"}
        if kind == "approval.ended":
            return {**told, "state": body.get("state", ""), "approver": body.get("approver", "")}
        card = await self._desk.card(channel.tenant, approval)
        asked = {
            "approvers": approval.approver_sets,
            "quorum": approval.quorum,
            "expires_at": instant(approval.expires_at),
            "escalated": body["type"] == "approval_escalated",
            "card": card.shown,
            **({"answer_to": f"{self._url}/v1/channels/{channel.tenant}/{channel.name}/answers"} if channel.answers else {}),
            **({"shown": card.arguments, "findings": approval.findings} if channel.shows else {}),
        }
        return {**told, **asked}


def notice_id(stored: Stored) -> str:
    """The id of the notice about an event, the same whenever it is sent; events of two tenants have different ones."""
    return "msg_" + hashlib.sha256(f"{stored.tenant}\0{stored.id}".encode()).hexdigest()[:32]


_INTERESTING: Mapping[str, str] = {
    "decision": "approval.asked",
    "approval_asked": "approval.asked",
    "approval_escalated": "approval.asked",
    "approval": "approval.ended",
    "approval_expired": "approval.ended",
    "approval_withdrawn": "approval.ended",
    "dead_letter": "dead_letter",
}


def _first(body: Mapping[str, Any], approval: Approval) -> bool:
    """Whether this decision is the one that held the request first."""
    return body.get("decision") == "approval_needed" and body.get("request_id") == approval.request_id


def _about(approval: Approval) -> dict[str, Any]:
    step = approval.step
    found: dict[str, Any] = {
        "approval_id": approval.approval_id,
        "request_id": approval.request_id,
        "request_hash": approval.request_hash,
        "tool": approval.tool,
        "agent_id": approval.agent_id,
    }
    if approval.run:
        found["run"] = approval.run
    if step:
        found |= {"workflow": step.workflow, "version": step.version, "definition": step.definition, "step": step.node}
        found |= {"plan": step.plan} if step.plan else {}
    return found


def _plain(body: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """What is told of a run that has ended or of a dead letter."""
    if kind == "dead_letter":
        message = body.get("message", {})
        return {"message_id": body.get("message_id", ""), "type": message.get("type", ""), "reason": body.get("reason", "")}
    if not any(str(command).startswith("finish ") for command in body.get("commands", ())):
        return None
    workflow = body.get("workflow", {})
    return {
        "run": body["request_id"], "status": body.get("status", ""), "workflow": workflow.get("name", ""),
        "version": workflow.get("version", ""), "definition": workflow.get("digest", ""),
    }  # fmt: skip
