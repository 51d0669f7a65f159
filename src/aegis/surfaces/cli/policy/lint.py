"""`aegis policy lint`: what is wrong, useless or missing in a set that loads."""

from pathlib import Path

import click

from aegis.policy.lint import SEVERITIES
from aegis.policy.lint import lint as lint_set
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED
from aegis.surfaces.cli.policy.sets import open_set, set_argument


@click.command()
@set_argument
@click.option(
    "--fail-on", type=click.Choice(SEVERITIES), default="error", show_default=True, help="Exit code 1 from this severity on."
)
@click.pass_context
def lint(ctx: click.Context, file: Path | None, tenant: str | None, fail_on: str) -> int:
    """Find rules that cannot fire, that others cover, and what lacks a reason or a test.

    Works on FILE, or on the policy of a tenant.
    """
    opened = open_set(ctx, file, tenant)
    found = lint_set(opened.policy, opened.tenant_data)
    bad = [each for each in found if SEVERITIES.index(each.severity) <= SEVERITIES.index(fail_on)]
    if context.as_json(ctx):
        output.document("policy-lint", {"ok": not bad, "policy": opened.policy.ref, "findings": found})
        return FAILED if bad else DONE
    for each in found:
        click.echo(f"{click.style(each.severity, fg=_COLOURS[each.severity])} {each.check} {click.style(each.about, bold=True)}")
        output.wrapped(each.text)
        if each.place:
            click.echo(f"    {each.place}")
    counts = ", ".join(f"{sum(each.severity == word for each in found)} {word}s" for word in SEVERITIES)
    click.echo(f"{opened.policy.name}: {len(opened.policy.rules)} rules: {counts}")
    return FAILED if bad else DONE


_COLOURS = {"error": "red", "warning": "yellow", "note": None}
