"""`aegis credentials`: what the gateway shows to a tenant's tools, sealed in the store."""

import sys

import click

from aegis.app import App
from aegis.errors import ConfigError
from aegis.runtime.credentials import Listed, server_of
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group


@click.group(cls=Group)
def credentials() -> None:
    """Seal, list and remove the credentials by which the gateway authenticates to tools.

    A contract names one as `credential: {header: authorization, prefix: "Bearer ", sealed: NAME}`. Every gateway process follows a
    change within a second. Nothing ever shows a secret again.
    """


@credentials.command("set")
@click.argument("name")
@click.option("--for", "url", metavar="URL", help="The server that it is for (default: that of the contracts that name it).")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def set_(ctx: click.Context, name: str, url: str | None, person: str, tenant: str | None) -> None:
    """Seal the secret that standard input holds, as NAME. One that was there before is replaced.

    It is sent to no server but the one that it is for, whatever a contract says.
    """
    of = context.the_tenant(ctx, tenant)
    secret = _secret()

    async def work(app: App) -> tuple[int, str]:
        proof = context.signed_by(app, of, person)
        server = url or server_of(name, app.gate.tenant(of).by_digest)
        return await app.credentials.put(of, name, secret, url=server, by=person, statement=proof), server

    version, server = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("credential", {"tenant": of, "name": name, "for": server, "version": version})
        return
    click.echo(f"{name} is sealed for {server} (version {version}); gateways use it within a second")


@credentials.command("list")
@context.tenant_option
@click.pass_context
def list_(ctx: click.Context, tenant: str | None) -> None:
    """List the credentials of a tenant: names, servers and tools, never a secret."""
    of = context.the_tenant(ctx, tenant)

    async def work(app: App) -> tuple[tuple[Listed, ...], list[tuple[str, str]]]:
        contracts = app.gate.tenant(of).by_digest
        return await app.credentials.listed(of, contracts), await app.credentials.unset(of)

    found, unset = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("credentials", {"credentials": found, "unset": [{"name": name, "why": why} for name, why in unset]})
        return
    rows = [(each.name, each.origin, each.version, each.by, ", ".join(each.tools) or "none") for each in found]
    output.table(("name", "for", "version", "by", "tools"), rows, empty=f"tenant {of} has no sealed credential", keep=("name",))
    for missing, why in unset:
        click.echo(f"{missing}: {why}")


@credentials.command()
@click.argument("name")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def remove(ctx: click.Context, name: str, person: str, tenant: str | None) -> None:
    """Withdraw the credential NAME: calls that need it are not sent from then on."""
    of = context.the_tenant(ctx, tenant)

    async def work(app: App) -> bool:
        return await app.credentials.remove(of, name, by=person, statement=context.signed_by(app, of, person))

    if not context.with_app(ctx, work):
        raise ConfigError(f"tenant `{of}` has no credential `{name}`: `aegis credentials list` shows them")
    if context.as_json(ctx):
        output.document("credential", {"tenant": of, "name": name, "removed": True})
        return
    click.echo(f"{name} is withdrawn; gateways stop using it within a second")


def _secret() -> str:
    """What standard input holds, without the end of its line. It never stands in the arguments, where other users could see it."""
    if sys.stdin.isatty():
        return str(click.prompt("secret", hide_input=True))
    try:
        return sys.stdin.buffer.read().decode("ascii").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigError("the secret is not one line of visible ASCII") from None
