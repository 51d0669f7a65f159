"""`aegis init`: a commented working directory that runs as it is."""

from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from aegis.errors import ConfigError
from aegis.surfaces.cli import output
from aegis.surfaces.cli.keysets import make_operators, purposes

TENANT = "acme"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=".")
@click.option("--dry-run", is_flag=True, help="Say what would be written.")
@click.pass_context
def init(ctx: click.Context, directory: Path, dry_run: bool) -> None:
    """Write a working directory: settings, the tenant `acme` with an example tool and policy, and keys.

    Nothing that is there already is overwritten.
    """
    directory = directory if directory.is_absolute() or str(directory) != "." else ctx.obj["dir"]
    wanted = {target: source for source, target in _templates(files("aegis.surfaces.cli") / "templates", directory)}
    there = [path for path in (*wanted, directory / "keys") if path.exists()]
    if there:
        raise ConfigError(f"{there[0]}: is there already; `aegis init` starts in an empty place, for example `aegis init my-aegis`")
    if not dry_run:
        for target, source in wanted.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        make_keys(directory / "keys", TENANT, ("person:alice",))
    if ctx.obj["json"]:
        output.document("init", {"directory": str(directory), "files": sorted(str(p.relative_to(directory)) for p in wanted)})
        return
    click.echo(f"{'would write' if dry_run else 'wrote'} {directory}:")
    for target in sorted(wanted):
        click.echo(f"  {target.relative_to(directory)}")
    click.echo("  keys/   (private: mode 0600, ignored by git)\n\nnext:")
    for line in (
        f"cd {directory}",
        "aegis check                      # everything is sound",
        "python notes_server.py &         # a small tool to try with",
        "aegis up &                       # the gateway",
        "aegis call notes.add --as agent:assistant -a title=Milk -a 'text=buy some' --key note-1",
    ):
        click.echo(f"  {line}")


def make_keys(root: Path, tenant: str, people: tuple[str, ...], agents: tuple[str, ...] = ()) -> None:
    """Every key that a tenant needs to serve its first call and to ship its policy, and one for each of these people and agents."""
    from aegis.adapters import keyfiles, monitorkey

    now = datetime.now(UTC)
    for key_class, owner in purposes(people, agents):
        keyfiles.create(root, key_class, tenant, owner, now=now)
    make_operators(root, now=now)
    monitorkey.create(root)


def _templates(source: Traversable, target: Path) -> list[tuple[Traversable, Path]]:
    found: list[tuple[Traversable, Path]] = []
    for entry in source.iterdir():
        if entry.name == "__pycache__":
            continue
        place = target / (".gitignore" if entry.name == "gitignore" else entry.name)
        found += _templates(entry, place) if entry.is_dir() else [(entry, place)]
    return found
