"""`aegis tools`: what stands behind the gateway."""

import click
import msgspec

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, output


@click.group()
def tools() -> None:
    """List tools and show their contracts."""


def _contracts(ctx: click.Context, tenant: str | None):  # type: ignore[no-untyped-def]  # noqa: ANN202 - see catalogue.load
    from aegis.adapters import catalogue

    name = context.the_tenant(ctx, tenant)
    return catalogue.load(context.settings(ctx).tenants / name / "tools", name)


@tools.command("list")
@context.tenant_option
@click.pass_context
def list_(ctx: click.Context, tenant: str | None) -> None:
    """List the tools of a tenant."""
    found = _contracts(ctx, tenant)
    newest = sorted(found.newest.items())
    if context.as_json(ctx):
        keys = ("name", "version", "effect", "interrupt", "digest", "description")
        output.document("tools", {"tools": [{key: getattr(c, key) for key in keys} for _, c in newest]})
        return
    output.table(
        ("tool", "version", "effect", "if interrupted", "description"),
        [(name, c.version, c.effect, c.interrupt, c.description) for name, c in newest],
        empty="no tools yet: put a contract into tenants/TENANT/tools/",
        keep=("tool",),
    )


@tools.command()
@click.argument("tool")
@context.tenant_option
@click.pass_context
def show(ctx: click.Context, tool: str, tenant: str | None) -> None:
    """Show the contract of TOOL."""
    found = _contracts(ctx, tenant).newest.get(tool)
    if found is None:
        raise ConfigError(f"no tool `{tool}`: `aegis tools list` shows them")
    if context.as_json(ctx):
        keys = ("name", "version", "digest", "effect", "interrupt", "resource", "description", "input_schema", "output_schema")
        output.document("tool", {key: getattr(found, key) for key in keys})
        return
    output.fields(
        [
            ("tool", found.name),
            ("version", found.version),
            ("digest", found.digest),
            ("effect", found.effect),
            ("changes", found.resource),
            ("if interrupted", found.interrupt),
            ("description", found.description),
        ]
    )
    click.echo(msgspec.json.format(msgspec.json.encode(found.input_schema), indent=2).decode())
