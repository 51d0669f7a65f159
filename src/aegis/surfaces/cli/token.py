"""`aegis token`: issue a token for an agent from the tenant's own key."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from aegis.model.stated import NAMES
from aegis.surfaces.cli import context, output


def issue(
    ctx: click.Context,
    agent_id: str,
    *,
    tenant: str | None,
    parent: tuple[str, str] | None = None,
    subject: str = "",
    ttl_seconds: int = 300,
    scopes: tuple[str, ...] = (),
    roles: tuple[str, ...] = (),
    txn: str = "",
    task: str = "",
    facts: tuple[tuple[str, int], ...] = (),
) -> str:
    """A token for an agent of the directory; roles and scopes are all it holds, unless fewer are asked for."""
    from aegis.adapters import keyfiles
    from aegis.app import directory_of
    from aegis.errors import ConfigError
    from aegis.identity.token import build_access, mint
    from aegis.runtime import ids

    settings = context.settings(ctx)
    name = context.the_tenant(ctx, tenant)
    known = directory_of(settings, name).agents.get(agent_id)
    if known is None:
        raise ConfigError(f"no agent `{agent_id}` in tenants/{name}/directory.yaml")
    now = datetime.now(UTC)
    claims = build_access(
        tenant=name,
        agent_id=agent_id,
        subject=subject or agent_id,
        roles=roles or known.roles,
        scopes=scopes or known.scopes,
        audience=settings.gateway.audience,
        now=now,
        ttl=timedelta(seconds=ttl_seconds),
        token_id=ids.new("tok", now),
        parent=parent,
        txn=txn,
        task=task,
        stated=dict(facts),
    )
    return mint(claims, keyfiles.load_private(settings.keys, "sts", name, "", now=now))


def person(ctx: click.Context, person_id: str, tenant: str) -> str:
    """A token that a person signs with their own key, to read approvals over HTTP."""
    from aegis.adapters import keyfiles
    from aegis.identity.token import build_person, mint

    settings = context.settings(ctx)
    claims = build_person(tenant=tenant, person=person_id, audience=settings.gateway.audience, now=datetime.now(UTC))
    return mint(claims, keyfiles.load_private(settings.keys, "human", tenant, person_id, now=datetime.now(UTC)))


@click.command()
@click.argument("agent_id")
@click.option("--for", "subject", default="", help="For whom the agent acts (default: itself).")
@click.option("--ttl", "ttl_seconds", default=300, show_default=True, type=click.IntRange(1, 300), help="Seconds to live.")
@click.option("--scope", "scopes", multiple=True, help="Only these tools (repeat); must be held by the agent.")
@click.option("--role", "roles", multiple=True, help="Only these roles (repeat); must be held by the agent.")
@click.option(
    "--parent", nargs=2, metavar="AGENT REQUEST_ID", help="A delegated token: who hands down, and from which live request."
)
@click.option("--txn", default="", help="Transaction that the token belongs to.")
@click.option("--task", default="", help="Task that the token belongs to.")
@click.option(
    "--fact",
    "facts",
    nargs=2,
    type=(click.Choice(NAMES), click.IntRange(0)),
    multiple=True,
    metavar="NAME N",
    help="A number for rules to read, such as `risk.percent 40` or `budget.left_micros 2500000` (repeat).",
)
@context.tenant_option
@click.pass_context
def token(ctx: click.Context, /, agent_id: str, tenant: str | None, **claims: Any) -> None:
    """Issue a token for AGENT_ID (or for a person whose key is here), good for at most five minutes, and print it.

    \b
    export AEGIS_TOKEN=$(aegis token agent:assistant)
    """  # noqa: D301 - click reads the \b
    if agent_id.startswith("person:"):
        text = person(ctx, agent_id, context.the_tenant(ctx, tenant))
    else:
        text = issue(ctx, agent_id, tenant=tenant, **claims)
    output.document("token", {"token": text}) if context.as_json(ctx) else click.echo(text)
