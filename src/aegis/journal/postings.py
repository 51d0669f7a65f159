"""The index of searches: which events of a block of the journal hold a term.

A tenant's journal is cut into blocks of `BLOCK` places. For a complete block and each term of its events there is one posting: the
places that hold the term, as a list of offsets or as a bitmap, whichever is shorter. Two more belong to a block. The posting of
`COSTS` holds the costs of its events as slices: one bitmap of the events that tell a cost, then one for each bit of the costs, so
that a bound on the cost is met exactly and without reading an event (O'Neil and Quass, "Improved query performance with variant
indexes", 1997). The posting of `SUMMARY` is written last and says that the others are there: the version of the table of terms, and
between which times the events lie. A block without one is read event by event.

What cannot be understood points everywhere: an index may cost time and must not hide. Numbers are little-endian.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from aegis.journal.terms import VERSION, Body, Filter, Term, cost, indexed, terms, time_of

Item = TypeVar("Item")

BLOCK = 1024
EVERYWHERE = (1 << BLOCK) - 1
SUMMARY: Term = ("", "")
COSTS: Term = ("cost", "")

_LIST, _BITMAP, _SLICES, _SUMMARY = b"L", b"B", b"C", b"S"
_BYTES = BLOCK // 8
_ABOUT = struct.Struct("<BHqq")


class Posting(Struct, frozen=True, kw_only=True):
    """Which events of a block hold a term."""

    field: str
    value: str
    block: int
    places: bytes


class Summary(Struct, frozen=True, kw_only=True):
    """What is in a block: how many events, between which times (microseconds since 1970)."""

    count: int
    first: int
    last: int


class Indexing:
    """A block that is being indexed: give it every event that is kept, then take the postings."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._held: dict[Term, int] = {}
        self._slices: list[int] = []
        self._times: list[str] = []

    def add(self, seq: int, body: Body) -> None:
        """Take an event in."""
        bit = 1 << seq - self._block * BLOCK
        for term in terms(body):
            self._held[term] = self._held.get(term, 0) | bit
        if (found := cost(body)) is not None:
            self._cost(found, bit)
        self._times.append(body["time"])

    def postings(self) -> list[Posting]:
        """All of the block, its summary last."""
        found = [self._posting(term, packed(places)) for term, places in sorted(self._held.items())]
        if self._slices:
            costs = _SLICES + b"".join(each.to_bytes(_BYTES, "little") for each in self._slices)
            found.append(self._posting(COSTS, costs))
        return [*found, self._posting(SUMMARY, self._about())]

    def _cost(self, found: int, bit: int) -> None:
        wanted = 1 + found.bit_length()
        self._slices += [0] * (wanted - len(self._slices))
        self._slices[0] |= bit
        for place in range(1, wanted):
            if found >> place - 1 & 1:
                self._slices[place] |= bit

    def _about(self) -> bytes:
        first, last = (time_of(min(self._times)), time_of(max(self._times))) if self._times else (0, -1)
        return _SUMMARY + _ABOUT.pack(VERSION, len(self._times), first, last)

    def _posting(self, term: Term, places: bytes) -> Posting:
        return Posting(field=term[0], value=term[1], block=self._block, places=places)


def asked(wanted: Filter) -> tuple[Term, ...]:
    """The terms whose postings say where to look for `wanted`."""
    costs = (COSTS,) if wanted.cost_from is not None or wanted.cost_to is not None else ()
    return (SUMMARY, *dict.fromkeys((field, indexed(value)) for field, value in wanted.terms), *costs)


