"""`aegis audit` and `aegis fsck`: read the journal, check the store."""

import asyncio
from typing import Any

import click
import msgspec

from aegis.app import App, open_store
from aegis.runtime.clock import Clock
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group
from aegis.surfaces.cli.main import DONE, FAILED
from aegis.surfaces.cli.story import one_line

POLL_SECONDS = 0.3


@click.group(cls=Group)
def audit() -> None:
    """Read the journal."""


@audit.command()
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
        output.line(body) if context.as_json(ctx) else click.echo(one_line(body))

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


@audit.command()
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


@click.command()
@click.pass_context
def fsck(ctx: click.Context) -> int:
    """Check that the store does not contradict itself. Exit code 1 when it does."""

    async def work() -> Any:
        store = await open_store(context.settings(ctx), Clock(), check=False)
        try:
            return await store.fsck(), await store.stats()
        finally:
            await store.close()

    findings, _ = asyncio.run(work())
    if context.as_json(ctx):
        output.document("fsck", {"findings": findings})
    else:
        output.table(
            ("tenant", "place", "finding"),
            [(finding.tenant, finding.place, finding.text) for finding in findings],
            empty="the store is sound",
        )
    return FAILED if findings else DONE
