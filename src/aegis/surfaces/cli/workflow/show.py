"""`aegis workflow list` and `aegis workflow show`: runs, and one run step by step, read from the store."""

from typing import TYPE_CHECKING, Any

import click
import msgspec

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.workflow import drawn

if TYPE_CHECKING:
    from aegis.app import App
    from aegis.runtime.runs.reading_runs import Listed, RunView

STATES = (
    "pending", "running", "waiting", "unwinding", "halted", "succeeded", "failed", "compensated", "cancelled", "stuck",
)  # fmt: skip


@click.command("list")
@click.argument("workflow", required=False, default="")
@click.option("--state", type=click.Choice(STATES), help="Only runs that stand so.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
@click.option("--after", default="", metavar="RUN", help="Go on behind this run, which ended the page before.")
@context.tenant_option
@click.pass_context
def list_(ctx: click.Context, workflow: str, state: str | None, limit: int, after: str, tenant: str | None) -> None:
    """List runs, newest first: of one WORKFLOW, in one state, or all."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: "App") -> "Listed":
        now = app.gate.clock.now()
        return await app.workflows.reading.listed(name, now, workflow=workflow, state=state or "", limit=limit, after=after)

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("runs", {"runs": [_line(flow) for flow in found.runs], "after": found.after})
        return
    output.table(
        ("run", "state", "workflow", "started"),
        [(f.run, str(f.status), f"{f.workflow} {f.version}", output.ago(f.started_at)) for f in found.runs],
        empty="no runs",
        keep=("run",),
    )  # fmt: skip
    if found.after and len(found.runs) == limit:
        click.echo(f"\nmore: aegis workflow list {workflow} --after {found.after}".replace("  ", " "))


@click.command()
@click.argument("run")
@context.tenant_option
@click.pass_context
def show(ctx: click.Context, run: str, tenant: str | None) -> None:
    """Show RUN: its steps with their states, why it waits and for whom, and the command to run next.

    Values are sealed and not shown here: `GET /v1/runs/RUN?values=true` opens them for whoever may see them.
    """
    name = context.the_tenant(ctx, tenant)

    async def work(app: "App") -> "RunView | None":
        return await app.workflows.reading.one(name, run)

    found = context.with_app(ctx, work)
    if found is None:
        raise ConfigError(f"no run `{run}` in tenant `{name}`: `aegis workflow list` lists them")
    view = msgspec.to_builtins(found)
    if context.as_json(ctx):
        output.document("run", view | {"next": drawn.commands(view)})
        return
    print_run(view)


def print_run(view: dict[str, Any]) -> None:
    """A run on the terminal."""
    output.fields([(name, output.harmless(value)) for name, value in drawn.head(view)])
    click.echo()
    for line in drawn.lines(view):
        click.echo(line)
    for number, command in enumerate(drawn.commands(view)):
        click.echo(("\nnext: " if number == 0 else "      ") + output.harmless(command))


def _line(flow: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(flow)
    return {name: found[name] for name in found if name not in ("sealed_for", "snapshot", "seq", "transition")}
