"""The order of steps: every step after those that it needs; where several could be next, the first by name."""

from collections.abc import Collection, Mapping
from heapq import heapify, heappop, heappush


def order(needs: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The steps in order. Those of a cycle, and those behind one, are left out.

    `needs` names for each step those that must have ended before; all of them are keys.
    """
    waiting = {step: len(set(before)) for step, before in needs.items()}
    after: dict[str, list[str]] = {step: [] for step in needs}
    for step, before in needs.items():
        for each in set(before):
            after[each].append(step)
    ready = [step for step, count in waiting.items() if not count]
    heapify(ready)
    found = []
    while ready:
        step = heappop(ready)
        found.append(step)
        for each in after[step]:
            waiting[each] -= 1
            if not waiting[each]:
                heappush(ready, each)
    return tuple(found)


def cycle(needs: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The steps of one cycle, each needed by the one before it, beginning with the first by name; empty when there is none."""
    left = sorted(set(needs) - set(order(needs)))
    if not left:
        return ()
    way = [left[0]]
    while len(set(way)) == len(way):  # each of those left needs another of them: the way comes back
        way.append(min(each for each in needs[way[-1]] if each in left))
    found = way[way.index(way[-1]) : -1]
    first = found.index(min(found))
    return (*found[first:], *found[:first])


def before(needs: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
    """For each step everything that must have ended before it, near and far. `needs` has no cycle."""
    found: dict[str, frozenset[str]] = {}
    for step in order(needs):
        found[step] = frozenset(needs[step]).union(*(found[each] for each in needs[step]))
    return found
