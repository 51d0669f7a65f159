"""`aegis audit export`: events for other systems, in files and pipes; `aegis audit push`: the same to a receiver."""

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

import click

from aegis.app import App, instance_name, open_store
from aegis.app.exports import Exports
from aegis.errors import ConfigError, CorruptStoreError, StoreError
from aegis.journal.export.formats import FORMATS, record
from aegis.journal.store import Store
from aegis.model.event import SYSTEM_TENANT
from aegis.runtime.clock import Clock
from aegis.runtime.export_cursors import Move, missing, move, resumed
from aegis.runtime.exporting import EVERY_SECONDS, Standing
from aegis.settings import Settings
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.sink import CursorFile, Sink

log = logging.getLogger("aegis.export")
PAGE = 500
POLL_SECONDS = 0.5


@click.command()
@click.option("--format", "form", type=click.Choice(FORMATS), default="jsonl", show_default=True, help="What a record looks like.")
@click.option("--from", "first", type=click.IntRange(0), metavar="SEQ", help="Begin with this event instead of the first.")
@click.option("--to", "last", type=click.IntRange(0), metavar="SEQ", help="End with this event.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after so many events.")
@click.option(
    "--cursor", type=click.Path(path_type=Path, dir_okay=False), help="Go on where this file says, and keep it up to date."
)
@click.option("-f", "--follow", is_flag=True, help="Go on as events arrive, until Ctrl-C.")
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write here, not to standard output."
)
@context.tenant_option
@click.pass_context
def export(
    ctx: click.Context,
    form: str,
    first: int | None,
    last: int | None,
    limit: int | None,
    cursor: Path | None,
    follow: bool,
    target: Path | None,
    tenant: str | None,
) -> None:
    """Write a tenant's events for other systems, one record a line.

    With --cursor a later run goes on where this one ended: every event is written at least once, and after a crash some are written
    twice, which their ids tell. A cursor of another log, or of a log that was rewritten, is refused.
    """
    name = context.the_tenant(ctx, tenant)
    remembered = CursorFile(cursor, name)
    if cursor is not None and first is not None and remembered.exists:
        raise click.UsageError(f"--from and --cursor: {cursor} says already where to go on; leave --from out, or name a new file")
    with Sink(target, resume=cursor is not None) as sink:
        work = _export(context.settings(ctx), name, form, remembered, first, last, limit, follow, sink)
        written = asyncio.run(work)
    if target is not None:
        click.echo(f"{written} events of {name} written to {target}", err=True)


async def _export(
    settings: Settings,
    tenant: str,
    form: str,
    remembered: CursorFile,
    first: int | None,
    last: int | None,
    limit: int | None,
    follow: bool,
    sink: Sink,
) -> int:
    """Write what is asked for; the cursor moves after what was written is on stable storage."""
    store = await open_store(settings, Clock())
    try:
        at = remembered.read() or remembered.begin(await _first(store, tenant, first))
        await resumed(store, at, tenant)
        written = 0
        while True:
            most = min(PAGE, limit - written if limit is not None else PAGE, last + 1 - at.next if last is not None else PAGE)
            if most <= 0:
                return written
            events = await store.events(tenant, after=at.next - 1, limit=most)
            if (lost := missing(at.next, events)) is not None:
                raise CorruptStoreError(f"event {lost} is missing from `{at.origin}`: run `aegis fsck`")
            for event in events:
                sink.write(record(form, event.body))
            if events:
                sink.flush()
                at, written = at.after(events[-1]), written + len(events)
                remembered.write(at)
            elif not follow:
                return written
            else:
                await asyncio.sleep(POLL_SECONDS)
    finally:
        await store.close()


async def _first(store: Store, tenant: str, wanted: int | None) -> int:
    """Where to begin: the first event that is kept, unless another is wanted. It may be the next one that will be written.

    Raises:
        ConfigError: The log does not reach as far.
    """
    head = (await store.heads()).get(tenant)
    if wanted is None:
        return head.first if head else 0
    size = head.frontier.size if head else 0
    if wanted > size:
        raise ConfigError(f"--from: the log of `{tenant}` holds {size} events, the next one will be {size}; found {wanted}")
    return wanted


