"""`aegis keys root`: offline keys that must have signed the public keys of this host."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from aegis.app import App
from aegis.errors import ConfigError, IdentityError
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group

DAYS = 90


@click.group(cls=Group)
def root() -> None:
    """Offline keys that must have signed public.json before a gateway believes it (optional)."""


@root.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.pass_context
def new(ctx: click.Context, directory: Path) -> None:
    """Make a root key in DIRECTORY, which should be a medium that you can take away."""
    from aegis.adapters import keyfiles

    key = keyfiles.create_offline(directory)
    if context.as_json(ctx):
        output.document("key", {"kid": key.kid, "class": "root", "did": "made", "x": key.public.x})
        return
    click.echo(
        f"made root key {key.kid} in {directory}\nnext: aegis keys root enroll {key.public.x} --owner person:NAME --threshold N"
    )


@root.command(context_settings=context.IDS)
@click.argument("public", metavar="X")
@click.option("--owner", required=True, help="Who holds the key (person:NAME); two keys of one person count once.")
@click.option("--threshold", type=click.IntRange(1, 16), help="How many people must sign from now on.")
@click.pass_context
def enroll(ctx: click.Context, public: str, owner: str, threshold: int | None) -> None:
    """Put the root key with the public half X into keys/root.json. Gateways that have a root must be told: accept."""
    from aegis.adapters import rootkeys
    from aegis.crypto.jwk import public_key
    from aegis.identity.directory import PERSON

    if not PERSON.fullmatch(owner):
        raise click.UsageError("--owner is a person such as person:alice")
    try:
        key = public_key(public)
    except IdentityError as error:
        raise ConfigError(f"X is the public half of a root key in base64url, as `aegis keys root new` prints it: {error}") from None
    found = rootkeys.enroll(context.settings(ctx).keys, key, owner, threshold)
    held = len({each.owner for each in found.keys})
    if context.as_json(ctx):
        output.document("root", {"keys": [each.kid for each in found.keys], "people": held, "threshold": found.threshold})
        return
    people = "person holds" if held == 1 else "people hold"
    click.echo(f"root key {key.kid} of {owner} is enrolled; {held} {people} one, {found.threshold} must sign")


@root.command()
@click.argument("key_file", type=click.Path(path_type=Path))
@click.option("--days", type=click.IntRange(1, 3650), default=DAYS, show_default=True, help="How long it is to be believed.")
@click.pass_context
def sign(ctx: click.Context, key_file: Path, days: int) -> None:
    """Sign public.json as it lies here with the root key in KEY_FILE. Read it first: `aegis keys list`."""
    from aegis.adapters import keyfiles, publickeys, rootkeys, wholefile

    home = context.settings(ctx).keys
    keyfiles.load_public(home)
    content, key = wholefile.read_public(home / publickeys.FILE), keyfiles.read_private_key(key_file)
    said, people = rootkeys.sign(home, content, key, now=datetime.now(UTC), lasting=timedelta(days=days))
    if context.as_json(ctx):
        output.document("signed", {"version": said.version, "expires": said.expires, "people": people})
        return
    who = f"{people} {'person has' if people == 1 else 'people have'} signed"
    click.echo(f"signed version {said.version} of the public keys, good until {said.expires:%Y-%m-%d}; {who}")


@root.command()
@click.pass_context
def verify(ctx: click.Context) -> None:
    """Say whether enough people have signed the public keys of this host."""
    from aegis.adapters import keyfiles

    keys, version, _ = keyfiles.load_believed(context.settings(ctx).keys, datetime.now(UTC))
    if context.as_json(ctx):
        output.document("verified", {"version": version, "keys": len(keys.entries())})
        return
    told = f"version {version} of the public keys is signed" if version else "there is no root: public.json is believed as it is"
    click.echo(f"{told}; it lists {len(keys.entries())} keys")


@root.command()
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def accept(ctx: click.Context, person: str, tenant: str | None) -> None:
    """Say that the root and the version that lie here are meant, when they are not those that were in force before."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> int:
        return (await app.key_changes.accept(person, context.signed_by(app, name, person))).version

    version = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("accepted", {"version": version})
        return
    click.echo(f"accepted: version {version} of the public keys" if version else "accepted: there is no root any more")
