"""`aegis contract check`: whether a new version of a tool's contract says honestly what it changes."""

from pathlib import Path

import click

from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED


@click.group()
def contract() -> None:
    """Look after the contracts of tools."""


@contract.command()
@click.argument("old", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("new", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_context
def check(ctx: click.Context, old: Path, new: Path) -> int:
    """Compare the contracts in OLD and NEW. Exit code 1 when NEW breaks callers of OLD without a new major version."""
    from aegis.adapters.catalogue import read
    from aegis.model import evolution
    from aegis.model.contract import contract as load
    from aegis.model.document import parse

    before, after = (load(parse(read(path), source=str(path))) for path in (old, new))
    found, wrong = evolution.changes(before, after), evolution.complaint(before, after)
    if context.as_json(ctx):
        output.document("contract", {"ok": not wrong, "problem": wrong, "changes": found})
        return FAILED if wrong else DONE
    output.table(
        ("change", "where", "what"), [(str(c.weight), c.place, c.text) for c in found], empty="nothing that a caller could notice"
    )
    click.echo(f"\n{before.name} {before.version} -> {after.version}: {wrong or 'the version says what has changed'}")
    return FAILED if wrong else DONE
