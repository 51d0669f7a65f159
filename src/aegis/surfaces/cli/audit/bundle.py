"""`aegis audit bundle`: what an auditor is given."""

from pathlib import Path

import click

from aegis.errors import ConfigError
from aegis.journal import bundle as bundles
from aegis.journal.bundle import Bundle
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.ledger import Ledger, with_ledger


@click.command()
@click.argument("where", metavar="DIR|FILE.zip", type=click.Path(path_type=Path))
@click.option("--from", "first", type=click.IntRange(0), metavar="SEQ", help="The first event (default: the first that is kept).")
@click.option("--to", "last", type=click.IntRange(0), metavar="SEQ", help="The last event (default: the newest).")
@click.option("--request", "request_id", default="", metavar="ID", help="Only the events of this request.")
@context.tenant_option
@click.pass_context
def bundle(ctx: click.Context, where: Path, first: int | None, last: int | None, request_id: str, tenant: str | None) -> None:
    """Write events with everything that proves them, for an auditor who need not trust us.

    Verify it with `aegis-verify`, one file that needs nothing but Python. Give the auditor the log's key on another way.
    """
    from aegis.adapters import bundlefiles

    if request_id and (first is not None or last is not None):
        raise click.UsageError("give --request, or --from and --to")
    name = context.the_tenant(ctx, tenant)

    async def work(ledger: Ledger) -> Bundle:
        made = await _wanted(ledger, name, first, last, request_id)
        await bundlefiles.write(where, bundles.files(ledger.store, made))
        return made

    made = with_ledger(ctx, work)
    if context.as_json(ctx):
        shown = {"tenant": name, "path": str(where), "size": made.size, "first": made.first, "last": made.last}
        output.document("bundle", {**shown, "request_id": request_id})
        return
    events = f"events of {request_id}" if request_id else f"events {made.first} to {made.last}"
    click.echo(f"{where}: {events} of tenant {name}, under a checkpoint over {made.size}")
    click.echo(f"verify: aegis-verify {where} --key VKEY{'' if _whole(made) else ' --part'}")
    click.echo("keys:   `aegis witness keys` prints them; send them on another way")


async def _wanted(ledger: Ledger, tenant: str, first: int | None, last: int | None, request_id: str) -> Bundle:
    sealed = await ledger.newest(tenant)
    head = (await ledger.store.heads())[tenant]
    low, high = head.first if first is None else first, head.frontier.size - 1 if last is None else last
    if not head.first <= low <= high < head.frontier.size:
        raise ConfigError(f"expected places between {head.first} and {head.frontier.size - 1}: these are the events that are kept")
    async for event in bundles.events(ledger.store, tenant, sealed.size, head.frontier.size - 1):
        if event.type == "retention":  # unsigned, it would not excuse to an auditor that older events are missing
            raise ConfigError("what retention has just let go of is not sealed yet: a gateway that runs seals it within a second")
    if request_id:
        found = await bundles.selected(ledger.store, tenant, request_id, sealed.size)
        if not found:
            raise ConfigError(
                f"no sealed event of request `{request_id}` in tenant `{tenant}`: `aegis audit search` finds requests"
            )
        low, high = found[0].seq, found[-1].seq
    return Bundle(
        tenant=tenant,
        size=sealed.size,
        note=sealed.note.encode(),
        created=ledger.clock.now(),
        first=low,
        last=high,
        earlier=bundles.some(await ledger.earlier(tenant), sealed.size),
        policy=ledger.policy(tenant),
        request_id=request_id,
    )


def _whole(made: Bundle) -> bool:
    return made.first == 0 and made.last >= made.size - 1 and not made.request_id
