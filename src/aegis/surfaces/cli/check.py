"""`aegis check`: everything that can be wrong before the first request."""

import click

from aegis.errors import AegisError
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED


@click.command()
@click.pass_context
def check(ctx: click.Context) -> int:
    """Check settings, keys, contracts and policies, and run the policy's own tests. Exit code 1 when something is wrong."""
    from aegis import app
    from aegis.adapters import directory, keyfiles

    settings = context.settings(ctx)
    results: list[tuple[str, str, str]] = [("settings", "ok", str(settings.root))]
    tenants = {}
    names = sorted(directory.load_all(settings.tenants))
    for name in names:
        try:
            tenants[name] = app.load_tenant(settings, name, directory.load_all(settings.tenants)[name])
            found = tenants[name]
            results.append(
                (
                    f"tenant {name}",
                    "ok",
                    f"tools: {len(found.contracts)}, agents: {len(found.directory.agents)}, people: {len(found.directory.people)}",
                )
            )
            results += [(f"policy test {name}", state, text) for state, text in app.policy_tests(settings, name)]
        except AegisError as error:
            results.append((f"tenant {name}", "failed", str(error)))
    if not names:
        results.append(("tenants", "failed", f"{settings.tenants} holds none; expected TENANT/directory.yaml"))
    try:
        app.check_keys(settings, keyfiles.load_public(settings.keys), tenants)
        results.append(("keys", "ok", str(settings.keys)))
    except AegisError as error:
        results.append(("keys", "failed", str(error)))
    results += [("tool credential", "failed", text) for text in app.missing_credentials(settings, tenants)]
    bad = [row for row in results if row[1] != "ok"]
    if context.as_json(ctx):
        output.document(
            "check", {"ok": not bad, "results": [dict(zip(("what", "state", "text"), row, strict=True)) for row in results]}
        )
    else:
        output.table(("what", "state", ""), results, empty="nothing to check")
        click.echo(f"\n{len(bad)} of {len(results)} checks failed" if bad else f"\nall {len(results)} checks passed")
    return FAILED if bad else DONE
