"""A workflow as text: box characters where the width allows, or the steps in order with what they wait for.

The frame tells the kind of a step (rounded: an agent; plain: a tool or a message; double: an approval; heavy: a workflow; dashed: a
wait), and the text in it tells it again.
"""

from collections.abc import Iterator, Mapping

from aegis.workflow.drawing.edges import contract, does, edges, sign
from aegis.workflow.drawing.layout import layout
from aegis.workflow.drawing.picture import Box, Picture, Wire
from aegis.workflow.graph import Step, Workflow

WIDTH = 80
_FRAMES = {
    "agent": "╭─╮││╰─╯", "tool": "┌─┐││└─┘", "emit": "┌─┐││└─┘", "approval": "╔═╗║║╚═╝", "workflow": "┏━┓┃┃┗━┛", "wait": "┌┄┐┆┆└┄┘",
}  # fmt: skip
_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_LINES = {
    _UP | _DOWN: "│", _LEFT | _RIGHT: "─", _UP | _RIGHT: "└", _UP | _LEFT: "┘", _DOWN | _RIGHT: "┌", _DOWN | _LEFT: "┐",
    _UP | _DOWN | _LEFT | _RIGHT: "┼",
}  # fmt: skip


def text(workflow: Workflow, states: Mapping[str, str] | None = None, *, width: int = WIDTH) -> str:
    """The drawing in at most `width` columns; lines have no spaces at their ends."""
    picture = layout(workflow, states)
    if picture is None or picture.width > width:
        return "\n".join(_listed(workflow, states or {}, width))
    return "\n".join(_drawn(picture))


def _drawn(picture: Picture) -> list[str]:
    cells = [[" "] * picture.width for _ in range(picture.height)]
    crossing: dict[tuple[int, int], int] = {}
    for wire in picture.wires:
        for point, bits in _strokes(wire):
            crossing[point] = crossing.get(point, 0) | bits
    for (x, y), bits in crossing.items():
        cells[y][x] = _LINES.get(bits, "│")
    for box in picture.boxes:
        _frame(cells, box)
    for wire in picture.wires:
        cells[wire.points[0][1] - 1][wire.points[0][0]] = "┬"
        cells[wire.points[-1][1] + 1][wire.points[-1][0]] = "▼"
        for place, character in enumerate(wire.label):
            cells[wire.at[1]][wire.at[0] + place] = character
    return ["".join(row).rstrip() for row in cells]


def _strokes(wire: Wire) -> Iterator[tuple[tuple[int, int], int]]:
    """Each cell of a wire with the sides at which it goes on."""
    cells: list[tuple[int, int]] = []
    for here, there in zip(wire.points, wire.points[1:], strict=False):
        (x, y), (to_x, to_y) = here, there
        step = (_sign(to_x - x), _sign(to_y - y))
        while (x, y) != (to_x, to_y):
            cells.append((x, y))
            x, y = x + step[0], y + step[1]
    cells.append(wire.points[-1])
    for place, cell in enumerate(cells):
        before = cells[place - 1] if place else (cell[0], cell[1] - 1)
        after = cells[place + 1] if place + 1 < len(cells) else (cell[0], cell[1] + 1)
        yield cell, _side(cell, before) | _side(cell, after)


def _side(cell: tuple[int, int], other: tuple[int, int]) -> int:
    if other[0] != cell[0]:
        return _RIGHT if other[0] > cell[0] else _LEFT
    return _DOWN if other[1] > cell[1] else _UP


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _frame(cells: list[list[str]], box: Box) -> None:
    left, right, top, bottom = box.x, box.x + box.width - 1, box.y, box.y + box.height - 1
    marks = _FRAMES[box.shape]
    for x in range(left, right + 1):
        cells[top][x], cells[bottom][x] = marks[1], marks[6]
    for y in range(top + 1, bottom):
        cells[y][left], cells[y][right] = marks[3], marks[4]
    cells[top][left], cells[top][right], cells[bottom][left], cells[bottom][right] = marks[0], marks[2], marks[5], marks[7]
    for row, line in enumerate(box.lines):
        for place, character in enumerate(line):
            cells[top + 1 + row][left + 2 + place] = character


def _listed(workflow: Workflow, states: Mapping[str, str], width: int) -> Iterator[str]:
    """The steps in order, each with what it waits for and what comes over."""
    waits: dict[str, list[str]] = {}
    for edge in edges(workflow):
        waits.setdefault(edge.target, []).append(edge.source + (f" ({edge.label})" if edge.label else ""))
    digits = len(str(len(workflow.steps)))
    for number, step in enumerate(workflow.steps, 1):
        indent = " " * (digits + 2)
        yield from _wrapped(_head(step, states.get(step.id, "")), f"{number:>{digits}}. ", indent, width)
        yield from _wrapped(f"after {', '.join(waits[step.id])}" if step.id in waits else "", indent, indent, width)
        yield from _wrapped(f"gives {given}" if (given := contract(step)) else "", indent, indent, width)


def _head(step: Step, state: str) -> str:
    told = f"{step.id}: {step.role}, {does(step)}"
    return f"{told} {sign(state)} {state}" if state else told


def _wrapped(words: str, first: str, indent: str, width: int) -> Iterator[str]:
    line, empty = first, True
    for word in words.split():
        if not empty and len(line) + len(word) > width:
            yield _cut(line.rstrip(), width)
            line = indent
        line, empty = f"{line}{word} ", False
    if not empty:
        yield _cut(line.rstrip(), width)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"
