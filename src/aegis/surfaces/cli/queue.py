"""`aegis queue`: whose queues there are, how much lies in them and since when; pause, resume and drain them."""

from typing import Any

import click
import msgspec

from aegis.app import App
from aegis.runtime.runs.queued import Gate, Queued, TaskState
from aegis.runtime.runs.queues import Depth
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group

_WHO = "Who you are (person:NAME); your key must be here."
_TOLD = {
    Gate.PAUSED: "takes tasks in and hands none out; undo: aegis queue resume {name} --as {person} --reason ...",
    Gate.OPEN: "takes tasks in and hands them out",
    Gate.DRAINING: "hands out what lies there and takes nothing in; undo: aegis queue resume {name} --as {person} --reason ...",
}


@click.group(cls=Group)
def queue() -> None:
    """See the queues of agents' tasks; pause, resume and drain them."""


@queue.command("list")
@context.tenant_option
@click.pass_context
def list_(ctx: click.Context, tenant: str | None) -> None:
    """List the queues of a tenant: how they stand, how much waits, since when, and whose they are."""
    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> tuple[Depth, ...]:
        return await app.tasks.queues.listed(app.gate.tenant(name))

    found = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("queues", {"queues": found})
        return
    output.table(
        ("queue", "state", "ready", "at work", "outside", "oldest", "owner"),
        [(d.queue, str(d.gate), d.ready, d.working, d.waiting, _age(d), d.owner) for d in found],
        empty=f"no queue: write tenants/{name}/queues/NAME.yaml",
        keep=("queue",),
    )


@queue.command()
@click.argument("name")
@click.option("--limit", default=50, show_default=True, help="How many tasks at most.")
@context.tenant_option
@click.pass_context
def show(ctx: click.Context, name: str, limit: int, tenant: str | None) -> None:
    """Show one queue, and the tasks of its workers, oldest first. What they work on is sealed and not shown."""
    whose = context.the_tenant(ctx, tenant)

    async def work(app: App) -> tuple[Depth, list[Queued]]:
        depth = await app.tasks.queues.depth(app.gate.tenant(whose), name)
        return depth, await app.tasks.queues.tasks(whose, name)

    depth, tasks = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("queue", {**msgspec.to_builtins(depth), "tasks": [_public(task) for task in tasks[:limit]]})
        return
    output.fields(_told(depth).items())
    output.table(
        ("run", "step", "agent", "state", "worker", "offered"),
        [(t.run, t.node, t.agent_id, _state(t), t.worker, output.ago(t.offered_at)) for t in tasks[:limit]],
        empty="no task of a worker lies here",
        keep=("run",),
    )


def _changing(word: str, gate: Gate, tells: str) -> click.Command:
    @click.argument("name")
    @click.option("--as", "person", required=True, metavar="PERSON", help=_WHO)
    @click.option("--reason", required=True, help="Why; it is recorded.")
    @context.tenant_option
    @click.pass_context
    def change(ctx: click.Context, name: str, person: str, reason: str, tenant: str | None) -> None:
        whose = context.the_tenant(ctx, tenant)

        async def work(app: App) -> Any:
            await app.tasks.queues.depth(app.gate.tenant(whose), name)
            proof = context.signed_by(app, whose, person)
            return await app.tasks.queues.set(whose, name, gate, by=person, reason=reason, statement=proof)

        context.with_app(ctx, work)
        if context.as_json(ctx):
            output.document("queue-changed", {"tenant": whose, "queue": name, "state": str(gate), "by": person})
            return
        click.echo(f"queue `{name}` {_TOLD[gate].format(name=name, person=person)}")

    change.__doc__ = tells
    return queue.command(word)(change)


pause = _changing(
    "pause", Gate.PAUSED, "Hand out no task of a queue any more; what is handed out goes on, and tasks still come in."
)
resume = _changing("resume", Gate.OPEN, "Let a queue take tasks in and hand them out again.")
drain = _changing(
    "drain", Gate.DRAINING, "Take no new task in and hand out what lies there; new tasks wait until the queue resumes."
)


def _told(depth: Depth) -> dict[str, str]:
    changed = f" by {depth.by}: {depth.reason}" if depth.by else ""
    return {
        "queue": depth.queue,
        "owner": depth.owner,
        "state": f"{depth.gate}{changed}",
        "ready": str(depth.ready),
        "at work": str(depth.working),
        "outside": str(depth.waiting),
        "oldest": _age(depth),
        "workers": ", ".join(depth.workers) or "none at work",
    }


def _age(depth: Depth) -> str:
    return output.ago(depth.oldest) if depth.oldest else ""


def _state(task: Queued) -> str:
    return f"outside: {task.why}" if task.state is TaskState.WAITING else str(task.state)


def _public(task: Queued) -> dict[str, Any]:
    """What a program may read of a task: nothing by which it could be taken or answered."""
    found: dict[str, Any] = msgspec.to_builtins(task)
    return {name: value for name, value in found.items() if name not in ("stand", "lease")}
