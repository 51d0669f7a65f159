"""`aegis tools`: what stands behind the gateway, who vouches for it, and which content stands for which version."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group
from aegis.surfaces.cli.main import DONE, FAILED

if TYPE_CHECKING:
    from aegis.adapters.shelf import Shelf
    from aegis.app import App
    from aegis.runtime.pins import Pin

_FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
_PERSON = click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")


@click.group(cls=Group)
def tools() -> None:
    """List tools, show their contracts, sign them, and approve what has changed."""


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


@tools.command()
@_FILES
@_PERSON
@click.pass_context
def sign(ctx: click.Context, files: tuple[Path, ...], person: str) -> None:
    """Sign the contracts in FILES as a publisher: the statement lies beside each, as FILE.dsse.json.

    It is signed with your own publisher key, or else with the tenant's. Who signs second adds to what is there.
    """
    from aegis.adapters import trust
    from aegis.adapters.catalogue import read
    from aegis.model.provenance import contract_of
    from aegis.surfaces.cli.signing import signed

    things = [(path, trust.tool(contract_of(read(path), source=str(path)))) for path in files]
    made = [signed(ctx, path, thing, person) for path, thing in things]
    if context.as_json(ctx):
        output.document("signed", {"signed": made})
        return
    for each in made:
        click.echo(f"{each['name']}  signed by {', '.join(each['signed_by'])}\n  {each['file']}")


@tools.command()
@context.tenant_option
@click.pass_context
def verify(ctx: click.Context, tenant: str | None) -> int:
    """Check each tool and artifact: what is pinned, who has signed it, what does not serve. Exit code 1 when anything is wrong."""
    from aegis.surfaces.cli.signing import artifacts, pins, verified

    name = context.the_tenant(ctx, tenant)
    rows = [*verified(ctx, name, pins(ctx, [name])[name]), *artifacts(ctx, name)]
    bad = [row for row in rows if row["problem"]]
    if context.as_json(ctx):
        output.document("provenance", {"tenant": name, "ok": not bad, "items": rows})
        return FAILED if bad else DONE
    output.table(
        ("what", "state", "signatures", "signed by"),
        [(row["name"], row["state"], f"{len(row['signed_by'])} of {row['wanted']}", ", ".join(row["signed_by"])) for row in rows],
        empty="no tools yet: put a contract into tenants/TENANT/tools/",
        keep=("what",),
    )
    for row in bad:
        click.echo(f"\n{row['name']}")
        output.wrapped(row["problem"])
        for command in row["next"]:
            click.echo(f"    {command}")
    wrong = f"{len(bad)} of {len(rows)} {'is not as it' if len(bad) == 1 else 'are not as they'} should be"
    click.echo(f"\n{wrong}" if bad else f"\nall {len(rows)} are as they should be")
    return FAILED if bad else DONE


@tools.command()
@click.argument("version", metavar="NAME@VERSION")
@context.tenant_option
@click.pass_context
def diff(ctx: click.Context, version: str, tenant: str | None) -> int:
    """Show how the contract that lies in the folder differs from what is pinned. Exit code 1 when it does."""
    from aegis.surfaces.cli.signing import difference

    name = context.the_tenant(ctx, tenant)

    async def work(app: "App") -> list[str]:
        now = _stated(_shelf(ctx), name, version)
        pin = app.toolbox.pins.of(name).get(version)
        texts = await app.toolbox.pins.texts(name, [pin.digest]) if pin else {}
        before = texts.get(pin.digest, "") if pin else ""
        return [] if pin and pin.digest == now.contract.digest else difference(before, now.text)

    lines = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("difference", {"tool": version, "lines": lines})
    else:
        click.echo("\n".join(lines) or f"{version} is what is pinned")
    return FAILED if lines else DONE


@tools.command()
@click.argument("version", metavar="NAME@VERSION")
@_PERSON
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--digest", help="Approve only this content: the digest that you have looked at.")
@context.tenant_option
@click.pass_context
def approve(ctx: click.Context, version: str, person: str, reason: str, digest: str | None, tenant: str | None) -> None:
    """Let the contract that lies in the folder stand for NAME@VERSION, in every gateway within a second.

    Look at `aegis tools diff NAME@VERSION` first.
    """
    from aegis.model.provenance import Manifest
    from aegis.runtime.pins import Approval

    name = context.the_tenant(ctx, tenant)
    stated = _stated(_shelf(ctx), name, version)
    found = stated.contract.digest
    if digest is not None and digest != found:
        raise ConfigError(f"`{version}` has another content than the one you looked at: expected {digest}, found {found}")

    async def work(app: "App") -> tuple[str, "Pin"]:
        statement = context.signed_by(app, name, person)
        before = app.toolbox.pins.of(name).get(version)
        manifest = Manifest(contract=stated.contract, text=stated.text)
        asked = Approval(tenant=name, manifest=manifest, by=person, reason=reason, statement=statement)
        return before.digest if before else "", await app.toolbox.pins.approve(asked)

    former, pin = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("approved", {"tool": version, "digest_before": former, "digest": pin.digest, "by": pin.by})
        return
    click.echo(f"{version}  approved by {pin.by}\n  is  {pin.digest}")
    if former not in ("", pin.digest):
        click.echo(f"  was {former}")


def _shelf(ctx: click.Context) -> "Shelf":
    from aegis.adapters import keyfiles
    from aegis.adapters.shelf import Shelf

    settings = context.settings(ctx)
    return Shelf(settings.tenants, lambda: keyfiles.load_public(settings.keys))


def _stated(shelf: "Shelf", tenant: str, version: str) -> Any:
    """The contract of a version that lies in the folder, in one piece with the others there."""
    from aegis.adapters import catalogue
    from aegis.model.node import nearest

    found = {f"{each.contract.name}@{each.contract.version}": each for each in shelf.stated(tenant)}
    catalogue.arranged([each.contract for each in found.values()])
    if version not in found:
        raise ConfigError(
            f"no contract `{version}` in the folder; there are: {', '.join(sorted(found)) or 'none'}{nearest(version, found)}"
        )
    return found[version]
