"""`aegis policy check-plan`: which steps of a plan could never be allowed."""

from pathlib import Path

import click

from aegis.policy.plan import StepVerdict, check, read
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED
from aegis.surfaces.cli.policy.sets import open_set


@click.command("check-plan")
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--policy", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Policy file (default: the tenant's)."
)
@context.tenant_option
@click.pass_context
def check_plan(ctx: click.Context, plan: Path, file: Path | None, tenant: str | None) -> int:
    """Say for every step of PLAN what the rules will make of it, with what the plan does not know left open.

    allow, approval_needed and deny hold whatever the unknown values turn out to be; depends names what it depends on. The chain,
    scopes, the full schema and halts are looked at when a step is taken. Exit code 1 when some step could never be allowed.

    \b
    apiVersion: aegis.plan/v1
    kind: Plan
    context: {agent.id: agent:payer, agent.roles: [treasury]}
    steps:
      - {id: look, tool: crm.read, args: {customer_id: c-1}}
      - {id: pay, tool: payments.transfer,
         args: {amount_minor: {unknown: true}, iban: {from: look}}}
    """  # noqa: D301 - click reads the \b
    from aegis.adapters.catalogue import read as read_file

    opened = open_set(ctx, file, tenant)
    found = check(read(read_file(plan), source=str(plan)), opened.policy, opened.tenant_data)
    never = [verdict for verdict in found if verdict.outcome == "deny"]
    if context.as_json(ctx):
        output.document("policy-check-plan", {"ok": not never, "policy": opened.policy.ref, "steps": found})
        return FAILED if never else DONE
    for verdict in found:
        _print(verdict)
    click.echo(f"{len(never)} of {len(found)} steps could never be allowed")
    return FAILED if never else DONE


def _print(verdict: StepVerdict) -> None:
    click.echo(f"{output.word(verdict.outcome, 16)}{verdict.step}  {verdict.tool}")
    for why in verdict.why:
        where = f" at `{why.field}`" if why.field else ""
        against = f" against {output.limit(why.limit)}" if why.field and why.limit is not None else ""
        output.wrapped(f"{why.rule}{where}{against}" + (f": {why.text}" if why.text else ""))
    if verdict.on:
        output.wrapped(f"depends on {', '.join(verdict.on)}")
