"""`aegis keys`: one class of key for each purpose, so that no key can stand in for another."""

from datetime import UTC, datetime, timedelta

import click

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, keyroot, keysets, output
from aegis.surfaces.cli.lazy import Group

CLASSES = {
    "sts": "signs the tokens of a tenant's agents",
    "override": "signs the one-time tokens of approvals",
    "human": "a person's own key: signs answers to approvals (needs --owner person:NAME)",
    "workload": "an agent's own key: proves at the token service who asks (needs --owner agent:NAME)",
    "log": "seals a tenant's log: signs its checkpoints (--tenant _system: those of the operator's own log)",
    "publisher": "signs versions of policy sets and their activations, tools, prompts (--owner person:NAME where two must sign)",
    "bundle": "signs policy bundles, so that Open Policy Agent can verify them",
    "kek": "wraps the keys that seal a tenant's payloads",
    "hash": "keys the digests that stand in for redacted values",
}


OWNERS = {"human": "person:", "workload": "agent:"}
MAY_OWN = {"publisher": "person:"}
ROTATED = [name for name in CLASSES if name != "hash"]
owner_option = click.option("--owner", default="", help="Whose key: person:NAME for class human, agent:NAME for class workload.")


@click.group(cls=Group)
def keys() -> None:
    """Make, list, rotate and retire keys.

    \b
    sts       signs the tokens of a tenant's agents
    override  signs the one-time tokens of approvals
    human     a person's own key: signs answers to approvals (--owner person:NAME)
    workload  an agent's own key: proves who asks for tokens (--owner agent:NAME)
    log       seals a tenant's log (--tenant _system: the operator's own)
    publisher signs policy versions and activations, tools and prompts (--owner person:NAME)
    bundle    signs policy bundles, so that Open Policy Agent can verify them
    kek       wraps the keys that seal a tenant's payloads
    hash      keys the digests that stand in for redacted values
    """  # noqa: D301 - click reads the \b


@keys.command()
@click.argument("key_class", metavar="KEY_CLASS", type=click.Choice([*CLASSES, "all"]))
@owner_option
@context.tenant_option
@click.pass_context
def new(ctx: click.Context, key_class: str, owner: str, tenant: str | None) -> None:
    """Make the first key of KEY_CLASS for a tenant, or `all` that it lacks.

    \b
    aegis keys new workload --owner agent:buyer
    aegis keys new all --tenant globex     # the tenant's own, and one for each
                                           # person and agent of its directory
    """  # noqa: D301 - click reads the \b
    from aegis.adapters import keyfiles

    if key_class == "all":
        _all(ctx, owner, context.the_tenant(ctx, tenant))
        return
    wanted = OWNERS.get(key_class, "")
    free = key_class in MAY_OWN and owner.startswith(MAY_OWN[key_class])
    if not free and (not owner.startswith(wanted) or (owner and not wanted)):
        expected = f"--owner {wanted}NAME" if wanted else "no --owner"
        raise click.UsageError(f"a key of class {key_class} has {expected}")
    kid = keyfiles.create(
        context.settings(ctx).keys, key_class, context.the_tenant(ctx, tenant, there=False), owner, now=datetime.now(UTC)
    )
    _say(ctx, "made", key_class, kid)


def _all(ctx: click.Context, owner: str, tenant: str) -> None:
    from aegis.app import directory_of

    if owner:
        raise click.UsageError("`all` makes the keys of everybody in the directory: leave --owner out, or name a class")
    found = context.settings(ctx)
    made = keysets.make_missing(found.keys, tenant, directory_of(found, tenant), now=datetime.now(UTC))
    output.document("keys", {"tenant": tenant, "made": made}) if context.as_json(ctx) else keysets.tell(tenant, made)


@keys.command()
@click.argument("key_class", metavar="KEY_CLASS", type=click.Choice(ROTATED))
@owner_option
@click.option(
    "--overlap", type=int, metavar="SECONDS", help="How long the old key is still accepted (600; publisher, bundle: a year)."
)
@context.tenant_option
@click.pass_context
def rotate(ctx: click.Context, key_class: str, owner: str, overlap: int | None, tenant: str | None) -> None:
    """Make a new key and let the old one end after the overlap.

    Twice the longest token is 600 s. What publisher and bundle keys signed decides for as long as it is active. After a new kek run
    `aegis keys rewrap`; then the old file may go.
    """
    from aegis.adapters import kekfiles, keyfiles

    if key_class == "kek":
        if owner or overlap is not None:
            raise click.UsageError("a kek has neither owner nor overlap: the old one opens what it wrapped until its file is gone")
        made = kekfiles.rotate(context.settings(ctx).keys, context.the_tenant(ctx, tenant, there=False), now=datetime.now(UTC))
        _say(ctx, "made", key_class, made)
        return
    kid = keyfiles.rotate(
        context.settings(ctx).keys,
        key_class,
        context.the_tenant(ctx, tenant, there=False),
        owner,
        now=datetime.now(UTC),
        overlap=timedelta(seconds=overlap) if overlap is not None else _overlap(key_class),
    )
    _say(ctx, "made", key_class, kid)


