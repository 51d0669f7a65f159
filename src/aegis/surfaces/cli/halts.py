"""`aegis halt`, `aegis resume`, `aegis halts`: the kill switch."""

from datetime import timedelta

import click

from aegis.app import App
from aegis.errors import ConfigError
from aegis.runtime.halts import Halt
from aegis.runtime.revocations import Revocation
from aegis.surfaces.cli import context, output


@click.command()
@click.argument("what", metavar="WHAT")
@click.option("--reason", required=True, help="Why; callers read it.")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@click.option("--safe", is_flag=True, help="Safe mode: reads pass, everything else waits for a person of role operator.")
@context.tenant_option
@click.pass_context
def halt(ctx: click.Context, what: str, reason: str, person: str, safe: bool, tenant: str | None) -> None:
    """Stop WHAT (tenant, tool:NAME or agent:NAME): every gateway process denies it within a second.

    Calls under way are finished and recorded.
    """
    name = context.the_tenant(ctx, tenant)
    wanted = Halt(tenant=name, what=what, mode="safe" if safe else "halt", reason=reason, by=person)

    async def work(app: App) -> None:
        await app.gate.halts.set(wanted, statement=context.signed_by(app, name, person))

    context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("halt", wanted)
        return
    click.echo(f"{wanted.told}\nundo: aegis resume {what} --as {person} --reason ...")


@click.command()
@click.argument("what", metavar="WHAT")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def resume(ctx: click.Context, what: str, reason: str, person: str, tenant: str | None) -> None:
    """Lift the halt or safe mode of WHAT."""
    name = context.the_tenant(ctx, tenant)
    wanted = Halt(tenant=name, what=what, mode="halt", reason=reason, by=person)

    async def work(app: App) -> bool:
        return await app.gate.halts.lift(wanted, statement=context.signed_by(app, name, person))

    if not context.with_app(ctx, work):
        raise ConfigError(f"`{what}` of tenant `{name}` is not halted: `aegis halts` lists what is")
    if context.as_json(ctx):
        output.document("resume", {"tenant": name, "what": what})
        return
    click.echo(f"{what} goes on")


@click.command()
@click.pass_context
def halts(ctx: click.Context) -> None:
    """List what is halted or in safe mode, in all tenants."""

    async def work(app: App) -> tuple[Halt, ...]:
        await app.gate.halts.refresh()
        return app.gate.halts.listed()

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("halts", {"halts": found})
        return
    output.table(
        ("tenant", "what", "mode", "by", "reason"),
        [(h.tenant, h.what, h.mode, h.by, h.reason) for h in found],
        empty="nothing is halted",
    )


@click.command()
@click.argument("who", metavar="WHO")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def revoke(ctx: click.Context, who: str, reason: str, person: str, tenant: str | None) -> None:
    """Refuse every token issued until now to WHO (agent:NAME, person:NAME, or tenant), and to those who act for it.

    Tokens issued afterwards are good: disable the agent in the directory, or halt it, to keep it out.
    """
    name = context.the_tenant(ctx, tenant)
    if who != "tenant" and not who.startswith(("agent:", "person:")):
        raise ConfigError(f"cannot revoke `{who}`: expected `tenant`, `agent:NAME` or `person:NAME`")

    async def work(app: App) -> None:
        statement = context.signed_by(app, name, person)
        # Tokens count whole seconds: what was issued within this one is refused too.
        before = app.gate.clock.now().replace(microsecond=0) + timedelta(seconds=1)
        revoked = Revocation(tenant=name, who="" if who == "tenant" else who, before=before, reason=reason, by=person)
        await app.gate.revocations.add(revoked, statement=statement)

    context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("revoke", {"tenant": name, "who": who})
        return
    click.echo(f"tokens issued to {who} until now are refused from here on")
