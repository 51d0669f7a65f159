"""`aegis calls`: where calls stand, and the word of a person on those whose outcome nobody knows."""

import click
import msgspec

from aegis.app import App
from aegis.errors import ConfigError
from aegis.model.call import Call, CallState
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group


@click.group(cls=Group)
def calls() -> None:
    """See calls by state, settle those whose outcome nobody knows."""


@calls.command("list")
@click.option("--state", type=click.Choice(list(map(str, CallState))), default="unknown", show_default=True)
@click.option("--limit", default=100, show_default=True)
@context.tenant_option
@click.pass_context
def list_(ctx: click.Context, state: str, limit: int, tenant: str | None) -> None:
    """List calls in a state; `unknown` ones wait for a person."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> list[Call]:
        rows = await app.gate.store.find(name, "call", state=state, limit=limit)
        return [msgspec.json.decode(row.body, type=Call) for row in rows]

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("calls", {"calls": found})
        return
    output.table(
        ("request", "agent", "tool", "when", "key", "note"),
        [(c.request_id, c.agent_id, c.tool, output.ago(c.at), c.idempotency_key, c.note) for c in found],
        empty=f"no call is {state}",
        keep=("request",),
    )


@calls.command()
@click.argument("request_id")
@click.option("--done/--not-done", required=True, help="What you found out: the tool acted, or it did not.")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@click.option("--reason", required=True, help="How you know; it is recorded.")
@context.tenant_option
@click.pass_context
def resolve(ctx: click.Context, request_id: str, done: bool, person: str, reason: str, tenant: str | None) -> None:
    """Settle a call whose outcome nobody knows: look at the tool first. `--not-done` frees its key."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> CallState | None:
        proof = context.signed_by(app, name, person)
        return await app.gate.recovery.resolve(name, request_id, done=done, by=person, reason=reason, statement=proof)

    state = context.with_app(ctx, work)
    if state is None:
        raise ConfigError(f"call `{request_id}` does not wait for that: `aegis calls list --state unknown` shows those that do")
    if context.as_json(ctx):
        output.document("call", {"request_id": request_id, "state": state})
        return
    click.echo(f"{request_id} is {output.word(state)}" + ("; its key may be used again" if state is CallState.REOPENED else ""))