@click.command()
@click.option("--once", is_flag=True, help="End when everything there is has been acknowledged, or something stands in the way.")
@click.option("--begin-at", type=click.IntRange(0), metavar="SEQ", help="Send nothing; only let the export go on at this event.")
@click.option("--as", "person", metavar="PERSON", help="With --begin-at: who you are (person:NAME); your key must be here.")
@click.option("--reason", help="With --begin-at: why; it is recorded.")
@context.tenant_option
@click.pass_context
def push(ctx: click.Context, once: bool, begin_at: int | None, person: str | None, reason: str | None, tenant: str | None) -> None:
    """Send events to the receiver of section `[export]`, until Ctrl-C or SIGTERM.

    It does what a gateway does by itself unless `export.by` is `command`; of all of them together, one sends at a time. With
    --begin-at it sends nothing and moves the cursor of a tenant, to send events again or to leave some out: that is recorded.
    """
    from aegis.surfaces.gateway.logs import configure

    if begin_at is not None:
        _begin(ctx, context.the_tenant(ctx, tenant), begin_at, person, reason)
        return
    if tenant or person or reason:
        raise click.UsageError("--tenant, --as and --reason go with --begin-at; whose events are sent says `export.tenants`")
    settings = context.settings(ctx)
    configure(settings.log)
    standing = asyncio.run(_push(settings, once=once))
    if context.as_json(ctx):
        output.document("push", {"tenants": [_told(each) for each in standing]})
    else:
        output.table(
            ("tenant", "acknowledged", "of", "state"),
            [(each.tenant, each.next, each.size, _state(each)) for each in standing],
            empty="another process exports: nothing was sent from here" if once else "nothing was sent",
        )
    if once and any(each.lag or each.halted for each in standing):
        ctx.exit(1)


def _begin(ctx: click.Context, tenant: str, seq: int, person: str | None, reason: str | None) -> None:
    if not person or not reason:
        raise click.UsageError("--begin-at: say who you are (--as PERSON) and why (--reason TEXT)")

    async def work(app: App) -> None:
        # The gateway's own log has no people: whoever is known in a tenant of this gateway may.
        homes = [each.name for each in app.gate.snapshot if person in each.directory.people] if tenant == SYSTEM_TENANT else []
        statement = context.signed_by(app, homes[0] if homes else tenant, person)
        asked = Move(tenant=tenant, to=seq, by=person, reason=reason, statement=statement)
        await move(app.gate.store, app.gate.clock, asked)

    context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("push", {"tenant": tenant, "next": seq})
    else:
        click.echo(f"the export of {tenant} goes on at event {seq}")


async def _push(settings: Settings, *, once: bool) -> tuple[Standing, ...]:
    clock = Clock()
    store = await open_store(settings, clock)
    instance = instance_name(clock.now())
    ended = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, ended.set)
    known = [path.name for path in settings.tenants.iterdir() if path.is_dir()] if settings.tenants.is_dir() else []
    try:
        await store.register(instance)
        exports = Exports(settings, store, clock, instance, known)
        try:
            return await _turns(exports, ended, once=once)
        finally:
            await exports.close()
    finally:
        await store.close()


async def _turns(exports: Exports, ended: asyncio.Event, *, once: bool) -> tuple[Standing, ...]:
    """Turn after turn; what the store cannot do now is tried again, as a gateway would."""
    while not ended.is_set():
        try:
            sent = await exports.exporter.turn()
        except StoreError as error:
            if once:
                raise
            log.error("export: %s", error)  # noqa: TRY400 - its words say what is wrong
            sent = 0
        if once and not sent:
            break
        if not sent:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), EVERY_SECONDS)
    return exports.standing()


def _told(each: Standing) -> dict[str, object]:
    return {"tenant": each.tenant, "next": each.next, "size": each.size, "lag": each.lag, "halted": each.halted}


def _state(each: Standing) -> str:
    if each.halted:
        return f"halted: {each.halted}"
    return f"{each.lag} to go" if each.lag else "up to date"