def _overlap(key_class: str) -> timedelta:
    return timedelta(days=366) if key_class in ("publisher", "bundle") else timedelta(seconds=600)


@keys.command()
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def rewrap(ctx: click.Context, person: str, tenant: str | None) -> None:
    """Wrap the keys that seal a tenant's payloads under its newest kek; gateways go on meanwhile.

    Every host of a gateway must have the new kek before. Afterwards the old one is needed for backups only.
    """
    from aegis.app import App
    from aegis.runtime.rewrapping import rewrap as wrap_anew

    of = context.the_tenant(ctx, tenant)

    async def work(app: App) -> int:
        gate, proof = app.gate, context.signed_by(app, of, person)
        return await wrap_anew(gate.store, gate.vault, gate.clock, of, by=person, statement=proof)

    changed = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("rewrap", {"tenant": of, "data_keys": changed})
    else:
        click.echo(f"{changed} data key{'' if changed == 1 else 's'} of tenant {of} wrapped anew")


@keys.command(context_settings=context.IDS)
@click.argument("kid", required=False)
@context.tenant_option
@click.pass_context
def pem(ctx: click.Context, kid: str | None, tenant: str | None) -> None:
    """Print the public key that signs a tenant's bundles (or KID), as Open Policy Agent takes it: --verification-key."""
    from aegis.adapters import keyfiles

    name, found = context.the_tenant(ctx, tenant, there=False), keyfiles.load_public(context.settings(ctx).keys)
    usable = [key for key in found.bundle_keys(name, datetime.now(UTC)) if kid in (None, key.kid)]
    if not usable:
        raise ConfigError(f"no `bundle` key of tenant `{name}` is in use: run `aegis keys new bundle --tenant {name}`")
    newest = usable[-1]
    if context.as_json(ctx):
        output.document("pem", {"kid": newest.kid, "algorithm": "ES256", "scope": name, "pem": newest.pem})
    else:
        click.echo(newest.pem, nl=False)


@keys.command(context_settings=context.IDS)
@click.argument("kid")
@click.pass_context
def retire(ctx: click.Context, kid: str) -> None:
    """End a key now: what it signed is refused from here on."""
    from aegis.adapters import keyfiles

    keyfiles.retire(context.settings(ctx).keys, kid, now=datetime.now(UTC))
    _say(ctx, "retired", "", kid)


@keys.command("list")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List the public keys and how long they are accepted."""
    from aegis.adapters import keyfiles

    found = keyfiles.load_public(context.settings(ctx).keys).entries()
    now, back = datetime.now(UTC), keysets.revoked(context.settings(ctx))
    if context.as_json(ctx):
        output.document(
            "keys",
            {
                "keys": [
                    {
                        "kid": key.kid,
                        "class": key.key_class,
                        "tenant": key.tenant,
                        "owner": key.owner,
                        "not_before": key.not_before,
                        "not_after": key.not_after,
                        "revoked": key.kid in back,
                    }
                    for key in found
                ]
            },
        )
        return
    keysets.listed(
        [
            (k.tenant, k.key_class, k.owner, "revoked" if k.kid in back else _state(k.not_before, k.not_after, now), k.kid)
            for k in found
        ]
    )


keys.add_command(keyroot.root)


def _state(not_before: datetime, not_after: datetime | None, now: datetime) -> str:
    if now < not_before:
        return "not yet"
    if not_after is None:
        return "in use"
    return "retired" if now >= not_after else f"until {not_after:%Y-%m-%d %H:%M:%S}Z"


def _say(ctx: click.Context, verb: str, key_class: str, kid: str) -> None:
    if context.as_json(ctx):
        output.document("key", {"kid": kid, "class": key_class, "did": verb})
    else:
        rooted = (context.settings(ctx).keys / "root.json").exists() and key_class not in ("kek", "hash")
        then = "no gateway believes it until people `aegis keys root sign`" if rooted else "running gateways follow within a second"
        click.echo(f"{verb} {key_class + ' ' if key_class else ''}key {kid}; {then}")
