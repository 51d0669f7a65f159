"""`aegis artifacts`: sign and check the prompts and workflows that a tenant pins."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group
from aegis.surfaces.cli.main import DONE, FAILED

_FILE = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
_KIND = click.option("--kind", type=click.Choice(["prompt", "workflow"]), help="What it is (default: as trust.yaml says).")


@click.group(cls=Group)
def artifacts() -> None:
    """Sign and check prompts and workflows."""


@artifacts.command()
@_FILE
@_KIND
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def sign(ctx: click.Context, file: Path, kind: str | None, person: str, tenant: str | None) -> None:
    """Sign FILE, which lies in the tenant's folder, as a publisher: the statement lies beside it, as FILE.dsse.json."""
    from aegis.adapters import trust
    from aegis.surfaces.cli.signing import signed

    name = context.the_tenant(ctx, tenant)
    home, inside = _inside(ctx, name, file)
    made = signed(ctx, home / inside, trust.artifact(home, name, inside, _kind(home, name, inside, kind)), person)
    if context.as_json(ctx):
        output.document("signed", {"signed": [made]})
        return
    click.echo(f"{made['name']}  signed by {', '.join(made['signed_by'])}\n  {made['file']}")


@artifacts.command()
@_FILE
@_KIND
@context.tenant_option
@click.pass_context
def verify(ctx: click.Context, file: Path, kind: str | None, tenant: str | None) -> int:
    """Tell the digest of FILE, who has signed it, and whether that is what trust.yaml demands. Exit code 1 when it is not."""
    from aegis.adapters import keyfiles, trust
    from aegis.model.provenance import Artifact

    name = context.the_tenant(ctx, tenant)
    home, inside = _inside(ctx, name, file)
    of: Any = _kind(home, name, inside, kind)
    pinned = trust.load(home, name).artifact(inside) or Artifact(file=inside, kind=of)
    keys = keyfiles.load_public(context.settings(ctx).keys)
    digest, who, problem = trust.artifact_problems(home, name, pinned, keys, datetime.now(UTC))
    told = {"file": inside, "digest": digest, "pinned": pinned.digest, "signed_by": who.owners, "problem": problem}
    if context.as_json(ctx):
        output.document("artifact", {"ok": not problem, **told})
        return FAILED if problem else DONE
    told |= {"signed_by": ", ".join(who.owners), "signatures": f"{len(who.owners)} of {pinned.signatures}"}
    output.fields([(label.replace("_", " "), value) for label, value in told.items()])
    return FAILED if problem else DONE


def _inside(ctx: click.Context, tenant: str, file: Path) -> tuple[Path, str]:
    """The tenant's folder, and the name of the file in it."""
    home = (context.settings(ctx).tenants / tenant).resolve()
    if not file.resolve().is_relative_to(home):
        raise ConfigError(f"{file}: expected a file below {home}, which is the folder of tenant `{tenant}`")
    return home, file.resolve().relative_to(home).as_posix()


def _kind(home: Path, tenant: str, file: str, given: str | None) -> str:
    from aegis.adapters import trust

    pinned = trust.load(home, tenant).artifact(file)
    if pinned is not None and given not in (None, pinned.kind):
        raise ConfigError(f"`{file}` is a {pinned.kind}, as trust.yaml says; leave --kind out")
    return pinned.kind if pinned else given or "prompt"
