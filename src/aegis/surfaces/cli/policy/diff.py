"""`aegis policy diff`: two versions of a set, and the calls that they decide differently."""

from pathlib import Path

import click
import msgspec

from aegis.policy.diff import Difference
from aegis.policy.diff import diff as diff_sets
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED
from aegis.surfaces.cli.policy.sets import open_set

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="[OLD] NEW")
@context.tenant_option
@click.option("--no-loosen", is_flag=True, help="Exit code 1 when less would stand in the way of some call.")
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="List at most so many calls.")
@click.pass_context
def diff(ctx: click.Context, files: tuple[Path, ...], tenant: str | None, no_loosen: bool, limit: int) -> int:
    """Compare OLD (default: the policy of the tenant) with NEW: rules, tools, lists, and what they decide.

    The calls are the tests of both, and generated calls at the edges of every rule of both. Those that loosen stand first.
    """
    if len(files) > 2:
        raise click.UsageError("expected OLD and NEW, or NEW alone")
    new = open_set(ctx, files[-1], None)
    old = open_set(ctx, files[0], None) if len(files) == 2 else open_set(ctx, None, tenant or new.policy.tenant)
    found = diff_sets(old.policy, new.policy, {**old.tenant_data, **new.tenant_data})
    bad = no_loosen and found.loosened > 0
    if context.as_json(ctx):
        body = msgspec.to_builtins(found)
        output.document(
            "policy-diff", {"ok": not bad, "old": old.policy.ref, "new": new.policy.ref, **body, "loosened": found.loosened}
        )
    else:
        _print(found, limit)
    return FAILED if bad else DONE


def _print(found: Difference, limit: int) -> None:
    for change in found.changes:
        click.echo(f"{change.change} {change.what} {click.style(change.name, bold=True)}")
        for detail in change.details:
            output.wrapped(detail)
    if found.changes:
        click.echo()
    for flip in found.flips[:limit]:
        mark = click.style("  LOOSENED", fg="yellow") if flip.loosens else ""
        click.echo(f"{flip.before} -> {flip.after}{mark}")
        output.wrapped(", ".join(f"{path}: {_short(value)}" for path, value in flip.given.items()))
        output.wrapped(f"by {', '.join(flip.before_rules)}, now by {', '.join(flip.after_rules)}; from {flip.source}")
    if len(found.flips) > limit:
        click.echo(f"... and {len(found.flips) - limit} more")
    click.echo(f"{len(found.flips)} of {found.compared} calls are decided differently, {found.loosened} of them loosened")


def _short(value: object) -> str:
    shown = msgspec.json.encode(value).decode()
    return shown if len(shown) <= 60 else f"{shown[:40]}... ({len(shown)} characters)"
