"""`aegis policy build`: a signed bundle in a file, for a gateway or for Open Policy Agent."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, output

if TYPE_CHECKING:
    from aegis.crypto.es256 import PrivateKey


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", "out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to write it.")
@click.option("--key", "key_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Private JWK, ES256.")
@click.option("--library", is_flag=True, help="Build what the bundles of all tenants share in an OPA instead.")
@context.tenant_option
@click.pass_context
def build(ctx: click.Context, file: Path | None, out: Path, key_file: Path | None, library: bool, tenant: str | None) -> None:
    """Compile FILE, or the policy of a tenant, to a signed bundle.

    Without --key the tenant's own `bundle` key signs. An OPA loads the library and any number of tenants:

    \b
    aegis policy build -o acme.tar.gz
    aegis policy build --library -o aegis-lib.tar.gz
    aegis keys pem > acme.pem
    opa run --server -b aegis-lib.tar.gz -b acme.tar.gz --verification-key acme.pem
        --signing-alg ES256 --scope acme
    """  # noqa: D301 - click reads the \b
    from aegis.adapters import policies, wholefile
    from aegis.crypto.digest import sha256

    if library and file is not None:
        raise click.UsageError("--library takes no FILE: it is the same for every set")
    if library:
        name = context.the_tenant(ctx, tenant)
        packed = policies.library(name, _key(ctx, key_file, name))
        revision, rego = "", ""
    else:
        name, packed, revision, rego = _of_set(ctx, file, key_file, tenant)
    try:
        wholefile.write(out.absolute(), packed, wholefile.PUBLIC)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {type(error).__name__}") from None
    made = {"file": str(out), "tenant": name, "sha256": sha256(packed), "revision": revision, "size_bytes": len(packed)}
    if context.as_json(ctx):
        output.document("bundle", made)
        return
    click.echo(f"wrote {out}: {len(packed)} bytes, scope {name}\n{made['sha256']}")
    if rego:
        output.wrapped(f"{rego}: searched, not parsed; `aegis policy test --opa` runs hand-written modules in a real OPA", 0)


def _of_set(ctx: click.Context, file: Path | None, key_file: Path | None, tenant: str | None) -> tuple[str, bytes, str, str]:
    """(tenant, bundle, revision, names of hand-written modules) of a set."""
    from aegis.adapters import messages, policies
    from aegis.policy.bundle.bundle import load

    if file is None:
        home = context.settings(ctx).tenants / context.the_tenant(ctx, tenant)
        file = home / policies.FILE
        if not file.is_file():
            raise ConfigError(f"{file}: not found; pass the file of a policy set")
    owner = policies.owner(file)
    if tenant not in (None, owner):
        raise ConfigError(f"{file}: is of tenant `{owner}`, not of tenant `{tenant}`")
    policy, sources = policies.load_file(file, messages.registered(file.parent, owner).by_digest)
    key = _key(ctx, key_file, owner)
    packed = policies.bundled(policy, sources, key)
    modules = ", ".join(each.file for each in policy.rego)
    return owner, packed, load(packed, tenant=owner, keys=(key.public,)).revision, modules


def _key(ctx: click.Context, key_file: Path | None, tenant: str) -> "PrivateKey":
    from aegis.adapters import keyfiles

    return keyfiles.read_bundle_key(key_file) if key_file else keyfiles.load_bundle_key(context.settings(ctx).keys, tenant)
