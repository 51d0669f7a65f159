"""`aegis audit noise`: refusals before anybody was known."""

from typing import Any

import click

from aegis.app import App
from aegis.surfaces.cli import context, output


@click.command()
@click.pass_context
def noise(ctx: click.Context) -> None:
    """Show refusals of callers who were not authenticated: counted, never in a tenant's journal."""

    async def work(app: App) -> Any:
        return await app.gate.store.noise()

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("noise", {"refusals": found})
        return
    output.table(
        ("reason", "from", "count", "last"),
        [(row.reason, row.source, row.count, output.ago(row.last)) for row in found],
        empty="nothing was refused before it was known who asked",
    )
