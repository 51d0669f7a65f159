"""`aegis approvals`: what waits for people, and their answers, signed with their own keys."""

from typing import Any

import click

from aegis.app import App
from aegis.errors import ConfigError, IdentityError
from aegis.model.approval import Answer, Approval, ApprovalState, Refused
from aegis.runtime.trace import Trace
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group
from aegis.surfaces.cli.main import DENIED, DONE


@click.group(cls=Group)
def approvals() -> None:
    """See what waits for people, approve or deny it."""


@approvals.command("list")
@click.option("--state", type=click.Choice(["all", *map(str, ApprovalState)]), default="pending", show_default=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="So many at most.")
@click.option("--after", default="", metavar="APPROVAL", help="Only those that were asked before this one.")
@context.tenant_option
@click.pass_context
def list_(ctx: click.Context, state: str, limit: int, after: str, tenant: str | None) -> None:
    """List approvals, newest first."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> tuple[Approval, ...]:
        return await app.gate.desk.listed(name, None if state == "all" else ApprovalState(state), limit, after)

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("approvals", {"approvals": found})
        return
    output.table(
        ("approval", "state", "agent", "tool", "asked", "for"),
        [(a.approval_id, a.state, a.agent_id, a.tool, output.ago(a.created_at), _wanted(a)) for a in found],
        empty="nothing waits for approval" if state == "pending" else "no approvals",
        keep=("approval",),
    )


@approvals.command()
@click.argument("approval_id")
@context.tenant_option
@click.pass_context
def show(ctx: click.Context, approval_id: str, tenant: str | None) -> None:
    """Show the card of an approval: who asks for what, why it waits, and for whom."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> Any:
        found = await app.gate.desk.find(name, approval_id)
        return None if found is None else await app.gate.desk.card(name, found[0])

    card = context.with_app(ctx, work)
    if card is None:
        raise ConfigError(f"no approval `{approval_id}` in tenant `{name}`: `aegis approvals list --state all` shows them")
    if context.as_json(ctx):
        output.document("approval", card)
        return
    _print_card(card)


@approvals.command()
@click.argument("approval_id")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@click.option("--reason", default="", help="Why; it is recorded.")
@context.tenant_option
@click.pass_context
def approve(ctx: click.Context, approval_id: str, person: str, reason: str, tenant: str | None) -> int:
    """Approve the exact request of an approval; it can then run once."""
    return _answer(ctx, approval_id, person, reason, tenant, approve=True)


@approvals.command()
@click.argument("approval_id")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@click.option("--reason", default="", help="Why; it is recorded.")
@context.tenant_option
@click.pass_context
def deny(ctx: click.Context, approval_id: str, person: str, reason: str, tenant: str | None) -> int:
    """Deny the request; it stays denied until the approval has expired."""
    return _answer(ctx, approval_id, person, reason, tenant, approve=False)


def _answer(ctx: click.Context, approval_id: str, person: str, reason: str, tenant: str | None, *, approve: bool) -> int:
    from aegis.adapters import keyfiles
    from aegis.identity.token import build_statement, mint

    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> Approval | Refused:
        found = await app.gate.desk.find(name, approval_id)
        if found is None:
            raise ConfigError(f"no approval `{approval_id}` in tenant `{name}`: `aegis approvals list` shows what waits")
        card = await app.gate.desk.card(name, found[0])
        key = keyfiles.load_private(app.settings.keys, "human", name, person, now=app.gate.clock.now())
        now = app.gate.clock.now()
        statement = mint(
            build_statement(
                approval_id=approval_id,
                tenant=name,
                request_hash=found[0].request_hash,
                approve=approve,
                shown=card.shown,
                approver=person,
                reason=reason,
                now=now,
            ),
            key,
        )
        return await app.gate.desk.answer(app.verifier.statement(statement, now=now), statement, Trace.continued(""))

    moved = context.with_app(ctx, work)
    if isinstance(moved, Refused):
        raise IdentityError(moved.code, f"the answer does not count: {moved.text}")
    if context.as_json(ctx):
        output.document("approval", moved)
    elif moved.state is ApprovalState.PENDING:
        click.echo(f"recorded; {moved.quorum - len(moved.answers)} more needed: {_wanted(moved)}")
    else:
        follows = "the run goes on" if moved.step else "it can run once now" if approve else "it will not run"
        click.echo(f"{output.word(moved.state)} by {person}; {follows}")
    return DONE if approve or moved.state is ApprovalState.DENIED else DENIED


def _wanted(held: Approval) -> str:
    sets = " and ".join(" or ".join(group) for group in held.approver_sets)
    return f"{held.quorum} of {sets}" if held.quorum > 1 else sets


def _named(said: Answer) -> str:
    return f"{said.person} (automatic)" if said.automatic else said.person


def _step(held: Approval) -> list[tuple[str, str]]:
    """The step of a workflow that asks, and the digests of what is approved."""
    step = held.step
    if step is None:
        return []
    plan = [("plan", step.plan)] if step.plan else []
    return [("workflow", f"{step.workflow} {step.version}"), ("step", step.node), ("definition", step.definition), *plan]


def _print_card(card: Any) -> None:
    held = card.approval
    output.fields(
        [
            ("approval", held.approval_id),
            ("state", output.word(held.state)),
            ("tool", held.tool),
            ("asked by", held.agent_id),
            ("in the name of", ", ".join(held.requesters[1:])),
            ("because", held.reason),
            ("rules", ", ".join(held.rules)),
            ("findings", output.harmless("; ".join(held.findings))),
            ("needs", _wanted(held)),
            ("more may answer", output.ago(held.escalates_at) if held.escalates_at and not held.escalated else ""),
            ("approved by", ", ".join(_named(said) for said in held.answers if said.approve)),
            ("asked", output.ago(held.created_at)),
            ("expires", output.ago(held.expires_at)),
            ("request", "" if held.run == held.request_id else held.request_id),
            ("run", held.run),
            *_step(held),
            ("card", card.shown),
        ]
    )
    if card.arguments is None:
        click.echo("arguments were erased or cannot be opened here")
    else:
        output.indented(card.arguments)
