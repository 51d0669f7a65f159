"""The access matrix as a table for a terminal, as CSV (RFC 4180), and as one HTML page that needs nothing else."""

import csv as format_csv
import io
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aegis.policy.access.matrix import Approvals, Cell, Matrix
    from aegis.policy.access.witness import Witness

FORMULA = ("=", "+", "-", "@", "\t", "\r")
Line = tuple[str, str, Sequence[str]]


def lines(made: "Matrix") -> Iterator[Line]:
    """(kind, who, cells in the order of the tools) of every row."""
    for row in made.rows:
        yield row.kind, row.name, [row.cells[tool].words for tool in made.tools]
    for each in made.people:
        yield "approver", each.name, [each.cells[tool].words for tool in made.tools]


def table(made: "Matrix", *, width: int) -> str:
    """A grid where it fits into `width` columns, else one line for each thing that somebody may do."""
    found = [(kind, who, [_dash(cell) for cell in cells]) for kind, who, cells in lines(made)]
    if not found or not made.tools:
        return "nobody who could call, or no tools: see directory.yaml and tools/\n"
    grid = [["", "who", *made.tools], *([kind, who, *cells] for kind, who, cells in found)]
    if sum(_widths(grid)) + 2 * len(grid[0]) <= width:
        return _drawn(grid)
    listed = [["", "who", "tool", "may"]]
    for kind, who, cells in found:
        reached = [(tool, cell) for tool, cell in zip(made.tools, cells, strict=True) if cell != "-"]
        for tool, cell in reached or [("(no tool)", "-")]:
            listed.append([kind, who, tool, cell])
            kind = who = ""  # noqa: PLW2901 - said once for each block
    return _drawn(listed)


def csv(made: "Matrix") -> str:
    """The grid; a cell that a spreadsheet would take for a formula gets an apostrophe in front."""
    text = io.StringIO()
    writer = format_csv.writer(text, lineterminator="\r\n")
    writer.writerow(["kind", "who", *map(_inert, made.tools)])
    writer.writerows([kind, _inert(who), *map(_inert, cells)] for kind, who, cells in lines(made))
    return text.getvalue()


def html(made: "Matrix", *, tenant: str, policy: str) -> str:
    """One page: the grid, and below it the call that shows each cell."""
    style = files("aegis.surfaces.cli").joinpath("access.css").read_text("utf-8")
    sections = [_section(made, "Roles", "role"), _section(made, "Agents", "agent"), _people(made)]
    return _PAGE.format(
        title=escape(f"Access matrix of {tenant}"),
        policy=escape(policy),
        style=style,
        sections="\n".join(section for section in sections if section),
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>Decided by {policy}</p>
<dl class="legend">
<div><dt class="allow">allow</dt><dd>a call was decided so</dd></div>
<div><dt class="sanitize">sanitize</dt><dd>passes with parts masked</dd></div>
<div><dt class="approval">approval</dt><dd>waits for people</dd></div>
<div><dt class="maybe">maybe</dt><dd>neither proven nor seen</dd></div>
<div><dt class="none">none</dt><dd>proven that nothing passes</dd></div>
<div><dt class="if">if</dt><dd>depends on arguments or history</dd></div>
</dl>
</header>
<main>
{sections}
</main>
</body>
</html>
"""


def _section(made: "Matrix", title: str, kind: str) -> str:
    rows = [row for row in made.rows if row.kind == kind]
    if not rows:
        return ""
    about = {
        "role": "What the policy gives to a caller with this role alone, whatever its scopes.",
        "agent": "What this agent reaches today, with its own scopes, roles and trust.",
    }[kind]
    grid = _grid(made.tools, [(row.name, [_shown(row.cells[tool]) for tool in made.tools]) for row in rows])
    return f"<section><h2>{title}</h2><p>{about}</p>\n{grid}\n</section>"


def _people(made: "Matrix") -> str:
    if not made.people:
        return ""
    rows = [(each.name, [_answers(each.cells[tool]) for tool in made.tools]) for each in made.people]
    about = "Whose held calls these people may answer."
    return f"<section><h2>Approvers</h2><p>{about}</p>\n{_grid(made.tools, rows)}\n</section>"


def _grid(tools: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    head = "".join(f'<th scope="col">{escape(tool)}</th>' for tool in tools)
    body = "\n".join(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>' for name, cells in rows)
    return f'<div class="scroll"><table>\n<thead><tr><td></td>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _shown(cell: "Cell") -> str:
    words = cell.words
    kind = words.removesuffix(" if").split("/")[0].rstrip("?")
    return f'<td class="{escape(kind)}">{_told(words, [*cell.permits.values(), *cell.holds.values()])}</td>'


def _answers(cell: "Approvals") -> str:
    kind = {"approves": "approval"}.get(cell.words, cell.words)
    return f'<td class="{escape(kind)}">{_told(cell.words, list(cell.seen.values()))}</td>'


def _told(words: str, seen: Sequence["Witness"]) -> str:
    """The words of a cell; opened, the calls that show them."""
    if not seen:
        return f"<span>{escape(words)}</span>"
    calls = {id(each): each for each in seen}.values()
    return f"<details><summary>{escape(words)}</summary>{''.join(map(_example, calls))}</details>"


def _example(witness: "Witness") -> str:
    from aegis.policy.access.check import inline

    given = "\n".join(f"{path}: {inline(value)}" for path, value in witness.given.items())
    by = ", ".join(witness.rules)
    return f"<p><b>{escape(str(witness.outcome))}</b> by {escape(by)}</p><pre>{escape(given)}</pre>"


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _dash(cell: str) -> str:
    return "-" if cell == "none" else cell


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]


def _drawn(rows: Sequence[Sequence[str]]) -> str:
    widths = _widths(rows)
    return "".join(f"{'  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()}\n" for row in rows)
