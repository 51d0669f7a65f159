"""`aegis witness init` and `aegis witness add`."""

from pathlib import Path

import click

from aegis.surfaces.cli import context, output


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Of the witness, without spaces and +; a host name of yours, such as witness.example.")
@click.option("--log", "logs", multiple=True, metavar="VKEY", help="Key of a log that it is to know; may be given several times.")
@click.pass_context
def init(ctx: click.Context, directory: Path, name: str, logs: tuple[str, ...]) -> None:
    """Make a witness in DIRECTORY, with a key of its own. Do it on a host that the gateway's administrators cannot change."""
    from aegis.adapters.witness import home

    made = home.create(directory, name, logs)
    if context.as_json(ctx):
        output.document("witness", {"name": name, "vkey": made.verifier.vkey, "logs": len(logs)})
        return
    click.echo(f"made witness {name} in {directory}; it knows {len(logs)} {'key' if len(logs) == 1 else 'keys'} of logs\n")
    click.echo(f"its key, for auditors and for `witness_key` of the gateway:\n{made.verifier.vkey}\n")
    click.echo(f"next: aegis witness serve {directory}")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("logs", nargs=-1, required=True, metavar="VKEY...")
@click.pass_context
def add(ctx: click.Context, directory: Path, logs: tuple[str, ...]) -> None:
    """Let the witness in DIRECTORY know these keys of logs; one that serves follows at once."""
    from aegis.adapters.witness import home

    home.load(directory)
    fresh = home.add(directory, logs)
    if context.as_json(ctx):
        output.document("witness", {"added": fresh})
        return
    click.echo(f"added {fresh}; {len(logs) - fresh} were known")
