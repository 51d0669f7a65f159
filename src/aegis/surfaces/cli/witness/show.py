"""`aegis witness show`."""

from datetime import UTC, datetime
from pathlib import Path

import click

from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED

_FORK = "a fork: the log has signed two trees of one size; both notes are kept"
_UNPROVEN = "unproven: the log has signed this, and no proof that it follows was sent"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.pass_context
def show(ctx: click.Context, directory: Path) -> int:
    """Show the key of the witness in DIRECTORY, what it cosigned last, and what it refused. Exit code 1 when there is a fork."""
    from aegis.adapters.witness import home, states

    found = home.load(directory)
    logs = home.logs(directory)
    known = {each.checkpoint.origin: each for each in states.known(found)}
    refused = states.conflicts(found)
    forks = [path for path in refused if path.name.startswith("fork-")]
    rows = [
        (
            name,
            len(keys),
            known[name].checkpoint.size if name in known else None,
            _when(known[name].time) if name in known else None,
        )
        for name, keys in sorted(logs.items())
    ]
    if context.as_json(ctx):
        names = ("origin", "keys", "size", "cosigned_at")
        output.document(
            "witness",
            {
                "name": found.name,
                "vkey": found.verifier.vkey,
                "logs": [{**dict(zip(names, row, strict=True)), "state": str(states.place_of(found, row[0]))} for row in rows],
                "conflicts": [{"file": str(path), "fork": path in forks} for path in refused],
            },
        )
        return FAILED if forks else DONE
    click.echo(f"{found.name}\n{found.verifier.vkey}\n")
    shown = [(name, keys, "" if size is None else size, at or "never") for name, keys, size, at in rows]
    output.table(("log", "keys", "size", "cosigned"), shown, empty="it knows no log; `aegis witness add` makes it know one")
    for path in refused:
        click.echo(f"\n{path.relative_to(directory)}")
        output.wrapped(_FORK if path in forks else _UNPROVEN)
    return FAILED if forks else DONE


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
