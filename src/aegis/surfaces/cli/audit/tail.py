"""`aegis audit tail`: the newest events, and those that arrive."""

import asyncio
from typing import Any

import click
import msgspec

from aegis.app import App
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.shown import harmless
from aegis.surfaces.cli.story import one_line

POLL_SECONDS = 0.3


@click.command()
@click.option("-n", "--last", default=20, show_default=True, help="How many events to begin with.")
@click.option("-f", "--follow", is_flag=True, help="Go on as events arrive, until Ctrl-C.")
@click.option("--type", "kind", help="Only events of this type (decision, outcome, approval, refusal, ...).")
@context.tenant_option
@click.pass_context
def tail(ctx: click.Context, last: int, follow: bool, kind: str | None, tenant: str | None) -> None:
    """Print the newest events, one a line."""
    name = context.the_tenant(ctx, tenant)

    def show(body: dict[str, Any]) -> None:
        if kind and body["type"] != kind:
            return
        output.line(body) if context.as_json(ctx) else click.echo(one_line(harmless(body)))

    async def work(app: App) -> None:
        store = app.gate.store
        newest = list(await store.events(name, newest_first=True, limit=last))[::-1]
        seen = newest[-1].seq if newest else -1
        for event in newest:
            show(msgspec.json.decode(event.body))
        while follow:
            for event in await store.events(name, after=seen):
                seen = event.seq
                show(msgspec.json.decode(event.body))
            await asyncio.sleep(POLL_SECONDS)

    context.with_app(ctx, work)
