"""What the sets of a tenant need to know of the past: the readings for one call, and what is kept of the call itself. Pure.

The words are those of `aegis.model.history`. A term of a set becomes a reading for one call when the pinned fields of that call are
filled in; if one is missing, the reading is unknown and the rules decide on the safe side. Texts are kept as a keyed hash, with a
key of the tenant, so that history can tell that two are the same and nothing else about them.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.crypto.digest import keyed
from aegis.model.history import Entry, Expect, Measure, Phase, Query, Reading, ReadingKind, Test, Value, compare, meets
from aegis.model.node import MAX_INTEGER
from aegis.model.proposal import Proposal
from aegis.policy.conditions import leaves
from aegis.policy.hosts import Ambiguous
from aegis.policy.ir import EventMatch, Leaf, ListRef, Literal, Policy, Term, ToolLine
from aegis.policy.parsed import READERS
from aegis.policy.past import ROOT
from aegis.policy.tenantdata import lookup

_TASK = "run.task"
_DOMAIN = b"aegis-history-v1\0"
_MEASURES = {ReadingKind.COUNT: Measure.COUNT, ReadingKind.SUM: Measure.SUM, ReadingKind.DISTINCT: Measure.DISTINCT}


class _Compared(Struct, frozen=True, kw_only=True):
    """A comparison of a reading in some rule; no `bound` when the tenant's data does not have it."""

    term: Term
    op: str
    bound: int | None


class Memory:
    """The history that the sets of one tenant need: what decides, and what runs in shadow beside it."""

    def __init__(self, sets: Iterable[tuple[Policy, Mapping[str, Any]]], key: bytes) -> None:
        self._key = key
        self._compared: dict[str, list[_Compared]] = {}
        self._lines: dict[str, list[ToolLine]] = {}
        self._denied: set[str] = set()
        self._rego: set[str] = set()
        self._labelled = False
        named: set[str] = set()
        for policy, data in sets:
            self._labelled |= _reads_labels(policy)
            self._rego |= {tool for module in policy.rego for tool in module.tools}
            for name, line in policy.tools.items():
                self._lines.setdefault(name, []).append(line)
                self._compared.setdefault(name, []).extend(_compared(policy, data, name))
            if any(term.kind is ReadingKind.IMMEDIATELY for term in policy.terms.values()):
                named |= policy.tools.keys()  # the preceding call can be one of any tool
            for match in (each for term in policy.terms.values() for each in (term.event, term.other) if each):
                named.add(match.tool)
                self._denied |= {match.tool} if Phase.DENIED in match.phases else set()
        self._kept = named | {name for name, lines in self._lines.items() if any(line.remembered for line in lines)}
        self._labelled |= any(emitted(line) for lines in self._lines.values() for line in lines)

    def keeps(self, tool: str, *, denied: bool = False) -> bool:
        """Whether calls of this tool are remembered; refused ones only where a rule asks for them."""
        return tool in (self._denied if denied else self._kept)

    @property
    def tracks_labels(self) -> bool:
        """Whether runs carry labels: some tool's results do, or a rule asks for them, whichever set may have given them."""
        return self._labelled

    def emits(self, tool: str) -> tuple[str, ...]:
        """The labels that results of this tool carry, sorted: what it emits, `untrusted`, and its region."""
        return tuple(sorted({label for line in self._lines.get(tool, ()) for label in emitted(line)}))

    def readings(self, proposal: Proposal, now: datetime, entry_id: str = "") -> dict[str, Reading | None]:
        """The reading of every term that rules about this tool need, by id; `None` is unknown.

        The entry `entry_id` is left out: an earlier attempt of this very call.
        """
        compared = self._compared.get(proposal.tool)
        if not compared:
            return {}
        fields = self.fields(proposal)
        terms = {each.term.id: each.term for each in compared}
        return {term.id: self._reading(term, proposal, fields, now, entry_id) for term in terms.values()}

    def expects(
        self, tool: str, readings: Mapping[str, Reading | None], values: Mapping[str, int | bool | None]
    ) -> tuple[Expect, ...]:
        """The demands that hold a decision on `values`: every comparison comes out in the commit as it did now.

        Where hand-written Rego decides, the readings themselves must be what they were.
        """
        found: dict[Expect, None] = {}
        for each in self._compared.get(tool, ()):
            reading, value = readings.get(each.term.id), values.get(each.term.id)
            if reading is not None and value is not None and each.bound is not None:
                truth = compare(value, each.op, each.bound)
                found[Expect(reading=reading, op=each.op, bound=each.bound, truth=truth is True)] = None
        for name, value in values.items() if tool in self._rego else ():
            reading = readings.get(name)
            if reading is not None and value is not None:  # what hand-written Rego compares it with cannot be seen
                found[Expect(reading=reading, op="eq", bound=int(value), truth=True)] = None
        return tuple(found)

    def entry(self, proposal: Proposal, entry_id: str, now: datetime, phase: Phase) -> Entry:
        """What is kept of a call."""
        who = proposal.principal
        return Entry(
            id=entry_id,
            tool=proposal.tool,
            at=now,
            phase=phase,
            agent=who.agent_id,
            run=who.txn,
            subject=who.subject,
            fields=self.fields(proposal),
        )

    def fields(self, proposal: Proposal) -> dict[str, Value]:
        """The remembered fields of a call; a missing one, or one of another type, is left out."""
        found: dict[str, Value] = {_TASK: self._hashed(proposal.principal.task)} if proposal.principal.task else {}
        for line in self._lines.get(proposal.tool, ()):
            for path in line.history:
                value = _at(path, line, proposal.arguments)
                if type(value) is int and abs(value) <= MAX_INTEGER:
                    found[path] = value
                elif type(value) is str:
                    found[path] = self._hashed(value)
        return found

    def _hashed(self, value: str) -> str:
        return keyed(self._key, _DOMAIN + value.encode("utf-8", "surrogatepass"))

    def _reading(self, term: Term, proposal: Proposal, fields: Mapping[str, Value], now: datetime, entry_id: str) -> Reading | None:
        pins = self._pins(term, proposal, fields)
        if pins is None:
            return None
        measure = _MEASURES.get(term.kind, Measure.LAST)
        event = replace(self._query(term.event, term, pins, now, measure), excluding=entry_id)
        other = None
        if term.kind is ReadingKind.IMMEDIATELY:
            anything = EventMatch(tool="", phases=tuple(Phase))
            other = replace(self._query(anything, term, pins, now, Measure.LAST), excluding=entry_id)
        elif term.other is not None:
            other = replace(self._query(term.other, term, pins, now, Measure.LAST), excluding=entry_id)
        if measure is Measure.LAST or not self._adds(term, proposal, event, fields):
            return Reading(kind=term.kind, event=event, other=other)
        own = 1 if measure is Measure.COUNT else fields.get(term.of)
        return None if own is None else Reading(kind=term.kind, event=event, other=other, own=own)

    @staticmethod
    def _adds(term: Term, proposal: Proposal, event: Query, fields: Mapping[str, Value]) -> bool:
        """Whether this call would itself be counted."""
        return (
            term.event.tool == proposal.tool
            and Phase.OPEN in term.event.phases
            and all(meets(fields.get(test.field), test) for test in event.tests)
        )

    @staticmethod
    def _pins(term: Term, proposal: Proposal, fields: Mapping[str, Value]) -> dict[str, Value] | None:
        """What the past event must share with this call; `None` when this call does not say it."""
        who = proposal.principal
        caller = {"agent.id": who.agent_id, "run.id": who.txn, "subject.id": who.subject}
        found = {name: caller[name] if name in caller else fields.get(name) for name in term.same}
        if any(value is None or value == "" for value in found.values()):
            return None
        return {name: value for name, value in found.items() if value is not None}

    def _query(self, match: EventMatch, term: Term, pins: Mapping[str, Value], now: datetime, measure: Measure) -> Query:
        shared = tuple(
            Test(field=name, op="eq", values=(value,)) for name, value in pins.items() if "." in name and name not in _CALLER
        )
        return Query(
            tool=match.tool,
            phases=match.phases,
            since=now - term.within,
            measure=measure,
            of=term.of if measure in (Measure.SUM, Measure.DISTINCT) else "",
            agent=str(pins.get("agent.id", "")),
            run=str(pins.get("run.id", "")),
            subject=str(pins.get("subject.id", "")),
            tests=tuple(sorted((*shared, *(self._kept_test(test) for test in match.tests)), key=repr)),
        )

    def _kept_test(self, test: Test) -> Test:
        """The test as it meets what is kept: texts as their hash."""
        return Test(field=test.field, op=test.op, values=tuple(self._hashed(v) if isinstance(v, str) else v for v in test.values))


