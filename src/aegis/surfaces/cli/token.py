"""`aegis token`: issue a token for an agent from the tenant's own key, or sign an agent's proof of who it is with the agent's key.

An agent whose directory entry names a prompt states its digest, as the file lies there now.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from aegis.identity.directory import AgentEntry
from aegis.model.stated import NAMES
from aegis.settings import Settings
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
    from aegis.identity.access import build_access
    from aegis.identity.token import mint
    from aegis.runtime import ids

    settings = context.settings(ctx)
    name = context.the_tenant(ctx, tenant)
    known = _known(settings, name, agent_id)
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
        prompt=_prompt(settings, name, known),
    )
    return mint(claims, keyfiles.load_private(settings.keys, "sts", name, "", now=now))


def assertion(ctx: click.Context, agent_id: str, tenant: str | None) -> str:
    """What an agent sends to the token service to say who it is, signed with its own key: good once, for a minute."""
    from aegis.adapters import keyfiles
    from aegis.identity.assertion import build_assertion
    from aegis.identity.token import mint
    from aegis.runtime import ids

    settings, name, now = context.settings(ctx), context.the_tenant(ctx, tenant), datetime.now(UTC)
    prompt = _prompt(settings, name, _known(settings, name, agent_id))
    claims = build_assertion(tenant=name, agent_id=agent_id, token_id=ids.new("one", now), now=now, prompt=prompt)
    return mint(claims, keyfiles.load_private(settings.keys, "workload", name, agent_id, now=now))


def _known(settings: Settings, tenant: str, agent_id: str) -> AgentEntry:
    from aegis.app import directory_of
    from aegis.errors import ConfigError
    from aegis.model.node import nearest

    agents = directory_of(settings, tenant).agents
    if agent_id not in agents:
        raise ConfigError(f"no agent `{agent_id}` in tenants/{tenant}/directory.yaml{nearest(agent_id, sorted(agents))}")
    return agents[agent_id]


def _prompt(settings: Settings, tenant: str, entry: AgentEntry) -> str:
    from aegis.adapters import trust

    return trust.artifact(settings.tenants / tenant, tenant, entry.prompt, "prompt").digest if entry.prompt else ""


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
@click.option("--assertion", "says_who", is_flag=True, help="Instead, what the agent sends to POST /v1/token: good once, 60 s.")
@context.tenant_option
@click.pass_context
def token(ctx: click.Context, /, agent_id: str, tenant: str | None, says_who: bool, **claims: Any) -> None:
    """Issue a token for AGENT_ID (or for a person whose key is here), good for at most five minutes, and print it.

    \b
    export AEGIS_TOKEN=$(aegis token agent:assistant)
    """  # noqa: D301 - click reads the \b
    if says_who and any(claims[name] not in (None, "", (), 300) for name in claims):
        raise click.UsageError("--assertion only says who the agent is: state scopes, roles and tasks to the token service")
    if says_who:
        text = assertion(ctx, agent_id, tenant)
    elif agent_id.startswith("person:"):
        text = person(ctx, agent_id, context.the_tenant(ctx, tenant))
    else:
        text = issue(ctx, agent_id, tenant=tenant, **claims)
    output.document("token", {"token": text}) if context.as_json(ctx) else click.echo(text)
