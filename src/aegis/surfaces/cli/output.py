"""What commands print: tables and sentences for people, one JSON document for programs. Results go to standard output."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

SCHEMA = "aegis.cli/v1"
_STYLES = {
    "allow": "green", "done": "green", "approved": "green", "ok": "green",
    "sanitize": "cyan", "decided": "cyan", "used": "cyan", "executing": "cyan", "reopened": "cyan",
    "approval_needed": "yellow", "held": "yellow", "pending": "yellow", "unknown": "bold yellow", "interrupted": "yellow",
    "succeeded": "green", "compensated": "cyan", "undone": "cyan", "running": "cyan", "undoing": "cyan", "unwinding": "yellow",
    "waiting": "yellow", "paused": "yellow", "offered": "cyan", "parked": "bold yellow", "stuck": "red", "halted": "red",
    "undo failed": "red", "skipped": "dim", "cancelled": "dim",
    "deny": "red", "denied": "red", "failed": "red", "expired": "dim", "refused": "red",
}  # fmt: skip


def document(kind: str, value: Any) -> None:
    """One JSON document with its schema; it only ever grows."""
    built = msgspec.to_builtins(value)
    content = (
        {"schema": f"{SCHEMA}#{kind}", **built} if isinstance(built, Mapping) else {"schema": f"{SCHEMA}#{kind}", "items": built}
    )
    click.echo(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())


def line(value: Any) -> None:
    """One JSON object on a line, for streams."""
    click.echo(msgspec.json.encode(value).decode())


def table(names: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str, keep: Sequence[str] = ()) -> None:
    """A table for people. Columns in `keep` (ids) are never cut; the others wrap, between words where that is enough."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = [[("" if cell is None else harmless(str(cell))) for cell in row] for row in rows]
    if not found:
        click.echo(empty)
        return
    console = Console(file=sys.stdout, highlight=False, soft_wrap=False, width=columns())
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    kept = [place == 0 or name in keep for place, name in enumerate(names)]
    for name, width in zip(names, _widths([names, *found], kept, columns()), strict=True):
        drawn.add_column(name, no_wrap=name in keep, overflow="fold", width=width)
    for row in found:
        drawn.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    with console.capture() as drawing:
        console.print(drawn)
    click.echo("\n".join(line.rstrip() for line in drawing.get().splitlines()))


def _widths(rows: Sequence[Sequence[str]], kept: Sequence[bool], room: int) -> list[int | None]:
    """How wide each column is so that only lines wrap and no word; nothing is said where that cannot be, or need not."""
    cells = list(zip(*rows, strict=True))
    wanted = [max(map(len, column)) for column in cells]
    words = [max(map(len, " ".join(column).split()), default=0) for column in cells]
    least = [want if keep else word for want, word, keep in zip(wanted, words, kept, strict=True)]
    left = room - sum(least) - 2 * len(cells)
    if left < 0 or sum(wanted) + 2 * len(cells) <= room:
        return [None] * len(cells)
    found: list[int | None] = list(least)
    for place in sorted(range(len(cells)), key=lambda each: wanted[each]):
        more = min(left, wanted[place] - least[place])
        found[place], left = least[place] + more, left - more
    return found


def fields(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one a line, aligned; empty values are left out."""
    shown = [(name, str(value)) for name, value in pairs if value not in (None, "", (), [])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{click.style(name.ljust(width), dim=True)}  {value}")


def harmless(text: str) -> str:
    """`text` for a terminal: what agents and tools wrote moves no cursor and turns no line around; lines stay lines."""
    from aegis.surfaces.cli.audit import shown

    return "\n".join(map(shown.harmless, text.split("\n")))


def indented(value: Any) -> None:
    """A value that came from outside, as JSON that a person reads and a program could."""
    click.echo(harmless(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


def columns(unknown: int = 120) -> int:
    """How wide the output is: of the terminal, or what `COLUMNS` says; `unknown` where nobody knows, as in a file."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return shutil.get_terminal_size().columns if known else unknown


def wrapped(text: str, indent: int = 4) -> None:
    """A sentence in lines of at most 80 columns, fewer on a narrow terminal, set in."""
    width = min(80, max(40, shutil.get_terminal_size().columns))
    for row in textwrap.wrap(text, width - indent, break_long_words=False, break_on_hyphens=False):
        click.echo(" " * indent + row)


def word(value: str, width: int = 0) -> str:
    """A state or outcome in its colour (none when the output is not a terminal), at least `width` wide as it is seen."""
    style = _STYLES.get(value, "").replace("bold ", "")
    shown = value.ljust(width)
    return click.style(shown, fg=style or None) if style not in ("dim", "") else shown


def limit(value: Any) -> str:
    """A limit as the policy writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def ago(time: datetime) -> str:
    """How long ago, in words a person reads at a glance."""
    seconds = int((datetime.now(UTC) - time).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{abs(seconds) // size} {unit}" + (" ago" if seconds >= 0 else " from now")
    return f"{abs(seconds)} s" + (" ago" if seconds >= 0 else " from now")
