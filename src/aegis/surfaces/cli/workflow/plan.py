"""`aegis workflow plan`: what a workflow would do, what the gates say of it, and whom it would ask. Nothing runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DENIED, DONE, WAITS

if TYPE_CHECKING:
    from aegis.app import App
    from aegis.model.principal import Principal
    from aegis.runtime.tenant import Tenant
    from aegis.workflow.gates import GateReport, Gates
    from aegis.workflow.graph import Workflow

ENDINGS = {"pass": DONE, "person": WAITS, "refuse": DENIED}
SAID = {"pass": "would start without a person", "person": "would wait for a person", "refuse": "would be refused"}
_STYLES = {"pass": "green", "person": "yellow", "refuse": "red", "note": "cyan"}


@click.command()
@click.argument("what", metavar="FILE|NAME")
@click.option(
    "-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="One member of the input; VALUE is JSON, else text."
)
@click.option("--inputs", "whole", metavar="JSON", help="The whole input as one JSON object.")
@click.option("--as", "agent_id", metavar="AGENT", help="Weigh it as a plan that this agent submits.")
@context.tenant_option
@click.pass_context
def plan(ctx: click.Context, what: str, pairs: tuple[str, ...], whole: str | None, agent_id: str | None, tenant: str | None) -> int:
    """Weigh a workflow before anything of it is done: a FILE, or the newest NAME of the tenant.

    Without an input, what it would hold counts as unknown. Exit code 0 when the gates let it pass, 4 when a person must look, 3
    when it would be refused.
    """
    from aegis.surfaces.cli.call import arguments

    name = context.the_tenant(ctx, tenant)
    made = _definition(ctx, name, what)
    given = arguments(pairs, whole) if pairs or whole else None

    async def work(app: "App") -> "tuple[GateReport, Gates]":
        await app.rollout.refresh()
        await app.gate.halts.refresh()
        found = app.gate.tenant(name)
        return await app.plans.weigh(found, made, given, _proposer(found, agent_id))

    report, gates = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("workflow-plan", _document(made, report, gates))
    else:
        _print(made, report, gates, f"{context.settings(ctx).root}{os.sep}")
    return ENDINGS[report.verdict]


def _definition(ctx: click.Context, tenant: str, what: str) -> "Workflow":
    from aegis.adapters import workflows
    from aegis.adapters.catalogue import read
    from aegis.errors import ConfigError
    from aegis.model.document import parse
    from aegis.model.node import nearest
    from aegis.workflow.reading import workflow

    if Path(what).is_file():
        return workflow(parse(read(Path(what)), source=what))
    known = workflows.load(context.settings(ctx).tenants / tenant, tenant)
    found = known.workflow(*what.partition("@")[::2])
    if found is None:
        raise ConfigError(f"no file and no workflow `{what}` in tenant `{tenant}`{nearest(what, known.newest)}")
    return found


def _proposer(tenant: "Tenant", agent_id: str | None) -> "Principal | None":
    """The agent with everything that the directory lets it hold."""
    from aegis.errors import ConfigError
    from aegis.model.node import nearest
    from aegis.model.principal import Principal

    if agent_id is None:
        return None
    entry = tenant.directory.agents.get(agent_id)
    if entry is None:
        raise ConfigError(f"no agent `{agent_id}` in tenant `{tenant.name}`{nearest(agent_id, tenant.directory.agents)}")
    return Principal(
        tenant=tenant.name, agent_id=entry.id, subject=entry.id, roles=entry.roles, scopes=entry.scopes, trust=entry.trust
    )


def _document(made: "Workflow", report: "GateReport", gates: "Gates") -> dict[str, Any]:
    from aegis.workflow.gates.outlook import awaited, order

    return {
        "name": made.name, "version": made.version, "digest": made.digest, "run_as": made.run_as, "verdict": report.verdict,
        "risk": {
            "total": report.risk, "auto_below": gates.auto_below, "deny_above": gates.deny_above, "factors": report.factors,
        },
        "cost": report.cost, "report": report.digest, "findings": report.findings, "order": order(made),
        "approvals": awaited(made, report),
    }  # fmt: skip


def _print(made: "Workflow", report: "GateReport", gates: "Gates", here: str) -> None:
    click.echo(f"{made.name} {made.version} acts as {made.run_as or 'nobody'}, {made.digest[:19]}")
    click.echo(f"{click.style(report.verdict, fg=_STYLES[report.verdict])}: submitted as a plan it {_said(report, gates)}")
    _order(made)
    _asked(made, report)
    between = f"alone below {gates.auto_below}, refused above {gates.deny_above}"
    click.echo(f"\nrisk {report.risk} ({between if gates.source else 'no `gates.yaml`: a person looks at every plan'})")
    counted = [each for each in report.factors if each.count]
    rows = [(each.name, each.count, each.weight, each.subtotal, ", ".join(each.steps)) for each in counted]
    output.table(("factor", "count", "weight", "subtotal", "steps"), rows, empty="nothing counts")
    _cost(report)
    for found in report.findings:
        where = f" at {found.place.replace(here, '')}" if found.place else ""
        click.echo(f"\n{click.style(found.level, fg=_STYLES[found.level])} {found.gate}.{found.code}{output.harmless(where)}")
        output.wrapped(output.harmless(f"{f'step {found.step}: ' if found.step else ''}{found.text}"))


def _said(report: "GateReport", gates: "Gates") -> str:
    """What would become of it, and who would be asked before it starts."""
    who = " and ".join(" or ".join(group) for group in gates.approvers.sets)
    return SAID[report.verdict] + (f": {who}" if report.verdict == "person" else "")


def _order(made: "Workflow") -> None:
    from aegis.workflow.gates.outlook import order

    click.echo("\norder (steps with one number may run together)")
    rows = [(look.wave, look.step, look.kind, look.what, ", ".join(look.after)) for look in order(made)]
    output.table(("", "step", "kind", "what", "after"), rows, empty="no steps")


def _asked(made: "Workflow", report: "GateReport") -> None:
    from aegis.workflow.gates.outlook import awaited

    for each in awaited(made, report):
        who = " and ".join(" or ".join(group) for group in each.approvers)
        many = f", {each.quorum} of them" if each.quorum > 1 else ""
        output.wrapped(f"asks at {each.step}: {who}{many}" if who else f"asks at {each.step}: {each.why}", indent=0)


def _cost(report: "GateReport") -> None:
    least, most, budget = report.cost.least, report.cost.most, report.cost.budget
    parts = ((least.calls, most.calls, budget.calls, "calls"), (least.tokens, most.tokens, budget.tokens, "tokens"),
             (least.micros, most.micros, budget.micros, "micros"))  # fmt: skip
    told = [
        f"{low if low == high else f'{low} to {high}'} {what}{'' if limit is None else f' of at most {limit}'}"
        for low, high, limit, what in parts
        if high or limit is not None
    ]
    click.echo(f"cost {', '.join(told) or 'nothing'}")
