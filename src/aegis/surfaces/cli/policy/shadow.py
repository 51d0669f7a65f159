"""`aegis policy shadow-report`: what rules in shadow would have done, and which are ready."""

from datetime import timedelta
from typing import Any

import click
from msgspec.structs import replace

from aegis.app import App
from aegis.errors import ConfigError
from aegis.model.node import choices, nearest
from aegis.policy.ir import Policy
from aegis.policy.shadow import Criteria, Line, Readiness, Report
from aegis.runtime.marks import Mark, decisions, mark, marks
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED
from aegis.surfaces.cli.policy.sets import since_option

_DEFAULT = Criteria()


@click.command("shadow-report")
@since_option
@context.tenant_option
@click.option("--rule", help="Only this rule; with --false-positive, the rule that was wrong.")
@click.option("--false-positive", "request_id", metavar="REQUEST_ID", help="Mark: the rule would have stopped this call wrongly.")
@click.option("--as", "person", metavar="PERSON", help="Who marks it (person:NAME); your key must be here.")
@click.option("--note", default="", help="Why it was wrong; it is recorded.")
@click.option("--min-calls", type=click.IntRange(0), default=_DEFAULT.calls, show_default=True, help="Ready: calls seen.")
@click.option("--min-days", type=click.IntRange(0), default=_DEFAULT.days, show_default=True, help="Ready: days watched.")
@click.option(
    "--max-false-positives", type=click.IntRange(0), default=_DEFAULT.false_positives, show_default=True, help="Ready: tolerated."
)
@click.option("--max-share", type=click.IntRange(0, 100), default=100, show_default=True, help="Ready: percent it would block.")
@click.option("--require-ready", is_flag=True, help="Exit code 1 while a rule in shadow is not ready.")
@click.pass_context
def shadow_report(
    ctx: click.Context,
    since: timedelta,
    tenant: str | None,
    rule: str | None,
    request_id: str | None,
    person: str | None,
    note: str,
    min_calls: int,
    min_days: int,
    max_false_positives: int,
    max_share: int,
    require_ready: bool,
) -> int:
    """Tell what rules in shadow would have stopped, by rule, agent and tool, and which of them are ready.

    A rule is ready after enough calls of its tools, enough days between the first and the last of them, and no more false positives
    than are tolerated. Arguments are never shown: `aegis explain REQUEST_ID` tells more.
    """
    name = context.the_tenant(ctx, tenant)
    if request_id is not None:
        return _mark(ctx, name, request_id, rule, person, note)
    criteria = Criteria(calls=min_calls, days=min_days, false_positives=max_false_positives, most_percent=max_share)

    async def work(app: App) -> Report:
        said = await marks(app.gate.store, name)
        report = Report(await _policy(app, name), [(each.request_id, each.rule) for each in said])
        async for seen in decisions(app.gate.store, name, app.gate.clock.now() - since):
            report.take(seen)
        return report

    report = context.with_app(ctx, work)
    if rule is not None and rule not in (
        known := {each.rule for each in report.lines()} | {each.rule for each in report.verdicts(criteria)}
    ):
        raise ConfigError(f"no rule `{rule}` is or was in shadow; expected {choices(known)}{nearest(rule, known)}")
    lines = [line for line in report.lines() if rule in (None, line.rule)]
    verdicts = [verdict for verdict in report.verdicts(criteria) if rule in (None, verdict.rule)]
    bad = require_ready and not all(verdict.ready for verdict in verdicts)
    if context.as_json(ctx):
        shown = [_document(verdict) for verdict in verdicts]
        output.document("policy-shadow-report", {"ok": not bad, "criteria": criteria, "rules": shown, "lines": lines})
    else:
        _print(lines, verdicts)
    return FAILED if bad else DONE


async def _policy(app: App, tenant: str) -> Policy | None:
    """The set whose rules are in shadow: a whole version, or the set that decides; none when it cannot be served."""
    await app.rollout.refresh()
    found = app.gate.tenant(tenant)
    if found.shadow is not None:
        return replace(found.shadow.policy, shadow=True)
    return found.enforced.policy if found.enforced else None


def _mark(ctx: click.Context, tenant: str, request_id: str, rule: str | None, person: str | None, note: str) -> int:
    if rule is None or person is None:
        raise click.UsageError("--false-positive needs --rule RULE and --as PERSON")
    wanted = Mark(request_id=request_id, rule=rule, by=person, note=note)

    async def work(app: App) -> bool:
        return await mark(app.gate.store, app.gate.clock, tenant, wanted, statement=context.signed_by(app, tenant, person))

    if not context.with_app(ctx, work):
        raise ConfigError(f"request `{request_id}` is marked already for rule `{rule}`")
    if context.as_json(ctx):
        output.document("policy-false-positive", wanted)
    else:
        click.echo(f"{request_id}: marked as a false positive of {rule}")
    return DONE


def _document(verdict: Readiness) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in verdict.__struct_fields__} | {"ready": verdict.ready}


def _print(lines: list[Line], verdicts: list[Readiness]) -> None:
    for line in lines:
        share = 100 * line.would_block // line.calls if line.calls else 0
        click.echo(click.style(line.rule, bold=True))
        output.wrapped(f"{line.agent} calling {line.tool}: would have stopped {line.would_block} of {line.calls} calls ({share} %)")
        if line.first and line.last:
            output.wrapped(f"fired {line.fired} times, first {line.first:%Y-%m-%d %H:%M}, last {line.last:%Y-%m-%d %H:%M}")
        if line.false_positives:
            output.wrapped(f"marked as a false positive: {line.false_positives}")
        for example in line.examples:
            click.echo(f"    e.g. {example}")
    if not verdicts:
        click.echo("no rule is in shadow")
        return
    click.echo()
    for verdict in verdicts:
        click.echo(f"{verdict.rule}: {'ready' if verdict.ready else 'not ready'}")
        if verdict.missing:
            output.wrapped("; ".join(verdict.missing))
