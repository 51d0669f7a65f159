"""A workflow as SVG: the same picture with a cell of 8 by 18 pixels.

Roles are told by the shape of a box and by its text, states by a sign and a word: colour only helps. The page asks nothing of the
network, holds no script, and follows the reader's dark or light setting.
"""

from collections.abc import Mapping
from html import escape

from aegis.workflow.drawing.layout import layout
from aegis.workflow.drawing.picture import Box, Picture, Wire
from aegis.workflow.graph import Workflow

CELL = 8
ROW = 18
MARGIN = 16
LEGEND = 30
_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
_STYLE = f"""
svg {{ background: #ffffff; }}
text {{ font: 12px {_FONT}; fill: #1c2430; white-space: pre; }}
.id {{ font-weight: 700; }}
.quiet {{ fill: #57606a; }}
.box {{ stroke: #57606a; stroke-width: 1.3; fill: #f3f4f6; }}
.planner {{ fill: #ede7f9; }} .retriever {{ fill: #e3effb; }} .executor {{ fill: #e6f4ea; }}
.validator {{ fill: #fdf3d8; }} .approver {{ fill: #fbe6e6; }}
.failed, .rejected, .expired, .compensation_failed, .parked {{ stroke: #b3261e; stroke-width: 3; }}
.succeeded, .approved {{ stroke: #1a7f37; stroke-width: 2.5; }}
.skipped, .cancelled {{ stroke-dasharray: 2 4; }}
.issued, .offered, .held, .waiting, .paused {{ stroke: #0b57d0; stroke-width: 2.5; stroke-dasharray: 7 3; }}
.wire {{ fill: none; stroke: #57606a; stroke-width: 1.4; }}
.waits {{ stroke-dasharray: 3 3; }}
.under {{ fill: none; stroke: #ffffff; stroke-width: 5; }}
.tip {{ fill: #57606a; }}
@media (prefers-color-scheme: dark) {{
svg {{ background: #14181f; }}
text {{ fill: #e6e9ee; }} .quiet {{ fill: #a8b1bd; }}
.box {{ stroke: #a8b1bd; fill: #232a34; }}
.planner {{ fill: #372e52; }} .retriever {{ fill: #1e3450; }} .executor {{ fill: #1f3b2a; }}
.validator {{ fill: #463a15; }} .approver {{ fill: #4c2626; }}
.wire {{ stroke: #a8b1bd; }} .under {{ stroke: #14181f; }} .tip {{ fill: #a8b1bd; }}
}}
"""
_ROLES = ("planner", "retriever", "executor", "validator", "approver")


def svg(workflow: Workflow, states: Mapping[str, str] | None = None) -> str:
    """The drawing as a document of its own; empty when the workflow has too many edges to be drawn."""
    picture = layout(workflow, states)
    if picture is None:
        return ""
    width = max(picture.width * CELL, _legend_width()) + 2 * MARGIN
    height = picture.height * ROW + 2 * MARGIN + LEGEND
    title = escape(f"workflow {workflow.name} {workflow.version}")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{title}</title>",
            f"<desc>{escape(_described(picture))}</desc>",
            f"<style>{_STYLE}</style>",
            f'<g transform="translate({MARGIN} {MARGIN})">',
            *(_under(wire) for wire in picture.wires),
            *(line for wire in picture.wires for line in _wire(wire)),
            *(line for box in picture.boxes for line in _box(box)),
            "</g>",
            *_legend(height),
            "</svg>",
            "",
        ]
    )


def _described(picture: Picture) -> str:
    """The picture in words, for whoever does not see it."""
    boxes = "; ".join(", ".join(box.lines) for box in picture.boxes)
    wires = "; ".join(f"{wire.source} to {wire.target}{f' with {wire.label}' if wire.label else ''}" for wire in picture.wires)
    return f"steps: {boxes}. edges: {wires or 'none'}."


def _way(wire: Wire) -> str:
    points = [(x * CELL + CELL // 2, y * ROW + ROW // 2) for x, y in wire.points]
    (first_x, first_y), (last_x, last_y) = points[0], points[-1]
    points = [(first_x, first_y - ROW // 2), *points, (last_x, last_y + ROW // 2 - 5)]
    return "M" + " L".join(f"{x} {y}" for x, y in points)


def _under(wire: Wire) -> str:
    return f'<path class="under" d="{_way(wire)}"/>'


def _wire(wire: Wire) -> list[str]:
    x, y = wire.points[-1][0] * CELL + CELL // 2, (wire.points[-1][1] + 1) * ROW
    found = [
        f'<path class="wire{"" if wire.carries else " waits"}" d="{_way(wire)}"/>',
        f'<path class="tip" d="M{x} {y} l-4 -7 h8 z"/>',
    ]
    if wire.label:
        at = wire.at[0] * CELL, wire.at[1] * ROW + ROW - 6
        found.append(f'<text class="quiet" x="{at[0]}" y="{at[1]}">{escape(wire.label)}</text>')
    return found


def _box(box: Box) -> list[str]:
    x, y, width, height = box.x * CELL, box.y * ROW, box.width * CELL, box.height * ROW
    state = f" {escape(box.state)}" if box.state else ""
    found = [f'<path class="box {box.role}{state}" d="{shape(box.role, x, y, width, height)}"/>']
    top = y + (height - len(box.lines) * ROW) // 2 + 13
    for row, line in enumerate(box.lines):
        style = ' class="id"' if row == 0 else ' class="quiet"' if row == 1 else ""
        found.append(f'<text{style} x="{x + 2 * CELL}" y="{top + row * ROW}">{escape(line)}</text>')
    return found


def shape(role: str, x: int, y: int, width: int, height: int) -> str:
    """The outline of a role: a hexagon plans, a slanted box fetches, a plain one acts, a rounded one checks, a cut one approves."""
    right, bottom, middle, cut = x + width, y + height, y + height // 2, min(10, height // 3)
    if role == "planner":
        return f"M{x} {middle} L{x + cut} {y} H{right - cut} L{right} {middle} L{right - cut} {bottom} H{x + cut} Z"
    if role == "retriever":
        return f"M{x + 8} {y} H{right + 4} L{right - 8} {bottom} H{x - 4} Z"
    if role == "validator":
        return (
            f"M{x + cut} {y} H{right - cut} Q{right} {y} {right} {y + cut} V{bottom - cut} Q{right} {bottom} {right - cut} "
            f"{bottom} H{x + cut} Q{x} {bottom} {x} {bottom - cut} V{y + cut} Q{x} {y} {x + cut} {y} Z"
        )
    if role == "approver":
        return (
            f"M{x + cut} {y} H{right - cut} L{right} {y + cut} V{bottom - cut} L{right - cut} {bottom} "
            f"H{x + cut} L{x} {bottom - cut} V{y + cut} Z"
        )
    return f"M{x} {y} H{right} V{bottom} H{x} Z"


def _legend_width() -> int:
    return sum(len(role) * CELL + 44 for role in _ROLES)


def _legend(height: int) -> list[str]:
    """Which outline is which role."""
    found, x, y = [], MARGIN, height - MARGIN - 14
    for role in _ROLES:
        found.append(f'<path class="box {role}" d="{shape(role, x, y, 26, 16)}"/>')
        found.append(f'<text class="quiet" x="{x + 34}" y="{y + 12}">{role}</text>')
        x += len(role) * CELL + 44
    return found
