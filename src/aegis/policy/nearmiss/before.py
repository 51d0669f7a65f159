"""What must have happened before for the readings of history to be as wanted: events, as a test tells them under `past`.

Events are proposed and then tried: the readings are taken over them, and only those that come out as wanted are given out.
"""

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any

from aegis.model.history import ReadingKind, Test
from aegis.model.proposal import Proposal
from aegis.policy.cases import PAST
from aegis.policy.ir import EventMatch, Kind, Policy, Term
from aegis.policy.past import PHASES, ROOT
from aegis.policy.selftest import call

MOST = 60
"""More events than this are not told."""
TRIES = 64
Events = list[dict[str, Any]]


def told(policy: Policy, given: Mapping[str, Any], tenant_data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The input with events in place of readings; nothing when no events were found that give these readings."""
    wanted = {path.partition(".")[2]: value for path, value in given.items() if path.startswith(f"{ROOT}.")}
    plain = {path: value for path, value in given.items() if not path.startswith(f"{ROOT}.")}
    proposal, _ = call(policy, {"tenant": policy.tenant, **plain}, tenant_data)
    ways = [list(_events(policy, policy.terms[term], value, proposal)) for term, value in wanted.items()]
    for chosen in islice(product(*ways), TRIES):
        input_ = plain | {PAST: [event for events in chosen for event in events]}
        _, facts = call(policy, {"tenant": policy.tenant, **input_}, tenant_data)
        if all(_same(facts.history.get(term), value) for term, value in wanted.items()):
            return input_
    return None


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _events(policy: Policy, term: Term, value: Any, proposal: Proposal) -> Iterator[Events]:
    """Ways in which a reading may come out as `value`: this call itself may count, or not."""
    if term.kind in (ReadingKind.FORMERLY, ReadingKind.NEVER_AFTER, ReadingKind.IMMEDIATELY):
        yield [_event(policy, term, proposal)] if value else []
        return
    if not isinstance(value, int):
        return
    if term.kind is ReadingKind.SUM:
        own = proposal.arguments.get(term.of.split(".")[1])
        amounts = [value, value - own] if isinstance(own, int) else [value]
        yield from ([_event(policy, term, proposal) | {term.of: amount}] if amount else [] for amount in amounts)
        return
    for count in (value, value - 1):
        if 0 <= count <= MOST:
            yield [_numbered(policy, term, proposal, number) for number in range(count)]


def _numbered(policy: Policy, term: Term, proposal: Proposal, number: int) -> dict[str, Any]:
    """One of several events; those that are counted by value have a value of their own."""
    event = _event(policy, term, proposal) | {"ago": f"{number + 1}s"}
    if term.kind is not ReadingKind.DISTINCT:
        return event
    name = term.of.split(".")[1]
    kind = policy.tools[term.event.tool].args[name].kind
    values = {
        Kind.URL: f"https://host{number}.example/",
        Kind.EMAIL: f"someone@mail{number}.example",
        Kind.INTEGER: 1000 + number,
    }
    return event | {f"args.{name}": values.get(kind, f"value-{number}")}


def _event(policy: Policy, term: Term, proposal: Proposal) -> dict[str, Any]:
    """An event of the kind that the term looks for, with what it must share with the call."""
    match = term.event
    found: dict[str, Any] = {"tool": match.tool, "phase": _phase(match)}
    for path in term.same:
        root, *names = path.split(".")
        if root in ("args", "parsed") and names[0] in policy.tools[match.tool].args:
            found[f"args.{names[0]}"] = proposal.arguments.get(names[0])
    return found | {test.field: _meeting(test) for test in match.tests if test.field.startswith("args.")}


def _phase(match: EventMatch) -> str:
    return next(word for word, phases in PHASES.items() if phases == match.phases)


def _meeting(test: Test) -> str | int:
    value = test.values[0]
    if isinstance(value, str):
        return value if test.op in ("eq", "in") else f"{value}x"
    return value + {"gt": 1, "ne": 1, "lt": -1}.get(test.op, 0)
