"""The past that a candidate's conditions look back on, worked out from recorded decisions themselves."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from aegis.model import history
from aegis.model.decision import Outcome
from aegis.model.history import Entry, Measured, Phase, Query
from aegis.policy.ir import Policy
from aegis.policy.memory import Memory
from aegis.runtime.facts import entry_id, refusal_id
from aegis.runtime.recorded import Recorded

KEY = b"simulation"
ENDED = {"done": Phase.SUCCEEDED, "failed": Phase.FAILED, "unknown": Phase.UNKNOWN, "reopened": Phase.FAILED}


class Lookback:
    """The history that the candidate's conditions need, worked out from the stream itself.

    A reading that the event has is taken as it was; another is measured over the calls seen so far. An entry whose arguments are
    lost is not remembered, so that readings over it are too small rather than guessed.
    """

    def __init__(self, policy: Policy, tenant_data: Mapping[str, Any]) -> None:
        self._memory = Memory([(policy, tenant_data)], KEY)
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
        name = entry_id(proposal) if permitted else refusal_id(event_id)
        self._entries.put(self._memory.entry(proposal, name, now, Phase.OPEN if permitted else Phase.DENIED))
        self._by_event[event_id] = name
        self._entries.forget(now - self.reach)

    def settle(self, body: Mapping[str, Any]) -> None:
        """How a remembered call ended."""
        name = self._by_event.pop(body.get("decision_event", ""), "")
        phase = ENDED.get(body.get("outcome", ""))
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
