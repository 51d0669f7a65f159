"""Whether demands on one place can be met together, by trying values that stand for all others.

Comparisons with literals divide the values of a place into few classes: integers between two limits, a text that equals a constant,
every other text. One value of each class is tried. Where a class is not uniform (patterns, prefixes of any other text) the demands
count as met, unless they contradict each other openly.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from aegis.model.node import MAX_INTEGER
from aegis.policy.analysis.normal import Wanted
from aegis.policy.analysis.truth import Ask, Ground, asker, resolve
from aegis.policy.ir import Comparator, Kind, Leaf, Op, Quantified, TenantRef, ToolLine
from aegis.policy.operands import WEEKDAYS
from aegis.policy.versions import MAX_DIGITS, parse_range, parse_version, within

_TEXTS = frozenset({Op.STARTS_WITH, Op.ENDS_WITH, Op.MATCHES, Op.LONGER_THAN, Op.SHORTER_THAN, Op.HOST_IN, Op.VERSION})
_ALWAYS_THERE = frozenset({"tool", "tenant", "agent.roles", "agent.scopes", "agent.trust", "chain"})
_STRINGS = frozenset({Kind.STRING, Kind.HOST, Kind.URL, Kind.EMAIL})
_LAST = 10**MAX_DIGITS - 1


class Place:
    """Demands on the value of one place, in calls of one tool. `known` are places whose values are given."""

    def __init__(self, name: str, wanted: Sequence[Wanted], line: ToolLine, ground: Ground, known: Mapping[str, Any]) -> None:
        self._name = name
        self._line = line
        self._ground = ground
        self._known = known
        self._kind = wanted[0].atom.path.kind
        self._quantified = [(each, self._asker(each)) for each in wanted if isinstance(each.atom, Quantified) and name in known]
        # What depends on data that may change, or looks into elements, is left out: fewer demands can only be easier to meet.
        self._leaves = [
            (each, each.atom, self._asker(each)) for each in wanted if isinstance(each.atom, Leaf) and self._decidable(each.atom)
        ]

    def _asker(self, wanted: Wanted) -> Ask:
        return asker(wanted.atom, replace(self._ground, quiet=wanted.quiet))

    def _decidable(self, leaf: Leaf) -> bool:
        return self._ground.settled or not any(isinstance(operand, TenantRef) for operand in leaf.operands)

    def possible(self) -> bool:
        """Whether some value meets every demand, as far as is known."""
        known = self._given()
        if known is not None:
            return any(self._met(value) for value in known)
        if self._may_be_absent() and self._met(None):
            return True
        return any(self._met(value) for value in self._values()) or self._other_text() or self._some_array()

    def _given(self) -> list[Any] | None:
        """The only values that there can be, where the tool and the set leave no others."""
        labels = self._line.labels
        fixed: dict[str, Any] = {
            "tool": [self._line.name],
            "tenant": [self._ground.policy.tenant],
            "tool_labels.sink": [labels.sink or None],
            "tool_labels.source": [labels.source or None],
            "tool_labels.region": [labels.region or None],
            "tool_labels.emits": [list(labels.emits)],
        }
        if self._name in self._known:
            return [self._known[self._name]]
        if self._name in fixed:
            return list(fixed[self._name])
        if self._name == "now.time":
            edges = [edge for edge in self._constants() if isinstance(edge, str)]
            return [None, "00:00", "23:59", *edges, *map(minute_before, edges)]
        if self._name == "now.weekday":
            return [None, *WEEKDAYS]
        return self._versions() if self._name == "version" else None

    def _may_be_absent(self) -> bool:
        root, *rest = self._name.split(".")
        if root == "args" and len(rest) == 1:
            return self._line.args[rest[0]].optional
        if root == "parsed":
            return self._line.args[rest[0]].optional or rest[1] == "query"
        return self._name not in _ALWAYS_THERE

    def _met(self, value: Any) -> bool:
        quantified = all(ask(value) in each.demand.value for each, ask in self._quantified)
        return quantified and all(ask(value) in each.demand.value for each, _, ask in self._leaves)

    def _values(self) -> list[Any]:
        """One value of every class, apart from texts and arrays that are no constants."""
        constants = list(self._constants())
        found: list[Any] = []
        if self._kind in (Kind.BOOLEAN, Kind.ANY):
            found += [True, False]
        if self._kind in (Kind.INTEGER, Kind.ANY):
            found += [number + step for number in [0, *_numbers(constants, int)] for step in (-1, 0, 1)]
        if self._kind is Kind.NUMBER:
            found += _between(_numbers(constants, int, float))
        if self._name.startswith("args.") and self._kind in (Kind.INTEGER, Kind.NUMBER):
            found = [number for number in found if abs(number) <= MAX_INTEGER]
        if self._kind in (*_STRINGS, Kind.ANY):
            found += [constant for constant in constants if isinstance(constant, str)]
        if self._kind in (Kind.ANY, Kind.OBJECT):
            found.append({})
        return found

    def _constants(self) -> Iterable[Any]:
        for _, leaf, _ in self._leaves:
            for operand in leaf.operands:
                value = resolve(operand, self._ground)
                yield from value if isinstance(value, tuple) else (value,)

    def _other_text(self) -> bool:
        """Whether a text that is none of the constants could meet the demands."""
        if self._kind not in (*_STRINGS, Kind.ANY):
            return False
        other = "~".join(["", *(value for value in self._constants() if isinstance(value, str)), ""])
        plain = [(each, ask) for each, leaf, ask in self._leaves if leaf.op not in _TEXTS or not self._compares(leaf)]
        return all(ask(other) in each.demand.value for each, ask in plain) and not self._clash(text=True)

    def _some_array(self) -> bool:
        if self._kind not in (Kind.ARRAY, Kind.ANY):
            return False
        open_ = (Op.CONTAINS, Op.LONGER_THAN, Op.SHORTER_THAN)
        plain = [(each, ask) for each, leaf, ask in self._leaves if leaf.op not in open_]
        return all(ask([]) in each.demand.value for each, ask in plain) and not self._clash(text=False)

    def _compares(self, leaf: Leaf) -> bool:
        """Whether there is anything to compare with: nothing stands in an empty list."""
        return leaf.op is not Op.HOST_IN or resolve(leaf.operands[0], self._ground) != ()

    def _clash(self, *, text: bool) -> bool:
        """Whether demands on prefixes, suffixes, sizes, or twice the same comparison, contradict each other."""
        yes = [leaf for each, leaf, _ in self._leaves if False not in each.demand.value]
        no = [leaf for each, leaf, _ in self._leaves if True not in each.demand.value]
        if any((one.op, one.operands) == (other.op, other.operands) for one in yes for other in no if self._definite(one)):
            return True
        least, most = self._sizes(yes, no)
        if not text:
            return least > most
        heads, tails = self._limits(yes, Op.STARTS_WITH), self._limits(yes, Op.ENDS_WITH)
        least = max([least, *map(len, heads), *map(len, tails)])
        return (
            least > most
            or any(not (a.startswith(b) or b.startswith(a)) for a in heads for b in heads)
            or any(not (a.endswith(b) or b.endswith(a)) for a in tails for b in tails)
            or any(head.startswith(cut) for head in heads for cut in self._limits(no, Op.STARTS_WITH))
            or any(tail.endswith(cut) for tail in tails for cut in self._limits(no, Op.ENDS_WITH))
        )

    def _definite(self, leaf: Leaf) -> bool:
        """Whether a comparison that is demanded twice cannot be met by unknown both times."""
        vague = leaf.op in (Op.VERSION, Op.CONTAINS)
        return not vague or all(None not in each.demand.value for each, _, _ in self._leaves)

    def _sizes(self, yes: Sequence[Leaf], no: Sequence[Leaf]) -> tuple[int, float]:
        """(least, most) code points or elements."""
        least = [limit + 1 for limit in self._limits(yes, Op.LONGER_THAN)] + self._limits(no, Op.SHORTER_THAN)
        most = [limit - 1 for limit in self._limits(yes, Op.SHORTER_THAN)] + self._limits(no, Op.LONGER_THAN)
        return max([0, *least]), min([float("inf"), *most])

    def _limits(self, leaves: Iterable[Leaf], op: Op) -> list[Any]:
        """What the comparisons with this operator compare with, as far as it is at hand."""
        found = [resolve(leaf.operands[0], self._ground) for leaf in leaves if leaf.op is op]
        return [limit for limit in found if limit is not None]

    def _versions(self) -> list[Any]:
        """Versions at and beside every bound that the contract line accepts."""
        wanted = self._line.version
        texts = [text for text in self._constants() if isinstance(text, str)]
        bounds = [*wanted, *(each for text in texts for each in parse_range(text) or ())]
        exact = [version for text in texts if (version := parse_version(text)) is not None]
        found = [version for version in (*critical(bounds), *exact) if within(version, wanted)]
        free: list[Any] = [] if wanted else [None, "", *texts]
        return [*free, *(".".join(map(str, version)) for version in found)]


def minute_before(text: str) -> str:
    """The last minute that is earlier on the clock."""
    minutes = int(text[:2]) * 60 + int(text[3:]) - 1
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def critical(bounds: Iterable[Comparator]) -> list[tuple[int, int, int]]:
    """A version of every class that these bounds divide versions into."""
    found = [(0, 0, 0)]
    for each in bounds:
        major, minor, patch = each.version
        found += [each.version, _after(each.version), _before(major, minor, patch)]
    return [version for version in found if min(version) >= 0]


def _after(version: tuple[int, int, int]) -> tuple[int, int, int]:
    major, minor, patch = version
    if patch < _LAST:
        return major, minor, patch + 1
    return (major, minor + 1, 0) if minor < _LAST else (min(major + 1, _LAST), 0, 0)


def _before(major: int, minor: int, patch: int) -> tuple[int, int, int]:
    if patch:
        return major, minor, patch - 1
    return (major, minor - 1, _LAST) if minor else (major - 1, _LAST, _LAST)


def _numbers(constants: Iterable[Any], *kinds: type) -> list[Any]:
    return sorted({value for value in constants if type(value) in kinds})


def _between(limits: Sequence[float]) -> list[float]:
    """The limits, and a number below, between and above them."""
    middle = [(low + high) / 2 for low, high in pairwise(limits)]
    return [*limits, *middle, limits[0] - 1, limits[-1] + 1] if limits else [0]


__all__ = ["Ask", "Place", "critical"]
