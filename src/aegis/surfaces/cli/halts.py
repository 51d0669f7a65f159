"""`aegis halt`, `aegis resume`, `aegis halts`: the kill switch."""

import re
from datetime import timedelta

import click
from msgspec import structs

from aegis.app import App
from aegis.errors import ConfigError
from aegis.model.event import SYSTEM_TENANT
from aegis.model.node import nearest
from aegis.runtime.halts import ALL, Confirmed, Halt
from aegis.runtime.revocations import Revocation, RevokedKey, RevokedToken
from aegis.surfaces.cli import context, output

_WAIT_SECONDS = 3.0
_TOKEN_ID = re.compile(r"tok_[0-9A-Za-z_-]{1,128}")


@click.command()
@click.argument("what", metavar="WHAT")
@click.option("--reason", required=True, help="Why; callers read it.")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@click.option("--safe", is_flag=True, help="Safe mode: reads pass, everything else waits for a person of role operator.")
@context.tenant_option
@click.pass_context
def halt(ctx: click.Context, what: str, reason: str, person: str, safe: bool, tenant: str | None) -> None:
    """Stop WHAT: every gateway process denies it within a second, and the answer tells how many already do.

    WHAT is tenant, tool:NAME, agent:NAME, run:ID, workflow:NAME, queue:NAME, or all: every tenant, said by a person of yours.
    Calls under way are finished and recorded.
    """
    name = context.the_tenant(ctx, tenant)
    wanted = _halt(what, name, person, reason, safe=safe)

    async def work(app: App) -> Confirmed:
        await app.gate.halts.set(wanted, statement=context.signed_by(app, name, person))
        return await app.gate.halts.confirmed(_WAIT_SECONDS)

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("halt", {**structs.asdict(wanted), "confirmed": found})
        return
    click.echo(f"{wanted.told}\n{_confirmed(found)}\nundo: aegis resume {what} --as {person} --reason ...")


@click.command()
@click.argument("what", metavar="WHAT")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def resume(ctx: click.Context, what: str, reason: str, person: str, tenant: str | None) -> None:
    """Lift the halt or safe mode of WHAT."""
    name = context.the_tenant(ctx, tenant)
    wanted = _halt(what, name, person, reason)

    async def work(app: App) -> Confirmed | None:
        lifted = await app.gate.halts.lift(wanted, statement=context.signed_by(app, name, person))
        return await app.gate.halts.confirmed(_WAIT_SECONDS) if lifted else None

    found = context.with_app(ctx, work)
    if found is None:
        whose = "" if what == ALL else f" of tenant `{name}`"
        raise ConfigError(f"`{what}`{whose} is not halted: `aegis halts` lists what is")
    if context.as_json(ctx):
        output.document("resume", {"tenant": wanted.tenant, "what": what, "confirmed": found})
        return
    click.echo(f"{what} goes on\n{_confirmed(found)}")


def _halt(what: str, tenant: str, person: str, reason: str, *, safe: bool = False) -> Halt:
    """Every tenant is halted in the name of one of them: that of the person."""
    whose, by_tenant = (SYSTEM_TENANT, tenant) if what == ALL else (tenant, "")
    return Halt(tenant=whose, what=what, mode="safe" if safe else "halt", reason=reason, by=person, by_tenant=by_tenant)


def _confirmed(found: Confirmed) -> str:
    """How many processes decide by it already; what did not confirm denies everything once it cannot read for five seconds."""
    count = len(found.processes)
    if not count and not found.missing:
        return "no gateway process is running: the next one begins with it"
    took = f", the last after {max(found.processes.values())} ms" if count else ""
    told = f"confirmed by {count} of {count + len(found.missing)} gateway processes{took}"
    late = f"\nnot yet by {', '.join(found.missing)}: what cannot read for five seconds denies everything" if found.missing else ""
    return told + late


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
        [("(every)" if h.what == ALL else h.tenant, h.what, h.mode, h.by, h.reason) for h in found],
        empty="nothing is halted",
    )


@click.command()
@click.argument("who", metavar="[WHO]", default="")
@click.option("--token", "token_id", default="", metavar="JTI", help="One token (its `jti`), and everything that hangs on it.")
@click.option("--key", "kid", default="", metavar="KID", help="One public key of the tenant, for good.")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def revoke(ctx: click.Context, who: str, token_id: str, kid: str, reason: str, person: str, tenant: str | None) -> None:
    """Refuse every token issued until now to WHO (agent:NAME, person:NAME, or tenant), and to those who act for it.

    Or one token, or everything that one key signed. Every gateway process on every host follows within a second. Tokens issued
    to WHO afterwards are good: disable the agent in the directory, or halt it, to keep it out.
    """
    name = context.the_tenant(ctx, tenant)
    if sum(map(bool, (who, token_id, kid))) != 1:
        raise click.UsageError("give exactly one of WHO, --token JTI and --key KID")
    if who and who != "tenant" and not who.startswith(("agent:", "person:")):
        raise ConfigError(f"cannot revoke `{who}`: expected `tenant`, `agent:NAME` or `person:NAME`")

    if token_id and not _TOKEN_ID.fullmatch(token_id):
        raise ConfigError("--token: expected the `jti` of a token (`tok_...`): `aegis audit tail --type token_issued` shows them")

    async def work(app: App) -> None:
        statement, revocations = context.signed_by(app, name, person), app.gate.revocations
        if token_id:
            await revocations.add_token(RevokedToken(tenant=name, token_id=token_id, reason=reason, by=person), statement=statement)
        elif kid:
            _known_key(app, name, kid)
            await revocations.add_key(RevokedKey(tenant=name, kid=kid, reason=reason, by=person), statement=statement)
        else:
            # Tokens count whole seconds: what was issued within this one is refused too.
            _told_if_unknown(app, name, who)
            before = app.gate.clock.now().replace(microsecond=0) + timedelta(seconds=1)
            revoked = Revocation(tenant=name, who="" if who == "tenant" else who, before=before, reason=reason, by=person)
            await revocations.add(revoked, statement=statement)

    context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("revoke", {"tenant": name, "who": who, "token": token_id, "key": kid})
        return
    click.echo(_told(who, token_id, kid))


def _told_if_unknown(app: App, tenant: str, who: str) -> None:
    """Somebody who left the directory may still hold tokens; somebody who was never there is a slip."""
    directory = app.gate.tenant(tenant).directory
    known = {"tenant", *directory.agents, *directory.people}
    if who not in known:
        click.echo(f"note: no `{who}` in tenants/{tenant}/directory.yaml{nearest(who, known)}", err=True)


def _known_key(app: App, tenant: str, kid: str) -> None:
    if not any((entry.kid, entry.tenant) == (kid, tenant) for entry in app.keyring.keys.entries()):
        raise ConfigError(f"no public key `{kid}` of tenant `{tenant}`; `aegis keys list` shows them")


def _told(who: str, token_id: str, kid: str) -> str:
    if token_id:
        return f"token {token_id}, and everything that hangs on it, is refused from here on"
    if kid:
        return f"what key {kid} signed is refused from here on; `aegis keys rotate` makes another one"
    return f"tokens issued to {who} until now are refused from here on"
