"""From a workflow to a picture: boxes in layers, wires in the bands between them.

In a band every wire that does not go straight down has a row of its own, or shares one with wires beside it. Where one wire leaves
at the column at which another one enters, the first turns off above the second. Should wires wait for each other in a circle, the
lower layer is moved aside until none does: far enough to the right no column meets another one.
"""

from collections.abc import Iterator, Mapping

from aegis.workflow.drawing.arrange import Link, Spot, arrange
from aegis.workflow.drawing.edges import edges, layers, lines
from aegis.workflow.drawing.picture import Box, Picture, Point, Wire
from aegis.workflow.graph import Workflow
from aegis.workflow.order import order


def layout(workflow: Workflow, states: Mapping[str, str] | None = None) -> Picture | None:
    """The picture of a workflow, with the states of a run if they are given; `None` when it has too many edges to be one."""
    told = {step.id: lines(step, (states or {}).get(step.id, "")) for step in workflow.steps}
    widths = {name: max(map(len, text)) + 4 for name, text in told.items()}
    rows = arrange(layers(workflow), edges(workflow), widths)
    if rows is None:
        return None
    bands = _bands(rows)
    tops, y = [], 0
    heights = [max((len(told[spot.name]) + 2 for spot in row if not spot.stop), default=1) for row in rows]
    for height, band in zip(heights, [*bands, {}], strict=True):
        tops.append(y)
        y += height + max(band.values(), default=-1) + 2
    boxes = tuple(
        Box(
            id=spot.name, x=spot.x, y=tops[spot.layer], width=spot.width, height=heights[spot.layer], lines=told[spot.name],
            shape=workflow.step(spot.name).kind, role=workflow.step(spot.name).role, state=(states or {}).get(spot.name, ""),
        )
        for row in rows for spot in row if not spot.stop
    )  # fmt: skip
    wires = tuple(_wire(link, tops, heights, bands) for row in rows for spot in row for link in spot.above if not spot.stop)
    right = [box.x + box.width for box in boxes] + [wire.at[0] + len(wire.label) for wire in wires]
    right += [point[0] + 1 for wire in wires for point in wire.points]
    return Picture(width=max(right), height=tops[-1] + heights[-1], boxes=boxes, wires=wires)


def _wire(link: Link, tops: list[int], heights: list[int], bands: list[dict[int, int]]) -> Wire:
    """The whole way of the edge whose last piece this is."""
    way = [link]
    while way[0].upper.stop:
        way.insert(0, way[0].upper.above[0])
    points: list[Point] = []
    for piece in way:
        level = piece.upper.layer
        bottom = tops[level] + heights[level]
        points.append((piece.start, bottom))
        if piece.start != piece.end:
            y = bottom + bands[level][id(piece)]
            points += [(piece.start, y), (piece.end, y)]
        points.append((piece.end, tops[piece.lower.layer] - 1))
    last = (link.end + 2, tops[link.lower.layer] - 1)
    return Wire(
        source=link.edge.source, target=link.edge.target, points=tuple(points), label=link.edge.label, at=last,
        carries=link.edge.carries,
    )  # fmt: skip


def _bands(rows: list[list[Spot]]) -> list[dict[int, int]]:
    """For each band the row of every piece that turns."""
    found = []
    for row in rows[1:]:
        links = [link for spot in row for link in spot.above]
        placed = _rows(links)
        while placed is None:
            for spot in row:
                spot.x += 1
            placed = _rows(links)
        found.append(placed)
    return found


def _rows(links: list[Link]) -> dict[int, int] | None:
    """A row for every piece that turns; `None` when some wait for each other."""
    turning = {f"{number:05}": link for number, link in enumerate(links) if link.start != link.end}
    leaving = {link.start: name for name, link in turning.items()}
    needs = {name: ({leaving[link.end]} - {name} if link.end in leaving else set()) for name, link in turning.items()}
    done = order(needs)
    if len(done) < len(turning):
        return None
    taken: list[list[tuple[int, int]]] = []
    rows: dict[str, int] = {}
    for name in done:
        link = turning[name]
        span = (min(link.start, link.end) - 1, max(link.start, link.end) + 1)
        rows[name] = next(_free(taken, span, max((rows[each] + 1 for each in needs[name]), default=0)))
        taken[rows[name]].append(span)
    return {id(link): rows[name] for name, link in turning.items()}


def _free(taken: list[list[tuple[int, int]]], span: tuple[int, int], first: int) -> Iterator[int]:
    """The rows in which nothing lies that this would touch."""
    row = first
    while True:
        while len(taken) <= row:
            taken.append([])
        if all(span[1] < other[0] or span[0] > other[1] for other in taken[row]):
            yield row
        row += 1
