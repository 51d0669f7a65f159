"""`aegis audit search`: find events."""

from collections.abc import Mapping
from typing import Any

import click

from aegis.app import App
from aegis.journal.terms import FIELDS
from aegis.runtime.searching import MOST, Page, search
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.asked import filter_of
from aegis.surfaces.cli.audit.shown import harmless
from aegis.surfaces.cli.story import one_line

_HELP = {
    "type": ("TYPE", "decision, outcome, approval, delegation, refusal, ..."),
    "run": ("ID", "Of this run (the transaction of its tokens)."),
    "task": ("NAME", "Of this task."),
    "step": ("NAME", "Of this step of a workflow."),
    "agent": ("AGENT", "By this agent."),
    "through": ("AGENT", "With this agent further up in the chain."),
    "to": ("AGENT", "Handed down, or sent, to this agent."),
    "person": ("PERSON", "On behalf of this person."),
    "tool": ("TOOL", "About this tool."),
    "decision": ("DECISION", "allow, sanitize, approval_needed or deny."),
    "outcome": ("OUTCOME", "done, failed, unknown, reopened or interrupted."),
    "rule": ("RULE", "Decided by this rule."),
    "reason": ("REASON", "With this reason, such as timeout."),
    "approval": ("ID", "About this approval."),
    "approver": ("PERSON", "Answered, or approved, by this person."),
    "by": ("WHO", "Done by this operator, or by recovery."),
    "parent": ("ID", "Done on behalf of this request."),
    "token": ("JTI", "With this token."),
}


_KINDS = {"person": "user", "approver": "person"}
_WORDS = {
    "decision": ("allow", "sanitize", "approval_needed", "deny"),
    "outcome": ("done", "failed", "unknown", "reopened", "interrupted"),
}


def _fields(command: Any) -> Any:
    for field in reversed(tuple(FIELDS)):
        metavar, text = _HELP[field]
        kind = click.Choice(_WORDS[field]) if field in _WORDS else None
        command = click.option(f"--{field}", metavar=metavar, help=text, type=kind)(command)
    return command


@click.command("search")
@_fields
@click.option("--request", metavar="ID", help="Of this request.")
@click.option("--trace", metavar="ID", help="Of this trace. No index knows it: give --since too.")
@click.option("--since", metavar="TIME", help="From this time on: 2h, 3d, 2026-11-21, 2026-11-21T08:45.")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option("--cost-at-least", "cost_from", type=click.IntRange(0), metavar="MICROS", help="That cost so much or more.")
@click.option("--cost-at-most", "cost_to", type=click.IntRange(0), metavar="MICROS", help="That cost so much or less.")
@click.option("-n", "--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="Events on a page.")
@click.option("--cursor", type=click.IntRange(0), metavar="CURSOR", help="Go on where the page before ended.")
@click.option("--plain", is_flag=True, help="Read every event, and do not trust the index.")
@context.tenant_option
@click.pass_context
def find(ctx: click.Context, /, limit: int, cursor: int | None, plain: bool, tenant: str | None, **given: Any) -> None:
    """Find events, newest first: those to which all that is said applies.

    `aegis audit show REQUEST_ID` tells what happened around one of them, `aegis explain REQUEST_ID` why it was decided so.
    Costs are in millionths of the tenant's unit of money.
    """
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> Page:
        wanted = filter_of(given, app.gate.clock.now())
        return await search(app.gate.store, name, wanted, before=cursor, limit=limit, plain=plain)

    page = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("search", {"tenant": name, "events": [each.body for each in page.events], "cursor": page.cursor})
        return
    _print(page)
    if not page.events:
        _hint(given)


def _hint(given: Mapping[str, Any]) -> None:
    """Agents and people have a kind before their name: whoever left it out would believe that there is nothing."""
    for option in ("agent", "through", "to", "person", "approver"):
        if given[option] and ":" not in given[option]:
            click.echo(f"names are whole: did you mean `--{option} {_KINDS.get(option, 'agent')}:{given[option]}`?", err=True)


def _print(page: Page) -> None:
    day = ""
    for each in page.events:
        body = harmless(each.body)
        if body["time"][:10] != day:
            day = body["time"][:10]
            click.echo(click.style(day, bold=True))
        click.echo(one_line(body))
    if not page.events:
        click.echo("no such event")
    elif page.cursor is not None:
        click.echo(f"\nolder ones: the same with --cursor {page.cursor}")
