"""`aegis audit checkpoint`: the signed note that somebody else keeps."""

import click

from aegis.app import App
from aegis.errors import ConfigError
from aegis.runtime.checkpoints import Sealed, said
from aegis.surfaces.cli import context, output


@click.command()
@click.option("--now", is_flag=True, help="Seal what was recorded since, instead of waiting for a gateway to do it.")
@context.tenant_option
@click.pass_context
def checkpoint(ctx: click.Context, now: bool, tenant: str | None) -> None:
    """Print the newest signed checkpoint of a log: whoever keeps it can prove later that the log was put back or rewritten.

    \b
    aegis audit checkpoint > acme-2026-11-21.note
    aegis-verify BUNDLE --key VKEY --against acme-2026-11-21.note
    """  # noqa: D301 - click reads the \b
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> Sealed | None:
        if now:
            await app.sealer.check()
            await app.sealer.seal()
        return await app.sealer.sealed(name)

    found = context.with_app(ctx, work)
    if found is None:
        raise ConfigError(f"no checkpoint of tenant `{name}` yet: a gateway that runs seals within a second, or pass --now")
    if context.as_json(ctx):
        told = said(found.note)
        output.document(
            "checkpoint",
            {
                "tenant": name,
                "origin": told.origin,
                "size": told.size,
                "root": told.root.hex(),
                "at": found.at,
                "cosigned_at": found.cosigned_at,
                "note": found.note,
            },
        )
        return
    click.echo(found.note, nl=False)
