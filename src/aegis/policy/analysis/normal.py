"""A demand on a condition as alternatives, each a set of demands on single comparisons.

In three-valued logic a rule demands of its condition to be true, or not to be false; that it does not fire is the opposite.
All four demands are passed down through `all`, `any` and `not` to the comparisons.
"""

from collections.abc import Iterator
from enum import Enum

from msgspec import Struct

from aegis.policy.analysis.truth import Atom
from aegis.policy.ir import AllOf, Condition, Leaf, Not, Quantified

MOST = 512
"""More alternatives than this are not looked through."""


class Demand(Enum):
    """Which of true, false and unknown will do."""

    TRUE = frozenset({True})
    NOT_FALSE = frozenset({True, None})
    FALSE = frozenset({False})
    NOT_TRUE = frozenset({False, None})

    @property
    def negated(self) -> "Demand":
        """What must hold of a condition so that its negation meets this."""
        return _NEGATED[self]

    @property
    def positive(self) -> bool:
        """Whether true will do."""
        return self in (Demand.TRUE, Demand.NOT_FALSE)


_NEGATED = {
    Demand.TRUE: Demand.FALSE,
    Demand.FALSE: Demand.TRUE,
    Demand.NOT_FALSE: Demand.NOT_TRUE,
    Demand.NOT_TRUE: Demand.NOT_FALSE,
}


class Wanted(Struct, frozen=True, kw_only=True):
    """A demand on one comparison. `quiet` says that it stands in a sanitize rule."""

    atom: Atom
    demand: Demand
    quiet: bool = False


Alternatives = list[tuple[Wanted, ...]]


def alternatives(condition: Condition | None, demand: Demand, *, quiet: bool = False) -> Alternatives | None:
    """The ways in which a condition meets a demand; `None` when there are too many. No condition is always true."""
    if condition is None:
        return [()] if demand.positive else []
    if isinstance(condition, Not):
        return alternatives(condition.condition, demand.negated, quiet=quiet)
    if isinstance(condition, Leaf | Quantified):
        return [(Wanted(atom=condition, demand=demand, quiet=quiet),)]
    parts = [alternatives(part, demand, quiet=quiet) for part in condition.conditions]
    if isinstance(condition, AllOf) is demand.positive:
        return _every(parts)
    found = [each for part in _known(parts) for each in part]
    return None if any(part is None for part in parts) or len(found) > MOST else found


def both(one: Alternatives | None, other: Alternatives | None) -> Alternatives | None:
    """The ways in which both are met."""
    return _every([one, other])


def _every(parts: list[Alternatives | None]) -> Alternatives | None:
    found: Alternatives = [()]
    if any(part is None for part in parts):
        return None
    for part in _known(parts):
        if len(found) * len(part) > MOST:
            return None
        found = [(*before, *each) for before in found for each in part]
    return found


def _known(parts: list[Alternatives | None]) -> Iterator[Alternatives]:
    yield from (part for part in parts if part is not None)
