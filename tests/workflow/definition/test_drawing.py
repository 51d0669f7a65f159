"""A workflow is drawn: no box over another, no wire through a box, no two wires as one, and always the same."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis.workflow.drawing import layout, svg, text
from aegis.workflow.drawing.picture import Picture
from workflow.definition.documents import PROCUREMENT, made, only

ROOT = Path(__file__).parent
FEW = settings(max_examples=40)


def _graph(needs: dict[str, set[str]]) -> dict[str, Any]:
    return only(**{
        name: {"tool": "notes.add", "needs": sorted(before),
               "args": {each: f"$steps.{each}.output.x" for each in sorted(before) if (len(each) + len(name)) % 2}}
        for name, before in needs.items()
    })  # fmt: skip


graphs = st.integers(1, 12).flatmap(
    lambda size: st.lists(st.sets(st.integers(0, 11), max_size=4), min_size=size, max_size=size)
).map(lambda needs: _graph({
    f"s{'x' * (index % 5)}{index}": {f"s{'x' * (each % 5)}{each}" for each in before if each < index}
    for index, before in enumerate(needs)
}))  # fmt: skip


def _cells(picture: Picture) -> tuple[set[tuple[int, int]], list[dict[tuple[int, int], str]]]:
    """The cells of all boxes, of which none may be in two, and those of each wire with the direction in which it goes there."""
    boxes: set[tuple[int, int]] = set()
    for box in picture.boxes:
        area = {(x, y) for x in range(box.x, box.x + box.width) for y in range(box.y, box.y + box.height)}
        assert not area & boxes
        assert max(map(len, box.lines)) + 4 <= box.width
        boxes |= area
    wires = []
    for wire in picture.wires:
        cells: dict[tuple[int, int], str] = {}
        for (x, y), (to_x, to_y) in zip(wire.points, wire.points[1:], strict=False):
            assert x == to_x or y == to_y
            for step_x in range(min(x, to_x), max(x, to_x) + 1):
                for step_y in range(min(y, to_y), max(y, to_y) + 1):
                    way = "|" if x == to_x else "-"
                    cells[step_x, step_y] = way if cells.get((step_x, step_y), way) == way else "+"
        wires.append(cells)
    return boxes, wires


WAITS = _graph(
    {
        "sxxxx0": set(), "sxxxx1": set(), "sxx2": set(), "sxxxxx3": {"sxxxx0", "sxx2"}, "sxxxx4": {"sxxxx0", "sxxxx1", "sxx2"},
    }
)  # fmt: skip
"""One wire leaves at the column at which another one enters."""


@FEW
@given(document=graphs)
@example(document=WAITS)
def test_no_two_things_are_drawn_over_each_other_but_wires_that_cross(document):
    workflow = made(document)
    picture = layout(workflow)
    assert picture is not None
    boxes, wires = _cells(picture)
    for index, wire in enumerate(wires):
        assert not set(wire) & boxes
        for other in wires[:index]:
            for cell in set(wire) & set(other):
                assert {wire[cell], other[cell]} == {"|", "-"}
    labels = [{(wire.at[0] + place, wire.at[1]) for place in range(len(wire.label))} for wire in picture.wires]
    for index, label in enumerate(labels):
        assert not label & boxes
        assert not any(label & set(wire) for wire in wires)
        assert not any(label & other for other in labels[:index])
    assert layout(workflow) == picture


@FEW
@given(document=graphs, width=st.integers(30, 90))
def test_a_text_keeps_to_its_width_and_names_every_step(document, width):
    workflow = made(document)
    drawn = text(workflow, width=width)
    assert all(len(line) <= width and line == line.rstrip() for line in drawn.split("\n"))
    assert all(step.id in drawn for step in workflow.steps)


@FEW
@given(document=graphs)
def test_a_page_is_well_formed_and_says_everything_in_words(document):
    workflow = made(document)
    root = ET.fromstring(svg(workflow, {"s0": "succeeded"}))
    told = root.findtext("{http://www.w3.org/2000/svg}desc") or ""
    assert all(step.id in told for step in workflow.steps)
    assert "✓ succeeded" in told


def test_the_drawings_of_a_known_workflow_are_the_known_ones():
    workflow = made(PROCUREMENT)
    states = {"gather": "succeeded", "score": "issued", "check": "held"}
    for name, drawn in (("procurement.txt", text(workflow, states) + "\n"), ("procurement.svg", svg(workflow, states)),
                        ("list.txt", text(workflow, states, width=30) + "\n")):  # fmt: skip
        assert (ROOT / "golden" / name).read_text() == drawn, f"{name} is drawn otherwise: look at it, then keep it"
