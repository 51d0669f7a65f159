"""What rules in shadow would have done, counted from decisions, and which of them are ready to be enforced.

A rule in shadow *fires* on a call when its id is in the decision's `shadow`; it *would have blocked* when with all rules live the
call would have been refused or held, and was not. Rules that allow stop nothing and are left out; where a call would have been
refused because nothing allowed it any more, that is counted as `default-deny`. A rule is ready when it has been watched long
enough, over enough calls, and people have found no more false positives than are tolerated. That nobody has looked is told beside
the verdict, not hidden in it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from aegis.model.decision import Outcome
from aegis.policy.ir import ANY_TOOL, DEFAULT_DENY, SHADOW_REVISION, SHADOW_SET, Policy

EXAMPLES = 5
_STRICT = {Outcome.DENY: 2, Outcome.APPROVAL_NEEDED: 1}
_MARKERS = frozenset({SHADOW_SET, SHADOW_REVISION})


class Criteria(Struct, frozen=True, kw_only=True):
    """When a rule is ready. `most_percent` bounds the share of covered calls that it would have blocked."""

    calls: int = 100
    days: int = 7
    false_positives: int = 0
    most_percent: int = 100


class Seen(Struct, frozen=True, kw_only=True):
    """One decision, as its event tells."""

    request_id: str
    time: datetime
    agent: str
    tool: str
    outcome: Outcome
    would_be: Outcome | None = None
    shadow: tuple[str, ...] = ()

    @property
    def blocked(self) -> bool:
        """Whether live rules would have stood in the way of a call that passed, or more than they did."""
        return self.would_be is not None and _STRICT.get(self.would_be, 0) > _STRICT.get(self.outcome, 0)


class Line(Struct, kw_only=True):
    """One rule, agent and tool. `calls` are all calls of this agent to this tool; examples are request ids."""

    rule: str
    agent: str
    tool: str
    calls: int = 0
    fired: int = 0
    would_block: int = 0
    false_positives: int = 0
    first: datetime | None = None
    last: datetime | None = None
    examples: list[str] = []


class Readiness(Struct, frozen=True, kw_only=True):
    """One rule as a whole; `missing` says in words what stands against enforcing it."""

    rule: str
    calls: int
    fired: int
    would_block: int
    false_positives: int
    days: int
    missing: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether nothing stands against it."""
        return not self.missing


class Report:
    """Counts decisions one by one; what it holds grows with rules, agents and tools, not with calls."""

    def __init__(self, policy: Policy | None = None, marked: Iterable[tuple[str, str]] = ()) -> None:
        """`policy` is the set whose rules are in shadow, if it is at hand: rules that never fired are then told too."""
        self._marked = frozenset(marked)
        rules = policy.rules if policy else ()
        self._allows = frozenset(rule.id for rule in rules if rule.effect is Outcome.ALLOW)
        self._tools = {
            rule.id: rule.tools for rule in rules if policy and (rule.shadow or policy.shadow) and rule.id not in self._allows
        }
        self._lines: dict[tuple[str, str, str], Line] = {}
        self._calls: dict[tuple[str, str], int] = {}
        self._span: dict[str, tuple[datetime, datetime]] = {}

    def take(self, seen: Seen) -> None:
        """Count one decision."""
        key = seen.agent, seen.tool
        self._calls[key] = self._calls.get(key, 0) + 1
        first, last = self._span.get(seen.tool, (seen.time, seen.time))
        self._span[seen.tool] = min(first, seen.time), max(last, seen.time)
        speaking = [rule for rule in seen.shadow if rule not in _MARKERS | self._allows]
        for rule in speaking or ([DEFAULT_DENY] if seen.blocked else []):
            self._fired(rule, seen)

    def lines(self) -> tuple[Line, ...]:
        """Every rule, agent and tool, the most blocking first."""
        for line in self._lines.values():
            line.calls = self._calls[line.agent, line.tool]
        return tuple(sorted(self._lines.values(), key=lambda line: (-line.would_block, line.rule, line.agent, line.tool)))

    def verdicts(self, criteria: Criteria) -> tuple[Readiness, ...]:
        """Every rule in shadow, also those that never fired."""
        rules = dict.fromkeys([*self._tools, *(line.rule for line in self.lines())])
        return tuple(self._verdict(rule, criteria) for rule in rules)

    def _fired(self, rule: str, seen: Seen) -> None:
        key = rule, seen.agent, seen.tool
        line = self._lines.setdefault(key, Line(rule=rule, agent=seen.agent, tool=seen.tool, first=seen.time))
        line.fired += 1
        line.last = seen.time
        line.would_block += seen.blocked
        line.false_positives += (seen.request_id, rule) in self._marked
        if seen.blocked and len(line.examples) < EXAMPLES:
            line.examples = [*line.examples, seen.request_id]

    def _verdict(self, rule: str, criteria: Criteria) -> Readiness:
        lines = [line for line in self._lines.values() if line.rule == rule]
        covered = self._covered(rule, lines)
        calls = sum(count for (_, tool), count in self._calls.items() if tool in covered)
        spans = [span for tool, span in self._span.items() if tool in covered]
        span = max(last for _, last in spans) - min(first for first, _ in spans) if spans else timedelta()
        counted = Readiness(
            rule=rule,
            calls=calls,
            fired=sum(line.fired for line in lines),
            would_block=sum(line.would_block for line in lines),
            false_positives=sum(line.false_positives for line in lines),
            days=span.days,
        )
        return replace(counted, missing=_missing(counted, criteria))

    def _covered(self, rule: str, lines: Iterable[Line]) -> set[str]:
        """The tools that the rule is about; of a rule that is not at hand, those on which it fired."""
        tools = self._tools.get(rule)
        if tools is None:
            return {line.tool for line in lines}
        return {tool for _, tool in self._calls} if ANY_TOOL in tools else set(tools)


def _missing(counted: Readiness, criteria: Criteria) -> tuple[str, ...]:
    found = []
    if counted.calls < criteria.calls:
        found.append(f"{counted.calls} of {criteria.calls} calls seen")
    if counted.days < criteria.days:
        found.append(f"{counted.days} of {criteria.days} days watched")
    if counted.false_positives > criteria.false_positives:
        found.append(f"{counted.false_positives} false positives, {criteria.false_positives} tolerated: change the rule")
    share = 100 * counted.would_block // max(1, counted.calls)
    if 100 * counted.would_block > criteria.most_percent * counted.calls:
        found.append(f"it would have blocked {share} % of the calls, {criteria.most_percent} % tolerated")
    return tuple(found)
