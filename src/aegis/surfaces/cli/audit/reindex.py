"""`aegis audit reindex`: make the index of searches anew, or check it."""

import click

from aegis.app import App
from aegis.journal.postings import BLOCK
from aegis.journal.store import Finding
from aegis.runtime import indexing
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 when the index would hide an event from a search.")
@context.tenant_option
@click.pass_context
def reindex(ctx: click.Context, check: bool, tenant: str | None) -> int:
    """Make the index that searches use anew, from the events themselves."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> tuple[Finding, ...] | int:
        return await (indexing.check if check else indexing.reindex)(app.gate.store, name)

    found = context.with_app(ctx, work)
    if isinstance(found, int):
        _made(ctx, name, found)
        return DONE
    if context.as_json(ctx):
        output.document("index", {"tenant": name, "ok": not found, "findings": found})
    else:
        output.table(("place", "finding"), [(each.place, each.text) for each in found], empty="the index hides nothing")
    return FAILED if found else DONE


def _made(ctx: click.Context, tenant: str, blocks: int) -> None:
    if context.as_json(ctx):
        output.document("index", {"tenant": tenant, "blocks": blocks})
        return
    done = f"indexed {blocks * BLOCK} events" if blocks else f"nothing to index yet: fewer than {BLOCK} events are read one by one"
    click.echo(done)
