"""`aegis witness keys`: what a witness and an auditor of this gateway need to know, and nothing secret."""

from datetime import UTC, datetime

import click

from aegis.surfaces.cli import context, output


@click.command()
@click.pass_context
def keys(ctx: click.Context) -> None:
    """Print the keys of this gateway's logs as lines `log VKEY`: for logs.txt of a witness, or a policy file of an auditor."""
    from aegis.adapters import keyfiles
    from aegis.crypto import note
    from aegis.crypto.jwk import PublicKey
    from aegis.model.event import origin

    now = datetime.now(UTC)
    entries = [entry for entry in keyfiles.load_public(context.settings(ctx).keys).entries() if entry.key_class == "log"]
    found = [
        note.vkey(origin(entry.tenant), entry.key)
        for entry in entries
        if isinstance(entry.key, PublicKey) and (entry.not_after is None or now < entry.not_after)
    ]
    if context.as_json(ctx):
        output.document("witness", {"logs": found})
        return
    click.echo("\n".join(f"log {vkey}" for vkey in found) or "there are no keys of class log; `aegis keys new log` makes one")
