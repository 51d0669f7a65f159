"""`aegis call` and `aegis decide`: act as an agent, over HTTP like every agent."""

import os
from typing import Any

import click
import msgspec

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.token import issue


def _options(command: Any) -> Any:
    for option in reversed(
        [
            click.argument("tool"),
            click.option(
                "-a", "--arg", "pairs", multiple=True, metavar="NAME=VALUE", help="One argument; VALUE is JSON, else text."
            ),
            click.option("--args", "whole", metavar="JSON", help="All arguments as one JSON object."),
            click.option("--key", default="", help="Idempotency key; a write needs one."),
            click.option("--as", "agent_id", metavar="AGENT", help="Issue a token for this agent here (else AEGIS_TOKEN is used)."),
            click.option("--url", help="The gateway (or AEGIS_URL; default: the one of the settings)."),
            click.option("--request-id", default="", help="Your own id for this request."),
            click.option("--parent", nargs=2, metavar="AGENT REQUEST_ID", help="The call on whose behalf this one is made."),
            context.tenant_option,
        ]
    ):
        command = option(command)
    return command


def arguments(pairs: tuple[str, ...], whole: str | None) -> dict[str, Any]:
    """The arguments of a call from `-a name=value` and `--args JSON`."""
    found: dict[str, Any] = {}
    if whole:
        try:
            value = msgspec.json.decode(whole)
        except msgspec.DecodeError:
            raise click.UsageError("--args: not valid JSON") from None
        if not isinstance(value, dict):
            raise click.UsageError("--args: expected a JSON object")
        found |= value
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"-a: expected NAME=VALUE, found no `=` in `{name}`")
        try:
            found[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            found[name] = text
    return found


def client(ctx: click.Context, url: str | None, agent_id: str | None, tenant: str | None, parent: Any) -> Any:
    """A client with a token of its own, or with `AEGIS_TOKEN`."""
    from aegis.sdk.client import Client

    if agent_id:
        token = issue(ctx, agent_id, tenant=tenant, parent=parent)
    elif "AEGIS_TOKEN" in os.environ:
        token = os.environ["AEGIS_TOKEN"]
    else:
        raise ConfigError("no identity: pass --as AGENT, or set AEGIS_TOKEN to a token from `aegis token AGENT`")
    return Client(context.url_of(ctx, url), token)


@click.command()
@_options
@click.option("--wait", type=float, default=0.0, metavar="SECONDS", help="How long to wait for an approval.")
@click.option("--override", default="", help="One-time token of an approval.")
@click.pass_context
def call(
    ctx: click.Context,
    tool: str,
    pairs: tuple[str, ...],
    whole: str | None,
    key: str,
    agent_id: str | None,
    url: str | None,
    request_id: str,
    parent: tuple[str, str] | None,
    tenant: str | None,
    wait: float,
    override: str,
) -> None:
    """Call TOOL through the gateway.

    \b
    aegis call notes.add --as agent:assistant -a title=Milk -a 'text=buy some' --key note-1
    """  # noqa: D301 - click reads the \b
    from datetime import timedelta

    with client(ctx, url, agent_id, tenant, parent) as at:
        done = at.call(
            tool,
            arguments(pairs, whole),
            key=key,
            request_id=request_id,
            parent=parent,
            override=override,
            wait=timedelta(seconds=wait),
        )
    if context.as_json(ctx):
        output.document("call", done)
        return
    again = "   (the recorded result of an earlier identical call)" if done.repeated else ""
    output.fields([("decision", output.word(done.decision) + again), ("request", done.request_id), ("approval", done.approval_id)])
    output.indented(done.result)


@click.command()
@_options
@click.pass_context
def decide(
    ctx: click.Context,
    tool: str,
    pairs: tuple[str, ...],
    whole: str | None,
    key: str,
    agent_id: str | None,
    url: str | None,
    request_id: str,
    parent: tuple[str, str] | None,
    tenant: str | None,
) -> None:
    """Ask what would be decided on a call of TOOL, and record it; nothing is forwarded."""
    with client(ctx, url, agent_id, tenant, parent) as at:
        said = at.decide(tool, arguments(pairs, whole), key=key, request_id=request_id, parent=parent)
    if context.as_json(ctx):
        output.document("decide", said)
        return
    output.fields([("decision", output.word(said.decision)), ("request", said.request_id), ("approval", said.approval_id)])
    output.indented(said.arguments)
