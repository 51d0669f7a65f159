"""`aegis messages`: what waits in mailboxes, and the dead letters that wait for a person."""

from typing import Any

import click
import msgspec

from aegis.app import App
from aegis.errors import ConfigError
from aegis.runtime.letters import Dead
from aegis.runtime.mailbox import Waiting
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group

_WHO = "Who you are (person:NAME); your key must be here."


@click.group(cls=Group)
def messages() -> None:
    """See messages between agents; put dead letters back, or discard them."""


@messages.command("list")
@click.option("--type", "kind", help="Only messages of this type.")
@click.option("--limit", default=100, show_default=True)
@context.tenant_option
@click.pass_context
def list_(ctx: click.Context, kind: str | None, limit: int, tenant: str | None) -> None:
    """List what waits or is in the hands of a consumer, oldest first. Contents are sealed and not shown."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> list[Waiting]:
        found: list[Waiting] = []
        after = ""
        while len(found) < limit and (page := await app.messages.listed(name, after=after)):
            after = page[-1].id
            found += [each for each in page if kind in (None, each.type)]
        return found[:limit]

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("messages", {"messages": found})
        return
    output.table(
        ("message", "type", "to", "at", "sent"),
        [(m.id, f"{m.type} {m.version}", m.to, m.holder or "waits", output.ago(m.sent_at)) for m in found],
        empty="no message waits",
        keep=("message",),
    )


@messages.command()
@click.option("--limit", default=100, show_default=True)
@context.tenant_option
@click.pass_context
def dead(ctx: click.Context, limit: int, tenant: str | None) -> None:
    """List dead letters, oldest first: what was refused, and what reached nobody."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> tuple[Dead, ...]:
        return await app.messages.letters.listed(name, limit=limit)

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("dead-letters", {"letters": found})
        return
    output.table(
        ("letter", "type", "reason", "when"),
        [(d.id, f"{d.type} {d.version}", d.reason, output.ago(d.at)) for d in found],
        empty="no dead letters",
        keep=("letter",),
    )


@messages.command()
@click.argument("message_id")
@click.option("--as", "person", help=f"{_WHO} Opens what a dead letter holds; that is recorded.", metavar="PERSON")
@context.tenant_option
@click.pass_context
def show(ctx: click.Context, message_id: str, person: str | None, tenant: str | None) -> None:
    """Show one message or dead letter; what a dead letter holds only with `--as`."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> tuple[Waiting | Dead | None, Any]:
        letter = await app.messages.letters.find(name, message_id)
        if letter is None:
            return await app.messages.find(name, message_id), None
        if person is None:
            return letter, None
        proof = context.signed_by(app, name, person)
        return letter, await app.messages.letters.opened(name, letter, by=person, statement=proof)

    found, content = context.with_app(ctx, work)
    if found is None:
        raise ConfigError(
            f"no message `{message_id}` in tenant `{name}`: `aegis messages list` and `aegis messages dead` list them"
        )
    if context.as_json(ctx):
        output.document("message", {**msgspec.to_builtins(found), **({"content": content} if person else {})})
        return
    output.fields(_told(found))
    if person is not None:
        click.echo("it was too large to keep, or was erased" if content is None else _formatted(content))


@messages.command()
@click.argument("message_id")
@click.option("--as", "person", required=True, metavar="PERSON", help=_WHO)
@click.option("--reason", required=True, help="Why; it is recorded.")
@context.tenant_option
@click.pass_context
def requeue(ctx: click.Context, message_id: str, person: str, reason: str, tenant: str | None) -> None:
    """Put a dead letter back into its mailbox, with its whole time before it. One that was refused stays dead."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> Waiting:
        proof = context.signed_by(app, name, person)
        return await app.messages.letters.requeue(app.gate.tenant(name), message_id, by=person, reason=reason, statement=proof)

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("message", found)
        return
    click.echo(f"{message_id} waits for {found.to} again")


@messages.command()
@click.argument("message_id")
@click.option("--as", "person", required=True, metavar="PERSON", help=_WHO)
@click.option("--reason", required=True, help="Why; it is recorded.")
@context.tenant_option
@click.pass_context
def discard(ctx: click.Context, message_id: str, person: str, reason: str, tenant: str | None) -> None:
    """Forget a dead letter. The events that tell of it stay."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> Dead:
        proof = context.signed_by(app, name, person)
        return await app.messages.letters.discard(name, message_id, by=person, reason=reason, statement=proof)

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("dead-letter", found)
        return
    click.echo(f"{message_id} is discarded; its events stay in the journal")


def _told(found: Waiting | Dead) -> list[tuple[str, Any]]:
    """What stands in the row, for people."""
    pairs = [
        ("message", found.id), ("type", found.type), ("version", found.version), ("from", found.sender), ("id", found.source_id),
        ("to", found.to), ("request", found.request_id), ("deliveries", found.deliveries),
    ]  # fmt: skip
    if isinstance(found, Dead):
        return [*pairs, ("state", found.state), ("reason", found.reason), ("detail", found.detail), ("dead", output.ago(found.at))]
    lease = f"{found.holder}, until {output.ago(found.due)}" if found.lease else ""
    return [*pairs, ("sent", output.ago(found.sent_at)), ("dies", output.ago(found.dies_at)), ("held by", lease)]


def _formatted(content: Any) -> str:
    return output.harmless(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())
