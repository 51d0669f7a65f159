"""Tells the story at 80 columns and keeps count of what was told."""

import textwrap
from typing import Any

import click
from msgspec import Struct

_COLOUR = {
    "allow": "green",
    "sanitize": "cyan",
    "repeat": "blue",
    "held": "yellow",
    "deny": "red",
    "conflict": "red",
    "refused": "red",
}
_EFFECTS = {"payments.transfer": "payments", "deploy.apply": "deploy", "records.read": "records"}


class Told(Struct, kw_only=True):
    """One row of the table: what was asked, how it ended, how it should have."""

    what: str
    ended: str
    want: str
    tool: str = ""


class Tale:
    """The narrator. `effects` counts, for each tool, how often it should have acted."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self.rows: list[Told] = []
        self.expectations: list[tuple[str, bool]] = []
        self.effects = {"payments": 0, "deploy": 0, "records": 0}
        self._tool = ""

    def say(self, text: str) -> None:
        """A line of the story."""
        if not self._quiet:
            click.echo(f"  {text}" if self.rows or self._tool else text)

    def act(self, title: str) -> None:
        """Begin an act."""
        self._tool = title
        if not self._quiet:
            click.echo(f"\n{click.style(title, bold=True)}")

    def told(self, what: str, answer: dict[str, Any], *, want: str, effect: int = 0, shows: tuple[str, ...] = ()) -> None:
        """One call and what came of it. `effect` is how often the tool should have acted."""
        ended = _ended(answer)
        tool = _tool_of(self._tool)
        self.effects[tool] = self.effects.get(tool, 0) + effect
        self.rows.append(Told(what=what, ended=ended, want=want, tool=tool))
        if self._quiet:
            return
        mark = "" if ended == want else click.style(f"  (expected {want})", fg="red", bold=True)
        click.echo(f"  {what:<32} {click.style(ended, fg=_COLOUR.get(ended)):<18}{mark}")
        for line in _why(answer, shows):
            click.echo(click.style(f"      {line}", dim=True))

    def expect(self, what: str, holds: bool) -> None:
        """Something that must be true at this point."""
        self.expectations.append((what, holds))
        if not self._quiet:
            click.echo(f"  {click.style('ok ' if holds else 'NO ', fg='green' if holds else 'red')} {what}")

    def table(self, checks: list[tuple[str, bool]]) -> bool:
        """The table at the end; whether everything agrees."""
        wrong = [row for row in self.rows if row.ended != row.want]
        failed = [what for what, holds in (*self.expectations, *checks) if not holds]
        if self._quiet:
            from aegis.surfaces.cli import output

            output.document(
                "demo",
                {
                    "agreed": not wrong and not failed,
                    "rows": self.rows,
                    "checks": [{"what": what, "holds": holds} for what, holds in (*self.expectations, *checks)],
                },
            )
            return not wrong and not failed
        click.echo(f"\n{click.style('What was asked, what was decided', bold=True)}")
        for row in self.rows:
            sign = "=" if row.ended == row.want else "!"
            click.echo(f"  {sign} {row.what:<42} {click.style(row.ended, fg=_COLOUR.get(row.ended))}")
        click.echo(f"\n{click.style('What the tools themselves wrote down', bold=True)}")
        for what, holds in checks:
            click.echo(f"  {click.style('=' if holds else '!', fg='green' if holds else 'red')} {what}")
        verdict = "Story, journal and tools agree." if not wrong and not failed else f"They do not agree: {failed or wrong}"
        click.echo(f"\n{click.style(verdict, fg='green' if not wrong and not failed else 'red', bold=True)}")
        return not wrong and not failed


def _ended(answer: dict[str, Any]) -> str:
    code = answer.get("problem", {}).get("code", "")
    if answer["ended"] == "done":
        return "repeat" if answer["repeated"] else str(answer["decision"])
    if answer["ended"] == "denied":
        return "deny"
    return "conflict" if code == "idempotency-key-reused" else str(answer["ended"])


def _tool_of(title: str) -> str:
    words = {
        "Payments": "payments", "Patient": "records", "Deployments": "deploy", "Policy": "payments", "Delegation": "payments",
        "Tools": "payments", "Keys": "records",
    }  # fmt: skip
    return words.get(title.split(":", maxsplit=1)[0].split(" ", maxsplit=1)[0], "")


def _why(answer: dict[str, Any], shows: tuple[str, ...]) -> list[str]:
    if answer["ended"] == "done":
        result = answer["result"]
        if shows:
            return [", ".join(f"{name}: {result.get(name, '(removed)')}" for name in shows)]
        found = ", ".join(f"{name} {value}" for name, value in result.items() if name.endswith("_id") or name == "run")
        return [f"{found}" + (f" under {answer['approval_id']}" if answer["approval_id"] else "")]
    problem = answer.get("problem", {})
    detail = str(problem.get("detail", answer.get("text", "")))
    lines = textwrap.wrap(detail, 72)
    if answer["ended"] == "held":
        lines.append(f"waits for a person: {answer['approval_id']}")
    return lines
