"""`aegis policy push, promote, rollback, history, show`: the life of a version."""

from pathlib import Path
from typing import Any

import click

from aegis.app import App
from aegis.errors import AegisError, ConfigError
from aegis.surfaces.cli import context, output

_PERSON = click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
_REASON = click.option("--reason", required=True, help="Why; it is signed and recorded.")


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_PERSON
@click.option("--message", "-m", required=True, help="What changes; it is signed and recorded.")
@context.tenant_option
@click.pass_context
def push(ctx: click.Context, bundle: Path | None, person: str, message: str, tenant: str | None) -> None:
    """Store BUNDLE, or the tenant's policy files, as the next version.

    It must verify, compile and pass its own tests. Nothing decides otherwise until it is promoted.
    """
    from aegis.runtime import shipping

    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> Any:
        statement = context.signed_by(app, name, person)
        packed, found = _bundle(app, name, bundle)
        made = await shipping.push(
            app.rollout, found, packed, author=person, message=message, key=_publisher(app, name), statement=statement
        )
        before = (await shipping.told(app.rollout, name))["versions"]
        return made, [each["number"] for each in before if each["sha256"] == made.sha256 and each["number"] < made.number]

    release, same = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("release", release)
        return
    click.echo(f"version {release.number} of {name}: {release.sha256}")
    if same:
        click.echo(f"the same bundle as version {max(same)}")
    click.echo(f"next: aegis policy promote {release.number} --as {person} --reason ...")


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@click.option("--shadow", is_flag=True, help="Only record what it would decide, beside what decides now.")
@_PERSON
@_REASON
@context.tenant_option
@click.pass_context
def promote(ctx: click.Context, number: int, shadow: bool, person: str, reason: str, tenant: str | None) -> None:
    """Make version NUMBER decide, in every gateway within a second."""
    from aegis.runtime import shipping

    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> Any:
        statement, key = context.signed_by(app, name, person), _publisher(app, name)
        return await shipping.promote(
            app.rollout, name, number, shadow=shadow, by=person, reason=reason, key=key, statement=statement
        )

    _tell(ctx, name, context.with_app(ctx, work))


@click.command()
@click.argument("number", required=False, type=click.IntRange(min=1))
@_PERSON
@_REASON
@context.tenant_option
@click.pass_context
def rollback(ctx: click.Context, number: int | None, person: str, reason: str, tenant: str | None) -> None:
    """Go back to the version that decided before, or to an older NUMBER. It is the same signed version, under a higher counter."""
    from aegis.runtime import shipping

    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> Any:
        statement, key = context.signed_by(app, name, person), _publisher(app, name)
        return await shipping.rollback(app.rollout, name, number, by=person, reason=reason, key=key, statement=statement)

    _tell(ctx, name, context.with_app(ctx, work))


@click.command()
@context.tenant_option
@click.pass_context
def history(ctx: click.Context, tenant: str | None) -> None:
    """List the versions of a tenant and what was made active, newest first."""
    from aegis.runtime.shipping import told

    name = context.the_tenant(ctx, tenant)
    found = context.with_app(ctx, lambda app: told(app.rollout, name))
    if context.as_json(ctx):
        output.document("policy-history", found)
        return
    output.table(
        ("version", "state", "author", "pushed", "message"),
        [(v["number"], v["state"], v["author"], output.ago(v["time"]), v["message"]) for v in found["versions"]],
        empty=f"no versions yet: `aegis policy push` makes one; tenants/{name}/policy.yaml decides",
    )
    if found["activations"]:
        click.echo()
        output.table(
            ("counter", "version", "mode", "by", "when", "reason"),
            [
                (a["counter"], a["number"], a["mode"], a["by"], output.ago(a["time"]) if a["time"] else "", a["reason"])
                for a in found["activations"]
            ],
            empty="",
        )


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@context.tenant_option
@click.pass_context
def show(ctx: click.Context, number: int, tenant: str | None) -> None:
    """Show version NUMBER: who pushed it, what it holds, and whether its signatures are good."""
    name = context.the_tenant(ctx, tenant)
    found = context.with_app(ctx, lambda app: _shown(app, name, number))
    if context.as_json(ctx):
        output.document("policy-version", found)
        return
    release = found["release"]
    output.fields(
        [
            ("version", release.number),
            ("set", release.name),
            ("sha256", release.sha256),
            ("revision", release.revision),
            ("OPA answers", release.policy),
            ("author", release.author),
            ("pushed", release.time.strftime("%Y-%m-%d %H:%M:%SZ")),
            ("message", release.message),
            ("size", f"{found['size_bytes']} bytes"),
            ("verified", found["refused"] or "signatures, compilation and own tests are good"),
        ]
    )
    for rule in found["rules"]:
        click.echo(f"  {rule['effect']:<16}{rule['id']}{'  (shadow)' if rule['shadow'] else ''}")


async def _shown(app: App, tenant: str, number: int) -> dict[str, Any]:
    """The version as it is stored; `refused` says why it would not be served, if so."""
    from aegis.runtime import shipping

    pin = await shipping.pin_of(app.rollout, tenant, number)
    version = await app.rollout.registry.version(tenant, number)
    assert version is not None, "it was there a moment ago"
    refused, rules = "", []
    try:
        ruling = await app.rollout.candidates.version(tenant, pin)
        rules = [{"id": rule.id, "effect": str(rule.effect), "shadow": rule.shadow} for rule in ruling.policy.rules]
    except AegisError as error:
        refused = f"refused: {error}"
    return {"release": version.release, "size_bytes": version.size_bytes, "refused": refused, "rules": rules}


def _bundle(app: App, tenant: str, path: Path | None) -> tuple[bytes, Any]:
    """The bytes to push, and the verified bundle in them."""
    from aegis.adapters import keyfiles, policies
    from aegis.policy.bundle.bundle import load

    settings, now = app.settings, app.gate.clock.now()
    if path is not None:
        packed = path.read_bytes()
    else:
        home = settings.tenants / tenant
        if not (home / policies.FILE).is_file():
            raise ConfigError(f"{home / policies.FILE}: not found; pass the file of a bundle")
        policy, sources = policies.load_file(home / policies.FILE, app.gate.tenant(tenant).by_digest)
        packed = policies.bundled(policy, sources, keyfiles.load_bundle_key(settings.keys, tenant, now=now))
    return packed, load(packed, tenant=tenant, keys=keyfiles.load_public(settings.keys).bundle_keys(tenant, now))


def _publisher(app: App, tenant: str) -> Any:
    from aegis.adapters import keyfiles

    return keyfiles.load_private(app.settings.keys, "publisher", tenant, "", now=app.gate.clock.now())


def _tell(ctx: click.Context, tenant: str, made: Any) -> None:
    if context.as_json(ctx):
        output.document("activation", made)
        return
    number = made.chosen.number
    if made.mode == "enforce":
        click.echo(f"version {number} decides for {tenant} (activation {made.counter})")
    else:
        beside = f"version {made.enforced.number}" if made.enforced else "what decides now"
        click.echo(f"version {number} is in shadow beside {beside} for {tenant} (activation {made.counter})")