_CALLER = frozenset({"agent.id", "run.id", "subject.id"})


def _compared(policy: Policy, data: Mapping[str, Any], tool: str) -> list[_Compared]:
    found = []
    for rule in policy.rules:
        if rule.covers(tool):
            for leaf in leaves(rule.when):
                if isinstance(leaf, Leaf) and leaf.path.parts[0] == ROOT:
                    bound = _bound(leaf, policy, data)
                    found.append(_Compared(term=policy.terms[leaf.path.parts[1]], op=str(leaf.op), bound=bound))
    return found


def _reads_labels(policy: Policy) -> bool:
    """Whether the rules may ask what a run carries; what hand-written Rego asks cannot be seen."""
    return bool(policy.rego) or any(leaf.path.text == "labels.run" for rule in policy.rules for leaf in leaves(rule.when))


def _bound(leaf: Leaf, policy: Policy, data: Mapping[str, Any]) -> int | None:
    (operand,) = leaf.operands
    if isinstance(operand, Literal):
        return int(operand.value) if isinstance(operand.value, int) else None
    assert not isinstance(operand, ListRef), "a reading is compared with one number"
    found = lookup(data, operand.parts, policy.tenant_shape[".".join(operand.parts)])
    return found if type(found) is int else None


def _at(path: str, line: ToolLine, arguments: Mapping[str, Any]) -> Any:
    root, name, *part = path.split(".")
    value = arguments.get(name)
    if root == "args" or value is None:
        return value
    try:
        return READERS[line.args[name].kind](value)[part[0]]
    except (Ambiguous, TypeError, AttributeError):
        return None


def emitted(line: ToolLine) -> tuple[str, ...]:
    """The labels that results of a tool carry: what it emits, `untrusted`, and its region."""
    labels = line.labels
    untrusted = ("untrusted",) if labels.source == "untrusted" else ()
    return (*labels.emits, *untrusted, *((f"region:{labels.region}",) if labels.region else ()))
