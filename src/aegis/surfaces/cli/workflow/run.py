"""`aegis workflow run`: begin a run through the gateway, and follow it while its tree fills in."""

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED, WAITS
from aegis.surfaces.cli.workflow import drawn

LOOK_SECONDS = 0.2
FRESH_SECONDS = 200
ENDINGS = {"succeeded": DONE, "failed": FAILED, "compensated": FAILED, "cancelled": FAILED, "stuck": FAILED}


@click.command()
@click.argument("what", metavar="NAME|FILE")
@click.option(
    "-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="One member of the input; VALUE is JSON, else text."
)
@click.option("--inputs", "whole", metavar="JSON", help="The whole input as one JSON object.")
@click.option("--key", default="", help="The same key begins one run, however often it is tried (default: a new one).")
@click.option("--as", "agent_id", metavar="AGENT", help="Issue a token for this agent here (else AEGIS_TOKEN is used).")
@click.option("--follow", is_flag=True, help="Watch it until it ends, or waits for a person or a signal.")
@click.option("--url", help="The gateway (or AEGIS_URL; default: the one of the settings).")
@context.tenant_option
@click.pass_context
def run(
    ctx: click.Context, what: str, pairs: tuple[str, ...], whole: str | None, key: str, agent_id: str | None, *, follow: bool,
    url: str | None, tenant: str | None,
) -> int:  # fmt: skip
    """Begin a run of the workflow NAME, or of the one in FILE, which goes through the gates as a plan.

    With --follow the exit code is 0 when it succeeded, 1 when it failed, was undone or is stuck, 4 when it
    waits for a person or a signal.
    """
    from aegis.surfaces.cli.call import arguments

    given = arguments(pairs, whole)
    client = _client(ctx, url, agent_id, tenant)
    with client:
        begun = _begun(client, what, given, key or uuid.uuid4().hex)
        if not follow:
            return _told(ctx, begun)
        view = _followed(client, begun, quiet=context.as_json(ctx))
    if context.as_json(ctx):
        output.document("run", view | {"next": drawn.commands(view)})
    else:
        _ending(view)
    return ENDINGS.get(view["state"], WAITS)


def _begun(client: Any, what: str, given: dict[str, Any], key: str) -> str:
    """The id of the run. A file is submitted as a plan, a name is the tool `workflow.NAME`."""
    path = Path(what)
    if path.suffix not in (".yaml", ".yml", ".json") and not path.is_file():
        return str(client.begin(what, given, key=key))
    from aegis.adapters.catalogue import read

    said = client.submit(read(path), given or None, key=key)
    if not said.get("run"):
        raise ConfigError(
            f"the plan {said['plan_id']} is {said['state']}: `aegis workflow plan {what}` tells what the gates say of it"
        )
    return str(said["run"])


def _told(ctx: click.Context, begun: str) -> int:
    if context.as_json(ctx):
        output.document("run", {"run": begun})
    else:
        click.echo(f"{begun}\nwatch: aegis workflow show {begun}")
    return DONE


def _followed(client: Any, begun: str, *, quiet: bool) -> dict[str, Any]:
    """The run as it stands at the end, drawn on the way there: as a tree that fills in, or a line for each change."""
    views = _views(client, begun)
    if quiet:
        return list(views)[-1]
    if sys.stdout.isatty():
        return _filled_in(views)
    click.echo(begun)
    known: dict[str, str] = {}
    for view in views:
        for step in view["steps"]:
            if known.get(step["node"], "pending") != (line := drawn.plain(step)) and step["state"] != "pending":
                known[step["node"]] = line
                click.echo("\n".join(drawn.wrapped(output.harmless(line))))
    return view


def _views(client: Any, begun: str) -> Iterator[dict[str, Any]]:
    while True:
        view = client.run(begun)["run"]
        yield view
        if view["state"] in ENDINGS or _needs_somebody(view):
            return
        time.sleep(LOOK_SECONDS)


def _needs_somebody(view: dict[str, Any]) -> bool:
    """Whether nothing goes on before somebody has looked, or has told a signal, which may take days."""
    waits = {(step.get("waits") or {}).get("what") for step in view["steps"]}
    return view["state"] == "halted" or (view["state"] == "waiting" and bool(waits & {"approval", "person", "signal"}))


def _filled_in(views: Iterator[dict[str, Any]]) -> dict[str, Any]:
    from rich.live import Live
    from rich.text import Text

    with Live(refresh_per_second=10, transient=False) as live:
        for view in views:
            live.update(Text.from_ansi("\n".join([f"{view['run']}  {output.word(view['state'])}", *drawn.lines(view)])))
    return view


def _ending(view: dict[str, Any]) -> None:
    spent = drawn.budget(view)
    click.echo("\n" + output.word(view["state"]) + (f": {output.harmless(view['failure'])}" if view.get("failure") else "")
               + (f"   (spent {spent})" if spent else ""))  # fmt: skip
    for command in drawn.commands(view):
        click.echo(f"next: {output.harmless(command)}")


def _client(ctx: click.Context, url: str | None, agent_id: str | None, tenant: str | None) -> Any:
    """A client whose token is made anew before it ends: a run may take longer than a token lives."""
    from aegis.sdk.client import Client
    from aegis.surfaces.cli.call import client

    return Client(context.url_of(ctx, url), _fresh(ctx, agent_id, tenant)) if agent_id else client(ctx, url, None, tenant, None)


def _fresh(ctx: click.Context, agent_id: str, tenant: str | None) -> Callable[[], str]:
    from aegis.surfaces.cli.token import issue

    made: list[tuple[float, str]] = []

    def token() -> str:
        if not made or time.monotonic() - made[-1][0] > FRESH_SECONDS:
            made[:] = [(time.monotonic(), issue(ctx, agent_id, tenant=tenant))]
        return made[-1][1]

    return token
