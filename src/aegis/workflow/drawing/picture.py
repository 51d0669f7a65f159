"""A drawing on a grid of characters, before it is rendered. Columns count from the left and rows from the top, both from 0."""

from msgspec import Struct

Point = tuple[int, int]


class Box(Struct, frozen=True, kw_only=True):
    """A step: its text in a frame of `width` and `height` (with the frame). `shape` is its kind, and `role` its role."""

    id: str
    x: int
    y: int
    width: int
    height: int
    lines: tuple[str, ...]
    shape: str
    role: str
    state: str = ""


class Wire(Struct, frozen=True, kw_only=True):
    """An edge: a way of straight pieces from below its source to above its target, and its label at `at`, from there rightwards."""

    source: str
    target: str
    points: tuple[Point, ...]
    label: str = ""
    at: Point = (0, 0)
    carries: bool = False


class Picture(Struct, frozen=True, kw_only=True):
    """Boxes that do not overlap, and wires that only cross."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]
