"""Groups of commands that import a command only to run it, so that help, completion and usage errors stay fast."""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

import click

Table = Mapping[str, tuple[str, str, str]]
"""Name of a command to (`module:attribute` below `aegis.surfaces.cli`, group in the help, help line)."""

WHOLE = 1000


class Lazy(click.Group):
    """A group that knows its commands by name."""

    def __init__(self, *args: Any, table: Table, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature of click
        """Names in the order of the help."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the signature of click
        """The command, imported now."""
        if cmd_name not in self._table:
            return None
        module, _, attribute = self._table[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(f"aegis.surfaces.cli.{module}"), attribute)
        assert isinstance(found, click.Command), f"`{cmd_name}` is not a command"
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name when there is no such command."""
        if args and args[0] not in self._table and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self._table, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; `{ctx.command_path} --help` lists them"
            ctx.fail(f"no such command `{args[0]}`{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the signature of click
        """Help lines by group, without importing anything."""
        for group in dict.fromkeys(group for _, group, _ in self._table.values()):
            rows = [(name, line) for name, (_, of, line) in self._table.items() if of == group]
            with formatter.section(group.capitalize()):
                formatter.write_dl(rows)


class Group(click.Group):
    """A group whose help tells the first sentence of each command, whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, without cutting the sentences: the lines wrap."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(WHOLE)) for name, command in found if command is not None])


def lazy_group(name: str, table: Table, help_text: str) -> click.Group:
    """A group below `aegis`."""
    return Lazy(name, table=table, help=help_text)
