"""Read what was decided, as a stream: to decide it anew, and to see what rules in shadow would have done.

Events are read in pages and let go of, so that memory does not grow with the journal. The one thing kept is the history that the
candidate's own conditions look back on, no longer than their longest window.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.journal.store import Store
from aegis.model import history
from aegis.model.decision import Outcome
from aegis.model.event import Stored
from aegis.model.history import Entry, Measured, Phase, Query
from aegis.policy.ir import Policy
from aegis.policy.memory import Memory
from aegis.policy.simulate import Candidate, Compared, Then
from aegis.runtime.facts import entry_id
from aegis.runtime.recorded import Lost, Recorded, recall
from aegis.runtime.vault import Vault

PAGE = 500
_KEY = b"simulation"
_ENDED = {"done": Phase.SUCCEEDED, "failed": Phase.FAILED, "unknown": Phase.UNKNOWN, "reopened": Phase.FAILED}
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
        self._past = _Past(policy, tenant_data)

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


class _Past:
    """The history that the candidate's conditions need, worked out from the stream itself.

    A reading that the event has is taken as it was; another is measured over the calls seen so far. An entry whose arguments are
    lost is not remembered, so that readings over it are too small rather than guessed.
    """

    def __init__(self, policy: Policy, tenant_data: Mapping[str, Any]) -> None:
        self._memory = Memory([(policy, tenant_data)], _KEY)
        self.reach = max((term.within for term in policy.terms.values()), default=timedelta())
        self._entries = _Entries()
        self._by_event: dict[str, str] = {}
        self._run_labels: dict[str, frozenset[str]] = {}

    def readings(self, found: Recorded) -> dict[str, int | bool | None]:
        """The value of every term that the candidate reads for this call."""
        asked = self._memory.readings(found.proposal, found.facts.now, entry_id(found.proposal))
        measured = {term: history.take(reading, self._entries.measure) if reading else None for term, reading in asked.items()}
        return measured | {term: value for term, value in found.facts.history.items() if term in measured}

    def labels(self, found: Recorded) -> tuple[str, ...] | None:
        """What the run carried: what was recorded, and what the candidate says that earlier results of it emitted."""
        carried = found.facts.run_labels
        more = self._run_labels.get(found.proposal.principal.txn, frozenset())
        return carried if carried is None else tuple(sorted({*carried, *more}))

    def remember(self, event_id: str, found: Recorded) -> None:
        """Take a decision into the history, if the candidate remembers such calls."""
        proposal, made, now = found.proposal, found.decision, found.facts.now
        permitted = made.permits
        run, emitted = proposal.principal.txn, self._memory.emits(proposal.tool)
        if run and permitted and emitted:
            self._run_labels[run] = self._run_labels.get(run, frozenset()) | frozenset(emitted)
        if made.outcome is Outcome.APPROVAL_NEEDED or not self._memory.keeps(proposal.tool, denied=not permitted):
            return
        name = entry_id(proposal) if permitted else f"denied:{event_id}"
        self._entries.put(self._memory.entry(proposal, name, now, Phase.OPEN if permitted else Phase.DENIED))
        self._by_event[event_id] = name
        self._entries.forget(now - self.reach)

    def settle(self, body: Mapping[str, Any]) -> None:
        """How a remembered call ended."""
        name = self._by_event.pop(body.get("decision_event", ""), "")
        phase = _ENDED.get(body.get("outcome", ""))
        if phase is not None:
            self._entries.settle(name, phase)


class _Entries:
    """Remembered calls in the order of time, found by whom or what they pin."""

    def __init__(self) -> None:
        self._all: dict[str, Entry] = {}
        self._by: dict[tuple[str, str], dict[str, Entry]] = {}

    def measure(self, query: Query) -> Measured:
        """The answer to a query, looked for in the smallest part that must hold it."""
        pins = (("run", query.run), ("subject", query.subject), ("agent", query.agent), ("tool", query.tool))
        parts = [self._by.get(pin, {}) for pin in pins if pin[1]]
        return history.measure(min(parts, key=len, default=self._all).values(), query)

    def put(self, entry: Entry) -> None:
        """Remember a call; a repetition takes the place of what it repeats."""
        self._drop(entry.id)
        self._all[entry.id] = entry
        for pin in _pins(entry):
            self._by.setdefault(pin, {})[entry.id] = entry

    def settle(self, name: str, phase: Phase) -> None:
        """Note how a call ended."""
        entry = self._all.get(name)
        if entry is None:
            return
        settled = replace(entry, phase=phase)
        self._all[name] = settled
        for pin in _pins(entry):
            self._by[pin][name] = settled

    def forget(self, before: datetime) -> None:
        """Let go of what is older; it stands first."""
        while self._all and (first := next(iter(self._all.values()))).at < before:
            self._drop(first.id)

    def _drop(self, name: str) -> None:
        entry = self._all.pop(name, None)
        for pin in _pins(entry) if entry else ():
            part = self._by[pin]
            part.pop(name, None)
            if not part:
                del self._by[pin]


def _pins(entry: Entry) -> tuple[tuple[str, str], ...]:
    return ("run", entry.run), ("subject", entry.subject), ("agent", entry.agent), ("tool", entry.tool)
