"""Values for all the places of a condition at once, such that the condition comes out as wanted.

Every place has a pool of values from the edges of its comparisons; backtracking chooses among them. A *target* is a comparison that
shall matter: of alternatives the one that holds the target is met, and the others are not. The search gives up when its fuel is
spent, so its cost is bounded whatever the condition.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from msgspec import Struct

from aegis.policy.analysis.truth import Ask, Atom, Ground, asker, atoms, place, resolve
from aegis.policy.ir import AllOf, AnyOf, Condition, Leaf, Not, Op, Quantified, Quantifier
from aegis.policy.native import CHAIN
from aegis.policy.nearmiss.values import ABSENT, edges

Chosen = Mapping[str, Any]
FUEL = 4000
SOLUTIONS = 3
_OF_TEXT = (Op.STARTS_WITH, Op.ENDS_WITH, Op.LONGER_THAN, Op.SHORTER_THAN, Op.MATCHES)
LINK = {"id": "agent:link", "trust": 5}


class Goal(Struct, frozen=True):
    """A part of the condition and how it shall come out."""

    condition: Condition
    want: bool


def solutions(
    condition: Condition, ground: Ground, target: Atom | None = None, start: Chosen | None = None, *, lenient: bool = False
) -> list[dict[str, Any]]:
    """Some assignments that meet the condition; none when none was found, which does not prove that there is none.

    `start` are values that are given already. `lenient` counts unknown as met, as every rule does but one that allows.
    """
    search = _Search(ground, pools(condition, ground), lenient=lenient)
    return list(search.some([Goal(condition, want=True)], start or {}, target))


def pools(condition: Condition, ground: Ground) -> dict[str, list[Any]]:
    """The values to try at each place."""
    found: dict[str, list[Any]] = {}
    read = atoms(condition)
    for atom in sorted(read, key=_last):
        pool = found.setdefault(place(atom.path), [])
        fresh = _edges(atom, ground) if isinstance(atom, Leaf) else _elements(atom, ground, pool)
        pool += [value for value in fresh if not any(_same(value, other) for other in pool)]
        if (atom.path.argument or len(atom.path.parts) > 2) and not any(value is ABSENT for value in pool):
            pool.append(ABSENT)
    for name, group in _together(read).items():
        found[name] += [[each] for each in _joint(group, ground)]
    for name, pool in found.items():
        if len([atom for atom in read if place(atom.path) == name and isinstance(atom, Leaf) and atom.op in _OF_TEXT]) > 1:
            pool.extend(_joined(pool))
        if name == CHAIN:
            pool[:] = [links for value in pool if (links := _links(value)) is not None]
    return found


class _Search:
    """Backtracking over the pools."""

    def __init__(self, ground: Ground, found: Mapping[str, list[Any]], *, lenient: bool) -> None:
        self._ground = ground
        self._lenient = lenient
        self._pools = found
        self._fuel = FUEL
        self._asks: dict[int, Ask] = {}
        self._known: dict[tuple[int, str], bool | None] = {}

    def some(self, goals: Sequence[Goal], chosen: Chosen, target: Atom | None) -> Iterator[dict[str, Any]]:
        """The first few assignments."""
        for count, found in enumerate(self._meet(goals, chosen, target), start=1):
            yield dict(found)
            if count == SOLUTIONS:
                return

    def _meet(self, goals: Sequence[Goal], chosen: Chosen, target: Atom | None) -> Iterator[Chosen]:
        """Assignments that meet every goal."""
        if not goals:
            yield chosen
            return
        for found in self._one(goals[0], chosen, target):
            yield from self._meet(goals[1:], found, target)

    def _one(self, goal: Goal, chosen: Chosen, target: Atom | None) -> Iterator[Chosen]:
        condition, want = goal.condition, goal.want
        if isinstance(condition, Not):
            yield from self._one(Goal(condition.condition, not want), chosen, target)
        elif isinstance(condition, Leaf | Quantified):
            yield from self._atom(condition, want, chosen)
        elif isinstance(condition, AllOf) is want:
            yield from self._meet([Goal(part, want) for part in condition.conditions], chosen, target)
        else:
            yield from self._either(condition, want, chosen, target)

    def _either(self, condition: AllOf | AnyOf, want: bool, chosen: Chosen, target: Atom | None) -> Iterator[Chosen]:
        parts = condition.conditions
        pointed = [part for part in parts if target is not None and any(atom is target for atom in atoms(part))]
        if not pointed:
            for part in parts:
                yield from self._one(Goal(part, want), chosen, target)
            return
        goals = [Goal(pointed[0], want), *(Goal(part, not want) for part in parts if part is not pointed[0])]
        yield from self._meet(goals, chosen, target)

    def _atom(self, atom: Atom, want: bool, chosen: Chosen) -> Iterator[Chosen]:
        name = place(atom.path)
        if name in chosen:
            if self._meets(atom, chosen[name], want):
                yield chosen
            return
        for value in self._pools[name]:
            if self._meets(atom, value, want):
                yield {**chosen, name: value}

    def _meets(self, atom: Atom, value: Any, want: bool) -> bool:
        if self._fuel <= 0:
            return False
        self._fuel -= 1
        key = id(atom), repr(value)
        if key not in self._known:
            ask = self._asks.get(id(atom)) or self._asks.setdefault(id(atom), asker(atom, self._ground))
            self._known[key] = ask(value)
        found = self._known[key]
        return found is want or (found is None and self._lenient)


def _edges(leaf: Leaf, ground: Ground) -> list[Any]:
    return edges(leaf, [resolve(operand, ground) for operand in leaf.operands])


def _elements(atom: Quantified, ground: Ground, sized: Iterable[Any]) -> list[Any]:
    """Arrays whose elements meet the condition, or do not; padded to the sizes that other comparisons ask for."""
    good = _objects(atom, ground, want=True)
    bad = _objects(atom, ground, want=False)
    mixed = [[one, other] for one in good[:1] for other in bad[:1]]
    found = [*([each] for each in good), *([each] for each in bad), *mixed, []]
    filler = (good if atom.quantifier is Quantifier.EVERY else bad) or good or bad
    sizes = {len(value) for value in sized if isinstance(value, list)}
    return [*found, *(each + filler[:1] * (size - len(each)) for each in found for size in sizes if size > len(each) and filler)]


def _together(read: Iterable[Atom]) -> dict[str, list[Quantified]]:
    """Quantified conditions over the same array, where there are several."""
    found: dict[str, list[Quantified]] = {}
    for atom in read:
        if isinstance(atom, Quantified):
            found.setdefault(place(atom.path), []).append(atom)
    return {name: group for name, group in found.items() if 1 < len(group) <= 3}


def _joint(group: Sequence[Quantified], ground: Ground) -> Iterator[dict[str, Any]]:
    """Elements that meet each of several conditions, or do not, in every combination."""
    start = LINK if group[0].path.text == CHAIN else {}
    for wanted in product((True, False), repeat=len(group)):
        parts = tuple(atom.condition if want else Not(atom.condition) for atom, want in zip(group, wanted, strict=True))
        yield from (nested(each, start) for each in solutions(AllOf(parts), ground)[:1])


def _objects(atom: Quantified, ground: Ground, *, want: bool) -> list[dict[str, Any]]:
    condition = atom.condition if want else Not(atom.condition)
    start = LINK if atom.path.text == CHAIN else {}
    return [nested(each, start) for each in solutions(condition, ground)]


def nested(chosen: Chosen, start: Mapping[str, Any]) -> dict[str, Any]:
    """An object with these values at these places."""
    found = dict(start)
    for name, value in chosen.items():
        *way, last = name.split(".")
        inner = found
        for step in way:
            below = inner.get(step)
            inner[step] = inner = dict(below) if isinstance(below, dict) else {}
        if value is ABSENT:
            inner.pop(last, None)
        else:
            inner[last] = value
    return found


def _links(value: Any) -> list[dict[str, Any]] | None:
    """The links of a chain; nothing when there cannot be such a chain."""
    if not isinstance(value, list):
        return None
    links = [each if isinstance(each, dict) else LINK for each in value]
    return links if all(each.get("id") and each.get("trust") in range(6) for each in links) else None


def _joined(pool: Sequence[Any]) -> list[str]:
    """Texts that begin with one thing and end with another."""
    texts = [value for value in pool if isinstance(value, str)][:6]
    return [one + two for one in texts for two in texts if one is not two]


def _last(atom: Atom) -> tuple[bool, bool]:
    """Arrays are filled when their sizes are known; presence tells less than the comparison beside it."""
    return isinstance(atom, Quantified), isinstance(atom, Leaf) and atom.op is Op.PRESENT


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
