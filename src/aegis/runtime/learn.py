"""Read what was decided, as a stream: to decide it anew, and to see what rules in shadow would have done.

Events are read in pages and let go of, so that memory does not grow with the journal. The one thing kept is the history that the
candidate's own conditions look back on, no longer than their longest window.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.journal.store import Store
from aegis.model.event import Stored
from aegis.policy.ir import Policy
from aegis.policy.simulate import Candidate, Compared, Then
from aegis.runtime.lookback import Lookback
from aegis.runtime.recorded import Lost, Recorded, recall
from aegis.runtime.vault import Vault

PAGE = 500
_BY_ENGINE = "a policy engine decides this tool"


class Judged(Struct, frozen=True, kw_only=True):
    """One recorded call decided anew; `lost` says why it could not be."""

    request_id: str
    time: datetime
    agent: str
    tool: str
    seq: int
    compared: Compared | None = None
    lost: str = ""


async def start_of(store: Store, tenant: str, since: datetime) -> tuple[int, int]:
    """(position before the first event that is not older than `since`, position of the newest event)."""
    newest, position = -1, -1
    while True:
        page = await store.events(tenant, after=position, limit=PAGE, newest_first=True)
        if not page:
            return -1, newest
        newest = max(newest, page[0].seq)
        for event in page:
            if event.time < since:
                return event.seq, newest
        position = page[-1].seq
        if position <= 0:
            return -1, newest


async def events_from(store: Store, tenant: str, after: int) -> AsyncIterator[Stored]:
    """Every event behind a position, in order."""
    while page := await store.events(tenant, after=after, limit=PAGE):
        for event in page:
            yield event
        after = page[-1].seq


async def tools_seen(store: Store, tenant: str) -> set[str]:
    """Every tool that a decision of the journal is about."""
    found = set()
    async for event in events_from(store, tenant, -1):
        if event.type == "decision":
            found.add(msgspec.json.decode(event.body)["tool"]["name"])
    return found


class Simulation:
    """A candidate against the decisions of a tenant since some time."""

    def __init__(self, store: Store, vault: Vault, policy: Policy, tenant_data: Mapping[str, Any]) -> None:
        self._store = store
        self._vault = vault
        self._policy = policy
        self._candidate = Candidate(policy, tenant_data)
        self._past = Lookback(policy, tenant_data)

    async def span(self, since: datetime) -> tuple[int, int]:
        """(position to begin at, newest position), with what the candidate's windows look back on before `since`."""
        return await start_of(self._store, self._policy.tenant, since - self._past.reach)

    async def run(self, since: datetime, after: int) -> AsyncIterator[Judged]:
        """Every decision since, in order. What lies before is only remembered."""
        async for event in events_from(self._store, self._policy.tenant, after):
            if event.type == "outcome":
                self._past.settle(msgspec.json.decode(event.body))
            if event.type != "decision":
                continue
            if event.time < since and not self._past.reach:
                continue
            found = await recall(self._vault, event)
            if event.time >= since:
                yield self._judged(event, found)
            if isinstance(found, Recorded):
                self._past.remember(event.id, found)

    def _judged(self, event: Stored, found: Recorded | Lost) -> Judged:
        body = msgspec.json.decode(event.body)
        told = {"request_id": event.request_id, "time": event.time, "agent": body["agent_id"], "tool": body["tool"]["name"]}
        if isinstance(found, Lost):
            return Judged(**told, seq=event.seq, lost=found.why)
        if any(found.proposal.tool in module.tools for module in self._policy.rego):
            return Judged(**told, seq=event.seq, lost=_BY_ENGINE)
        made = found.decision
        then = Then(
            outcome=made.outcome,
            rules=made.rules,
            matched=made.matched,
            redactions=frozenset((str(each.stage), each.path, each.form) for each in made.redactions),
            approval_id=made.approval_id,
        )
        facts = replace(found.facts, history=self._past.readings(found), run_labels=self._past.labels(found))
        return Judged(**told, seq=event.seq, compared=self._candidate.compare(found.proposal, facts, then))
