"""Arrange boxes in layers: which order within a layer, which columns, and where wires enter and leave.

The method is the usual one for layered graphs (Sugiyama, Tagawa and Toda 1981): a wire over several layers passes through a *stop*
in each between; the order within a layer follows the mean of the neighbours; columns are as near to those of the neighbours as
the widths let them be (pool adjacent violators, which is optimal for squares). Everything is whole numbers and the same each time.
"""

from collections.abc import Mapping, Sequence

from aegis.workflow.drawing.edges import Edge

SWEEPS = 6
GAP = 3
MAX_PIECES = 3000


class Spot:
    """A box or a stop in its layer: what it is joined to, how wide it is, and where it stands."""

    def __init__(self, name: str, layer: int, width: int) -> None:
        self.name = name
        self.layer = layer
        self.width = width
        self.extent = width
        self.x = 0
        self.above: list[Link] = []
        self.below: list[Link] = []

    @property
    def stop(self) -> bool:
        """Whether it is a stop of a wire and no box."""
        return not self.name


class Link:
    """A piece of an edge between two neighbouring layers, with the columns at which it leaves and enters, from the left of each."""

    def __init__(self, edge: Edge, upper: Spot, lower: Spot) -> None:
        self.edge = edge
        self.upper = upper
        self.lower = lower
        self.leaves = 0
        self.enters = 0
        upper.below.append(self)
        lower.above.append(self)

    @property
    def start(self) -> int:
        """The column at which it leaves the upper layer."""
        return self.upper.x + self.leaves

    @property
    def end(self) -> int:
        """The column at which it enters the lower layer."""
        return self.lower.x + self.enters


def arrange(layers: Sequence[Sequence[str]], edges: Sequence[Edge], widths: Mapping[str, int]) -> list[list[Spot]] | None:
    """The layers with every spot in its place; `None` when there are too many wires to draw."""
    rows = [[Spot(name, level, widths[name]) for name in row] for level, row in enumerate(layers)]
    boxes = {spot.name: spot for row in rows for spot in row}
    if not _join(rows, boxes, edges):
        return None
    for turn in range(SWEEPS):
        _sort(rows, downwards=turn % 2 == 0)
    for row in rows:
        for spot in row:
            _ports(spot)
    for row in rows:
        left = -sum(spot.extent + GAP for spot in row) // 2
        for spot in row:
            spot.x, left = left, left + spot.extent + GAP
    for turn in range(SWEEPS):
        for row in rows if turn % 2 == 0 else reversed(rows):
            _settle(row, downwards=turn % 2 == 0)
    least = min(spot.x for row in rows for spot in row)
    for row in rows:
        for spot in row:
            spot.x -= least
    return rows


def _join(rows: list[list[Spot]], boxes: Mapping[str, Spot], edges: Sequence[Edge]) -> bool:
    """Lay each edge from layer to layer; whether they are few enough to be seen."""
    count = sum(boxes[edge.target].layer - boxes[edge.source].layer for edge in edges)
    for edge in edges if count <= MAX_PIECES else ():
        upper, target = boxes[edge.source], boxes[edge.target]
        while upper.layer < target.layer - 1:
            stop = Spot("", upper.layer + 1, 1)
            rows[stop.layer].append(stop)
            Link(edge, upper, stop)
            upper = stop
        Link(edge, upper, target)
    return count <= MAX_PIECES


def _sort(rows: list[list[Spot]], *, downwards: bool) -> None:
    """Order each layer by the mean place of its neighbours in the one before."""
    places = {id(spot): place for row in rows for place, spot in enumerate(row)}
    for row in rows if downwards else reversed(rows):
        means = {}
        for spot in row:
            near = [places[id(link.upper if downwards else link.lower)] for link in (spot.above if downwards else spot.below)]
            means[id(spot)] = sum(near) / len(near) if near else float(places[id(spot)])
        row.sort(key=lambda spot: means[id(spot)])
        places.update((id(spot), place) for place, spot in enumerate(row))
    for row in rows:
        for spot in row:
            spot.above.sort(key=lambda link: places[id(link.upper)])
            spot.below.sort(key=lambda link: places[id(link.lower)])


def _ports(spot: Spot) -> None:
    """Where wires enter and leave: each at a column of its own, and far enough apart for their labels."""
    if spot.stop:
        return
    wanted = [len(link.edge.label) + 3 if link.edge.label else 2 for link in spot.above]
    spot.width = max(spot.width, sum(wanted[:-1]) + 5, 2 * len(spot.below) + 3)
    first = (spot.width - sum(wanted[:-1])) // 2
    for place, link in enumerate(spot.above):
        link.enters = first + sum(wanted[:place])
    spot.extent = max([spot.width, *(link.enters + 2 + len(link.edge.label) for link in spot.above if link.edge.label)])
    for place, link in enumerate(spot.below):
        link.leaves = spot.width * (place + 1) // (len(spot.below) + 1)


def _settle(row: list[Spot], *, downwards: bool) -> None:
    """Move the spots of a layer as near to their neighbours as their order and widths let them."""
    wanted, offset = [], 0
    for spot in row:
        near = [link.start - link.enters for link in spot.above] if downwards else [link.end - link.leaves for link in spot.below]
        middle = sorted(near)[(len(near) - 1) // 2] if near else spot.x
        wanted.append(float(middle - offset))
        offset += spot.extent + GAP
    offset = 0
    for spot, place in zip(row, _rising(wanted), strict=True):
        spot.x = round(place) + offset
        offset += spot.extent + GAP


def _rising(wanted: Sequence[float]) -> list[float]:
    """The numbers that never fall and are nearest to these, in the sum of squares."""
    pools: list[tuple[float, int]] = []
    for number in wanted:
        total, count = number, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            before = pools.pop()
            total, count = total + before[0], count + before[1]
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]
