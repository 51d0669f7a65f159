"""`aegis audit retain`: archive old events, then let go of them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from aegis.app import App
from aegis.errors import ConfigError, NoteError
from aegis.journal.checkpoint import Checkpoint
from aegis.policy.duration import UNITS
from aegis.runtime.retention import Plan
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.archived import verified
from aegis.surfaces.cli.audit.ledger import Ledger, log_keys, policy_of

MOST_NAMED = 5
MOST_DIGITS = 6


def _time(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    number, unit = value[:-1], value[-1:]
    if unit not in UNITS or not (number.isascii() and number.isdigit()) or len(number) > MOST_DIGITS:
        raise click.BadParameter("expected a whole number and a unit (s, m, h, d), such as 400d", ctx, param)
    return timedelta(seconds=int(number) * UNITS[unit])


@click.command()
@click.option("--keep", required=True, metavar="TIME", callback=_time, help="Keep what is younger, such as 400d.")
@click.option("--archive", metavar="DIR|FILE.zip", type=click.Path(path_type=Path), help="Write what goes to an archive first.")
@click.option("--reason", default="", help="Why; it is recorded.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def retain(
    ctx: click.Context,
    keep: timedelta,
    archive: Path | None,
    reason: str,
    dry_run: bool,
    yes: bool,
    person: str,
    tenant: str | None,
) -> None:
    """Let go of old events and of what is sealed beside them; what proves the rest is kept.

    Whatever is not finished keeps its events. Each event is checked before it goes, and the archive is verified.
    """
    name = context.the_tenant(ctx, tenant)
    if context.as_json(ctx) and not (yes or dry_run):
        raise click.UsageError("--json asks nothing: pass --yes, or --dry-run")

    async def work(app: App) -> tuple[Plan, int | None]:
        from aegis.runtime import retention
        from aegis.runtime.erasing import Order

        gate = app.gate
        order = Order(by=person, reason=reason, statement=context.signed_by(app, name, person))
        if not dry_run:
            await retention.remove(gate.store, name)  # what an earlier run left behind when it was interrupted
        now = gate.clock.now()
        plan = await retention.planned(gate.store, name, await _sealed(app, name), now - keep, now)
        if dry_run or not plan.count:
            return plan, None
        if not yes:
            _tell(plan)
            click.confirm("let go of them for good?" if archive is None else "archive them and let go of them?", abort=True)
        await retention.examine(gate.store, plan)
        if archive is not None:
            await _archived(app, plan, archive)
        return plan, await retention.drop(gate.store, gate.clock, plan, order, archive=archive.name if archive else "")

    plan, seq = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("retain", _shown(plan, seq, archive))
    elif seq is None:
        _tell(plan)
    else:
        where = f", archived in {archive}" if archive else ""
        click.echo(
            f"{plan.count} events of tenant {name} are gone{where}; the first that is kept is {plan.bound} (event {seq} tells)"
        )


async def _sealed(app: App, tenant: str) -> Checkpoint:
    """The newest checkpoint of the tenant's log, signed by a key of it."""
    from aegis.crypto import note as notes
    from aegis.journal import checkpoint

    sealed = await Ledger(app.settings, app.gate.store, app.gate.clock).newest(tenant)
    try:
        note = notes.parse(sealed.note.encode())
        notes.verified(note, log_keys(app.settings, tenant))
        return checkpoint.parse(note.text)
    except NoteError as error:
        raise ConfigError(f"the newest checkpoint of tenant `{tenant}` does not verify ({error}): nothing is let go of") from None


async def _archived(app: App, plan: Plan, path: Path) -> None:
    """Write the archive and read it again.

    Raises:
        ConfigError: It does not hold what it should, so nothing may be let go of.
    """
    from aegis.adapters import archivefiles, bundlefiles
    from aegis.journal import archive
    from aegis.journal.bundle import Bundle, some

    ledger = Ledger(app.settings, app.gate.store, app.gate.clock)
    sealed = await ledger.newest(plan.tenant)
    if sealed.size < plan.bound:
        raise ConfigError("the newest checkpoint covers less than a moment ago: run `aegis audit verify`")
    made = Bundle(
        tenant=plan.tenant,
        size=sealed.size,
        note=sealed.note.encode(),
        created=app.gate.clock.now(),
        first=plan.first,
        last=plan.bound - 1,
        earlier=some(await ledger.earlier(plan.tenant), sealed.size),
        policy=policy_of(app.settings, plan.tenant),
    )
    await bundlefiles.write(path, archive.files(app.gate.store, made))
    if verified(app, plan.tenant, path) != (plan.first, plan.count):
        raise ConfigError(f"`{path}` does not hold the events {plan.first} to {plan.bound - 1}: nothing was let go of")
    if not await archivefiles.holds(path, archive.kept_beside(app.gate.store, plan.tenant, plan.first, plan.bound - 1)):
        raise ConfigError(f"`{path}` does not hold what is sealed beside the events: nothing was let go of")


def _tell(plan: Plan) -> None:
    if plan.count:
        click.echo(f"{plan.count} events of tenant {plan.tenant} can go: {plan.first} to {plan.bound - 1}")
    else:
        click.echo(f"nothing of tenant {plan.tenant} can go; events are kept from {plan.first} on, and go 256 at a time")
    for holder in plan.holders[:MOST_NAMED]:
        click.echo(f"  held back at {holder.seq} by {holder.what}: {holder.id}")
    if len(plan.holders) > MOST_NAMED:
        click.echo(f"  and by {len(plan.holders) - MOST_NAMED} more")


def _shown(plan: Plan, seq: int | None, archive: Path | None) -> dict[str, Any]:
    return {
        "tenant": plan.tenant,
        "dropped": 0 if seq is None else plan.count,
        "droppable": plan.count,
        "first": plan.bound if seq is not None else plan.first,
        "seq": seq,
        "archive": str(archive) if archive and seq is not None else "",
        "holders": plan.holders,
    }
