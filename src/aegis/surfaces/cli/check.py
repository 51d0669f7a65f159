"""`aegis check`: everything that can be wrong before the first request."""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from aegis.app import App
from aegis.errors import AegisError, CorruptStoreError
from aegis.identity.issuers import loose
from aegis.model.node import nearest
from aegis.runtime.credentials import named_by
from aegis.runtime.rollout import Source, Status
from aegis.runtime.tenant import Tenant
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.loose_ends import loose_ends
from aegis.surfaces.cli.main import DONE, FAILED
from aegis.surfaces.cli.workflow.validate import rows as workflow_rows

_MISSING = "tenants/{}/policy.yaml: not found, and the registry holds no version; without a policy nothing is allowed"


@click.command()
@click.pass_context
def check(ctx: click.Context) -> int:
    """Check settings, keys, contracts and policies, and run the policy's own tests. Exit code 1 when something is wrong."""
    from aegis import app
    from aegis.adapters import directory, keyfiles

    settings = context.settings(ctx)
    results: list[tuple[str, str, str]] = [("settings", "ok", str(settings.root))]
    tenants = {}
    names = directory.names(settings.tenants)
    for name in names:
        try:
            tenants[name] = app.load_tenant(settings, name, directory.load(settings.tenants, name))
            found = tenants[name]
            results.append(
                (
                    f"tenant {name}",
                    "ok",
                    f"tools: {len(found.contracts)}, agents: {len(found.directory.agents)}, people: {len(found.directory.people)}",
                )
            )
            if found.enforced is not None:
                results += [(f"policy test {name}", state, text) for state, text in app.policy_tests(settings, name)]
                loose = loose_ends(found.enforced.policy, found.directory, list(found.contracts.values()))
                results += [(f"policy {name}", "ok", text) for text in loose]
            results += workflow_rows(settings, name)
        except AegisError as error:
            results.append((f"tenant {name}", "failed", str(error)))
    if not names:
        results.append(("tenants", "failed", f"{settings.tenants} holds none; expected TENANT/directory.yaml"))
    try:
        app.check_keys(settings, keyfiles.load_believed(settings.keys, datetime.now(UTC))[0], tenants)
        results.append(("keys", "ok", str(settings.keys)))
        results += [row for name in tenants for row in _issues_no_tokens(settings.keys, name)]
    except AegisError as error:
        results.append(("keys", "failed", str(error)))
    if tenants and len(tenants) == len(names):
        deciding, live = _deciding(ctx)
        results += [*deciding, *(row for name, found in tenants.items() for row in _access(live.get(name, found)))]
        results += _standing(ctx, names)
        told = {row[0] for row in results}
        bare = [name for name, found in tenants.items() if found.enforced is None and f"policy {name}" not in told]
        results += [(f"policy {name}", "failed", _MISSING.format(name)) for name in bare]
    results += [row for found in tenants.values() for row in _issuers(settings.tenants, found)]
    results += [row for found in tenants.values() for row in _triggers(settings.tenants, found)]
    results += [row for found in tenants.values() for row in _channels(settings.tenants, settings.root, found.name)]
    results += [row for found in tenants.values() for row in _prompts(settings.tenants, settings.keys, found)]
    results += [("tool credential", "failed", text) for text in app.missing_credentials(settings, tenants)]
    results += _sealed(ctx, tenants)
    results += _log(ctx)
    bad = [row for row in results if row[1] != "ok"]
    if context.as_json(ctx):
        output.document(
            "check", {"ok": not bad, "results": [dict(zip(("what", "state", "text"), row, strict=True)) for row in results]}
        )
    else:
        here = f"{settings.root}{os.sep}"  # paths are told from the working directory, which the first row names
        told_here = [(what, state, text if what == "settings" else text.replace(here, "")) for what, state, text in results]
        output.table(("what", "state", ""), told_here, empty="nothing to check")
        click.echo(f"\n{len(bad)} of {len(results)} checks failed" if bad else f"\nall {len(results)} checks passed")
    return FAILED if bad else DONE


def _standing(ctx: click.Context, names: list[str]) -> list[tuple[str, str, str]]:
    """Tools and artifacts that nobody vouches for as they lie there."""
    from aegis.surfaces.cli import signing

    try:
        pins = signing.pins(ctx, names)
        rows = [(name, row) for name in names for row in (*signing.verified(ctx, name, pins[name]), *signing.artifacts(ctx, name))]
    except AegisError as error:
        return [("tools", "failed", str(error))]
    return [(f"tools {name}", "failed", f"{row['name']}: {row['problem']}") for name, row in rows if row["problem"]]


def _deciding(ctx: click.Context) -> tuple[list[tuple[str, str, str]], dict[str, Tenant]]:
    """For each tenant whether its files or the registry decide, and what is refused; and the tenants as they are decided about."""
    path = context.settings(ctx).sqlite_path
    if path is not None and not path.exists():
        return [], {}  # nothing was ever stored, and a check makes no database

    async def work(app: App) -> tuple[tuple[Status, ...], dict[str, Tenant]]:
        await app.rollout.refresh()
        return app.rollout.status(), {tenant.name: tenant for tenant in app.gate.snapshot}

    try:
        found, live = context.with_app(ctx, work)
    except AegisError as error:
        return [("store", "failed", str(error))], {}
    rows = [(f"policy {each.tenant}", "failed" if each.refused or not each.name else "ok", _source(each)) for each in found]
    return rows, live


