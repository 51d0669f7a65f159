"""What people say of rules in shadow: that a call which a rule would have stopped was right.

A mark is a row of the tenant and an event, so that it is known who said it, when, and of what.
"""

from collections.abc import AsyncIterator
from datetime import datetime

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Put, Require, Unit
from aegis.model.decision import Outcome
from aegis.model.event import Event
from aegis.policy.shadow import Seen
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.learn import events_from, start_of
from aegis.runtime.record import text

KIND = "false_positive"
PAGE = 1000


class Mark(Struct, frozen=True, kw_only=True):
    """A person found that `rule` would have stopped this call wrongly."""

    request_id: str
    rule: str
    by: str
    note: str = ""


async def decisions(store: Store, tenant: str, since: datetime) -> AsyncIterator[Seen]:
    """Every decision since, in order."""
    after, _ = await start_of(store, tenant, since)
    async for event in events_from(store, tenant, after):
        if event.type == "decision" and event.time >= since:
            yield _seen(event.request_id, event.time, event.body)


async def marks(store: Store, tenant: str) -> tuple[Mark, ...]:
    """Every mark of the tenant."""
    found: list[Mark] = []
    after = ""
    while rows := await store.find(tenant, KIND, after=after, limit=PAGE):
        found += [msgspec.json.decode(row.body, type=Mark) for row in rows]
        after = rows[-1].id
    return tuple(found)


async def mark(store: Store, clock: Clock, tenant: str, wanted: Mark, *, statement: str) -> bool:
    """Record a mark; false when it stands already.

    Raises:
        ConfigError: The request is unknown, or the rule did not fire in shadow on it.
    """
    events = [
        event for event in await store.events(tenant, request_id=wanted.request_id, limit=100_000) if event.type == "decision"
    ]
    if not any(wanted.rule in _seen(event.request_id, event.time, event.body).shadow for event in events):
        raise ConfigError(f"rule `{wanted.rule}` did not fire in shadow on request `{wanted.request_id}`")
    name = f"{wanted.request_id}\x1f{wanted.rule}"
    if await store.rows(tenant, [(KIND, name)]):
        return False
    now = clock.now()
    data = {"rule": wanted.rule, "by": wanted.by, "note": text(wanted.note), "statement": statement}
    event = Event(
        id=f"false-positive:{ids.uuid7(now)}",
        type="false_positive",
        tenant=tenant,
        time=now,
        request_id=wanted.request_id,
        data=data,
    )
    unit = Unit(
        tenant=tenant,
        events=(event,),
        requires=(Require(kind=KIND, id=name, version=0),),
        writes=(Put(kind=KIND, id=name, body=msgspec.json.encode(wanted), state="marked", lookup=wanted.rule),),
    )
    return isinstance(await store.commit(unit), Committed)


def _seen(request_id: str, time: datetime, content: bytes) -> Seen:
    body = msgspec.json.decode(content)
    shadow = body.get("shadow", {})
    return Seen(
        request_id=request_id,
        time=time,
        agent=body["agent_id"],
        tool=body["tool"]["name"],
        outcome=Outcome(body["decision"]),
        would_be=Outcome(shadow["would_be"]) if shadow else None,
        shadow=tuple(shadow.get("rules", ())),
    )
