"""`aegis policy coverage`: which rules and critical tools the tests of a set exercise, and which tools it does not govern."""

from pathlib import Path

import click

from aegis.policy.coverage import Coverage, cover
from aegis.policy.nearmiss import probes
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED
from aegis.surfaces.cli.policy.sets import Opened, open_set, set_argument

SHARE = click.IntRange(0, 100)


@click.command()
@set_argument
@click.option("--min-critical", type=SHARE, default=0, help="Exit code 1 below this share of critical tools (percent).")
@click.option("--min-rules", type=SHARE, default=0, help="Exit code 1 below this share of rules (percent).")
@click.option("--traffic", is_flag=True, help="Look in the journal for tools that were called but that the set does not know.")
@click.pass_context
def coverage(ctx: click.Context, file: Path | None, tenant: str | None, min_critical: int, min_rules: int, traffic: bool) -> int:
    """Show which rules and critical tools the tests exercise, and what the set does not govern.

    A rule counts when a test of the set makes it fire and another one nearly does. A critical tool counts when a rule allows it,
    something can stop it, some test permits it and some test stops it.
    """
    opened = open_set(ctx, file, tenant)
    found = cover(
        opened.policy,
        opened.tenant_data,
        generated=probes(opened.policy, opened.tenant_data),
        seen=_seen(ctx, opened, traffic=traffic),
    )
    bad = found.critical_percent < min_critical or found.rules_percent < min_rules
    if context.as_json(ctx):
        shares = {"rules_percent": found.rules_percent, "critical_percent": found.critical_percent}
        output.document("policy-coverage", {"ok": not bad, **shares, "coverage": found})
        return FAILED if bad else DONE
    _print(found)
    click.echo(_verdict(found, min_critical, min_rules))
    return FAILED if bad else DONE


def _seen(ctx: click.Context, opened: Opened, *, traffic: bool) -> set[str]:
    """Tools of the catalogue that lies beside the set; and those that the journal has seen."""
    from aegis.adapters import messages

    found = set(messages.registered(opened.path.parent, opened.policy.tenant).newest)
    if traffic:
        from aegis.app import App
        from aegis.runtime.learn import tools_seen

        async def work(app: App) -> set[str]:
            return await tools_seen(app.gate.store, opened.policy.tenant)

        found |= context.with_app(ctx, work)
    return found


def _print(found: Coverage) -> None:
    rows = [
        (rule.rule, rule.hits, rule.misses if rule.conditional else "-", f"{rule.generated_hits}/{rule.generated_misses}")
        for rule in found.rules
    ]
    output.table(("rule", "hits", "near misses", "generated"), rows, empty="the set has no rules", keep=("hits",))
    click.echo()
    tools = [(tool.tool, "critical" if tool.critical else "", tool.tests, "; ".join(tool.lacking) or "ok") for tool in found.tools]
    output.table(("tool", "", "tests", "lacking"), tools, empty="the set knows no tools")
    if found.ungoverned:
        click.echo("\nnot governed by this set (every call of them is denied):")
        for name in found.ungoverned:
            click.echo(f"  {name}")


def _verdict(found: Coverage, min_critical: int, min_rules: int) -> str:
    rules = f"rules hit and nearly missed: {found.rules_percent} %"
    critical = f"critical tools governed and exercised: {found.critical_percent} %"
    wanted = [(found.rules_percent, min_rules), (found.critical_percent, min_critical)]
    told = [f" (wanted: {least} %)" if has < least else "" for has, least in wanted]
    return f"\n{rules}{told[0]}\n{critical}{told[1]}"