def _access(tenant: Tenant) -> Iterator[tuple[str, str, str]]:
    """Whether roles keep to what the directory says they are for, where it says it."""
    if tenant.directory.roles is None:
        return
    from aegis.runtime.reach import kept, reach

    results = kept(tenant, reach(tenant))
    for result in results:
        for finding in result.findings:
            yield f"access {tenant.name}", "failed", finding.text
    if not any(result.findings for result in results):
        yield f"access {tenant.name}", "ok", f"{len(results)} roles, agents and approvers are proven to keep to `spec.roles`"


def _issues_no_tokens(keys: Path, tenant: str) -> Iterator[tuple[str, str, str]]:
    """A gateway may do without the key that signs tokens, if another host has it; who forgot it should know."""
    from aegis.adapters import keyfiles

    try:
        keyfiles.load_private(keys, "sts", tenant, "", now=datetime.now(UTC))
    except AegisError as error:
        yield f"keys {tenant}", "ok", f"warning: a gateway here issues no tokens: {error}"


def _prompts(root: Path, keys: Path, tenant: Tenant) -> Iterator[tuple[str, str, str]]:
    """The agents that get no token, because the prompt that the directory names for them is not as it should be."""
    from aegis.adapters import keyfiles, trust

    try:
        known = keyfiles.load_public(keys)
    except AegisError:
        return  # told above
    for agent in tenant.directory.agents.values():
        try:
            trust.prompt_digest(root / tenant.name, agent, known, datetime.now(UTC))
        except AegisError as error:
            yield f"prompts {tenant.name}", "failed", f"`{agent.id}` gets no token: {error}"


def _issuers(root: Path, tenant: Tenant) -> list[tuple[str, str, str]]:
    """Whether the other issuers that a tenant believes are stated well, and their tokens stand for somebody."""
    from aegis.adapters import oidc

    what = f"issuers {tenant.name}"
    try:
        stated = oidc.load(root, tenant.name)
    except AegisError as error:
        return [(what, "failed", str(error))]
    found = [
        (name, text) for name, issuer in (stated.by_name if stated else {}).items() for text in loose(issuer, tenant.directory)
    ]
    rows = [(what, "failed", f"`{name}`: {text}") for name, text in found]
    return rows or ([(what, "ok", f"issuers: {len(stated.by_name)}")] if stated else [])


def _channels(tenants: Path, root: Path, tenant: str) -> list[tuple[str, str, str]]:
    """Whether every channel has an address that may be used, and a secret."""
    from aegis.adapters import webhook

    what = f"channels {tenant}"
    try:
        found = webhook.load(tenants / tenant, tenant, root)
    except AegisError as error:
        return [(what, "failed", str(error))]
    return [(what, "ok", f"channels: {len(found)}")] if found else []


def _triggers(root: Path, tenant: Tenant) -> list[tuple[str, str, str]]:
    """Triggers that count or stop what the tenant does not have: they would wait for ever."""
    from aegis.adapters import triggers

    try:
        stated = triggers.load(root, tenant.name)
    except AegisError:
        return []  # told with the tenant
    if stated is None:
        return []
    what, known = f"triggers {tenant.name}", {f"tool:{name}" for name in tenant.contracts} | set(tenant.directory.agents)
    known |= {name.replace(".", ":", 1) for name in tenant.contracts if name.startswith(("workflow.", "queue."))}
    named = [(each.id, name) for each in stated.triggers for name in dict.fromkeys((each.of, each.what))]
    odd = [(key, name) for key, name in named if ":" in name and not name.startswith("run:") and not name.endswith(":*")]
    rows = [(what, "failed", f"`{key}`: no `{name}` here{nearest(name, known)}") for key, name in odd if name not in known]
    return rows or [(what, "ok", f"triggers: {len(stated.triggers)}")]


def _sealed(ctx: click.Context, tenants: Mapping[str, Tenant]) -> list[tuple[str, str, str]]:
    """The sealed credentials that contracts name and nobody has set."""
    wanted = {name: named_by(tenant.by_digest) for name, tenant in tenants.items()}
    path = context.settings(ctx).sqlite_path
    if path is not None and not path.exists():  # a check makes no database, so nothing can have been set
        found = [(name, each, "is not set") for name, names in wanted.items() for each in names]
    elif any(wanted.values()):

        async def work(app: App) -> list[tuple[str, str, str]]:
            return [(name, each, why) for name, names in wanted.items() if names for each, why in await app.credentials.unset(name)]

        try:
            found = context.with_app(ctx, work)
        except AegisError:
            return []  # told above
    else:
        return []
    return [("tool credential", "failed", f"tenant `{name}`: sealed credential `{each}`: {why}") for name, each, why in found]


def _log(ctx: click.Context) -> list[tuple[str, str, str]]:
    """Whether the journal is the one that was sealed, as far as the anchor can tell; a gateway asks the witnesses too."""
    path = context.settings(ctx).sqlite_path
    if path is not None and not path.exists():
        return []

    async def work(app: App) -> int:
        heads, without = await app.sealer.compare()
        return len(heads) - len(without)

    try:
        count = context.with_app(ctx, work)
    except CorruptStoreError as error:
        return [("journal", "failed", str(error))]
    except AegisError:
        return []  # told above
    return [("journal", "ok", f"agrees with the anchor: {count} log{'' if count == 1 else 's'}")]


def _source(status: Status) -> str:
    """Who decides, in words."""
    if status.refused:
        return "; ".join(status.refused)
    if not status.name:
        return _MISSING.format(status.tenant)
    beside = f", version {status.shadow} in shadow" if status.shadow else ""
    if status.source is Source.REGISTRY:
        return f"the registry decides: version {status.enforced} (activation {status.counter}){beside}; the files do not"
    return f"tenants/{status.tenant}/policy.yaml decides{beside}; `aegis policy push` and `promote` hand it to the registry"
