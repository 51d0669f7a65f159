"""`aegis workflow cancel`, `retry` and `signal`: through the gateway, as an agent by its policy or as a person who signs it."""

from typing import Any

import click

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, operated, output


@click.command()
@click.argument("run")
@operated.options()
@click.pass_context
def cancel(ctx: click.Context, run: str, who: str | None, reason: str, url: str | None, tenant: str | None) -> None:
    """End RUN: nothing moves forward any more, and what was done is undone, newest first."""
    from aegis.runtime.runs.operating import Wanted

    with operated.Asking(ctx, who, url, tenant) as at:
        said = at.do(Wanted(action="cancel", run=run, reason=reason))
    if context.as_json(ctx):
        output.document("run-operated", said)
        return
    click.echo(f"{run} is {output.word(said['state'])}\nwatch: aegis workflow show {run}")


@click.command()
@click.argument("run")
@click.argument("node", required=False, default="")
@operated.options()
@click.pass_context
def retry(ctx: click.Context, run: str, node: str, who: str | None, reason: str, url: str | None, tenant: str | None) -> None:
    """Give NODE of RUN new attempts, or every step of it that waits for a person; also compensations that failed."""
    from aegis.runtime.runs.operating import Wanted

    with operated.Asking(ctx, who, url, tenant) as at:
        nodes = [node] if node else _waiting(at.client.run(run)["run"])
        if not nodes:
            raise ConfigError(f"no step of `{run}` waits for a person: `aegis workflow show {run}`")
        said = [at.do(Wanted(action="retry", run=run, node=each, reason=reason)) for each in nodes]
    if context.as_json(ctx):
        output.document("run-operated", {"run": run, "steps": said})
        return
    for each in said:
        click.echo(f"{each['step']} is {output.word(each['step_state'])} again, the run is {output.word(each['state'])}")


@click.command()
@click.argument("run")
@click.argument("name")
@click.option("-p", "--payload", "pairs", multiple=True, metavar="NAME=VALUE", help="One member of it; VALUE is JSON, else text.")
@click.option("--payloads", "whole", metavar="JSON", help="The whole payload as one JSON object.")
@click.option("--key", default="", help="Tells this signal from another; the same key counts once (default: a new one).")
@operated.options(reason=False)
@click.pass_context
def signal(
    ctx: click.Context, run: str, name: str, pairs: tuple[str, ...], whole: str | None, key: str, who: str | None,
    url: str | None, tenant: str | None,
) -> None:  # fmt: skip
    """Tell RUN that what it waits for as NAME has happened. It is kept until a step waits for it."""
    import uuid

    from aegis.runtime.runs.operating import Wanted
    from aegis.surfaces.cli.call import arguments

    payload: Any = arguments(pairs, whole) if pairs or whole else None
    key = key or uuid.uuid4().hex
    with operated.Asking(ctx, who, url, tenant) as at:
        said = at.do(Wanted(action="signal", run=run, signal=name, key=key, payload=payload))
    if context.as_json(ctx):
        output.document("run-operated", said | {"signal": name, "key": key})
        return
    click.echo(f"{run} has the signal {name}; it is {output.word(said['state'])}")


def _waiting(view: dict[str, Any]) -> list[str]:
    return [step["node"] for step in view["steps"] if (step.get("waits") or {}).get("what") == "person"]