def candidates(wanted: Filter, found: Mapping[Term, bytes]) -> int | None:
    """Which events of a block to read, as a bitmap, by its postings of the `asked` terms; `None` when it is not indexed."""
    about = summary(found.get(SUMMARY, b""))
    if about is None:
        return None
    if not _overlaps(wanted, about):
        return 0
    places = EVERYWHERE
    for term in asked(wanted)[1:]:
        held = found.get(term)
        if held is None or not places:
            return 0
        places = _afforded(wanted, held, places) if term == COSTS else places & unpacked(held)
    return places


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`items` in lists of at most so many, taken as they are needed."""
    rest = iter(items)
    while taken := list(islice(rest, size)):
        yield taken


def newest_first(places: int, block: int) -> Iterator[int]:
    """The `seq` of each event of a bitmap."""
    while places:
        top = places.bit_length() - 1
        places ^= 1 << top
        yield block * BLOCK + top


def summary(content: bytes) -> Summary | None:
    """What a summary says; `None` when it is missing, or of another version."""
    if version(content) != VERSION:
        return None
    _, count, first, last = _ABOUT.unpack_from(content, 1)
    return Summary(count=count, first=first, last=last)


def version(content: bytes) -> int:
    """By which version of the table of terms a block was indexed, from its summary; 0 when it was not."""
    return content[1] if len(content) == 1 + _ABOUT.size and content[:1] == _SUMMARY else 0


def leads_to(held: bytes | None, wanted: Posting) -> bool:
    """Whether what an index holds leads to every event that it should; it may lead to more, such as events that are gone by now."""
    term = (wanted.field, wanted.value)
    if held is None:
        return False
    if term == SUMMARY:
        told, about = summary(held), summary(wanted.places)
        return told is None or about is None or not about.count or (told.first <= about.first and about.last <= told.last)
    if term != COSTS:
        return unpacked(wanted.places) & ~unpacked(held) == 0
    kept, due, who = _width(held), _width(wanted.places), _slice(wanted.places, 0)
    return not kept or all(_slice(held, each) & who == _slice(wanted.places, each) for each in range(max(kept, due)))


def packed(places: int) -> bytes:
    """A bitmap in the shorter of its two forms."""
    bitmap = places.to_bytes((places.bit_length() + 7) // 8, "little")
    if 2 * places.bit_count() >= len(bitmap):
        return _BITMAP + bitmap
    offsets = sorted(newest_first(places, 0))
    return _LIST + struct.pack(f"<{len(offsets)}H", *offsets)


def unpacked(content: bytes) -> int:
    """The bitmap; everywhere when nobody can tell."""
    kind, rest = content[:1], content[1:]
    if kind == _BITMAP and len(rest) <= _BYTES:
        return int.from_bytes(rest, "little")
    if kind != _LIST or len(rest) % 2:
        return EVERYWHERE
    places = 0
    for (offset,) in struct.iter_unpack("<H", rest):
        places |= 1 << offset
    return min(places, EVERYWHERE)


def _afforded(wanted: Filter, content: bytes, places: int) -> int:
    """Which of these events cost what is wanted."""
    if not (width := _width(content)):
        return places
    places &= _slice(content, 0)
    if wanted.cost_from is not None:
        places = _compared(content, width - 1, places, wanted.cost_from, _at_least)
    if wanted.cost_to is not None:
        places = _compared(content, width - 1, places, wanted.cost_to, _at_most)
    return places


def _width(content: bytes) -> int:
    """How many slices there are: none when it cannot be understood."""
    return len(content) // _BYTES if content[:1] == _SLICES and len(content) % _BYTES == 1 else 0


def _slice(content: bytes, number: int) -> int:
    return int.from_bytes(content[1 + number * _BYTES : 1 + (number + 1) * _BYTES], "little")


def _at_least(bit: int, slice_: int) -> int:
    return 0 if bit else slice_


def _at_most(bit: int, slice_: int) -> int:
    return ~slice_ if bit else 0


def _compared(content: bytes, width: int, places: int, bound: int, beyond: Callable[[int, int], int]) -> int:
    """From the highest bit down: those that are beyond the bound are in, those that are equal so far go on."""
    inside, equal = 0, places
    for place in reversed(range(max(width, bound.bit_length()))):
        if not equal:
            break
        slice_, bit = _slice(content, 1 + place) if place < width else 0, bound >> place & 1
        inside |= equal & beyond(bit, slice_)
        equal &= slice_ if bit else ~slice_
    return inside | equal


def _overlaps(wanted: Filter, about: Summary) -> bool:
    if wanted.since is not None and about.last < _micros(wanted.since):
        return False
    return wanted.until is None or about.first < _micros(wanted.until)


def _micros(time: datetime) -> int:
    return time_of(time.isoformat())
