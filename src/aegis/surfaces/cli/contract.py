"""`aegis contract check`: whether a new version of a contract, of a tool or of a message, says honestly what it changes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group
from aegis.surfaces.cli.main import DONE, FAILED

if TYPE_CHECKING:
    from aegis.model.contract import Contract


@click.group(cls=Group)
def contract() -> None:
    """Look after the contracts of tools and of messages."""


@contract.command()
@click.argument("old", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("new", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_context
def check(ctx: click.Context, old: Path, new: Path) -> int:
    """Compare the contracts in OLD and NEW. Exit code 1 when NEW breaks callers of OLD without a new major version."""
    from aegis.model import evolution

    before, after = _load(old), _load(new)
    found, wrong = evolution.changes(before, after), evolution.complaint(before, after)
    if context.as_json(ctx):
        output.document("contract", {"ok": not wrong, "problem": wrong, "changes": found})
        return FAILED if wrong else DONE
    output.table(
        ("change", "where", "what"), [(str(c.weight), c.place, c.text) for c in found], empty="nothing that a caller could notice"
    )
    click.echo(f"\n{before.name} {before.version} -> {after.version}: {wrong or 'the version says what has changed'}")
    return FAILED if wrong else DONE


def _load(path: Path) -> "Contract":
    """The contract in a file, whatever it is of."""
    from aegis.adapters.catalogue import read
    from aegis.model.provenance import contract_of

    return contract_of(read(path), source=str(path))
