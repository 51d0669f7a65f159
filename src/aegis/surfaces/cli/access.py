"""`aegis access`: who may do what, whether roles keep to what they are for, and what changed in that."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aegis.app import App
from aegis.errors import ConfigError
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group
from aegis.surfaces.cli.main import DONE, FAILED

if TYPE_CHECKING:
    from aegis.policy.access.check import Result
    from aegis.policy.access.matrix import Matrix
    from aegis.runtime.tenant import Tenant

LEGEND = """
allow, sanitize, approval   a call was decided so; --json shows it
if                          depends on arguments or history
maybe, ?                    neither proven nor seen
- or not listed             proven: denied, whatever is asked
"""


@click.group(cls=Group)
def access() -> None:
    """See who may do what, prove that roles keep to what they are for, read what changed."""


@access.command("matrix")
@click.option("--format", "form", type=click.Choice(["table", "csv", "html"]), default="table", show_default=True)
@click.option("--output", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@context.tenant_option
@click.pass_context
def matrix(ctx: click.Context, form: str, target: Path | None, tenant: str | None) -> None:
    """Print what each role, agent and approver may do with each tool, by the policy that decides now.

    A role stands for what the policy gives to it, whatever the scopes; an agent for what it reaches with its own scopes, roles and
    trust. A cell that says `-` is proven; one that names an outcome has an example, which --json and the HTML page show.
    """
    from aegis.runtime.reach import reach
    from aegis.surfaces.cli import access_page

    found = live(ctx, context.the_tenant(ctx, tenant))
    made = reach(found)
    if context.as_json(ctx):
        text = json.dumps(_document(found, made), indent=2) + "\n"
    elif form == "csv":
        text = access_page.csv(made)
    elif form == "html":
        text = access_page.html(made, tenant=found.name, policy=_decides(found))
    else:
        text = f"{found.name}: decided by {_decides(found)}\n\n{access_page.table(made, width=80)}{LEGEND}"
    _give(text, target)


@access.command("check")
@click.argument("roles", metavar="[ROLE]...", nargs=-1)
@context.tenant_option
@click.pass_context
def check(ctx: click.Context, roles: tuple[str, ...], tenant: str | None) -> int:
    """Prove that nothing outside the `tools` of each ROLE (default: all of `spec.roles`) can be reached by it.

    For people: that nobody may approve calls outside the `approves` of their roles. For agents: that no scope reaches outside
    the tools of their roles. What is not kept is shown by a call, as a test that can be pasted below `tests:` of the set.

    Exit code 1 when something is not kept, or could not be proven.
    """
    from aegis.runtime.reach import kept, reach

    found = live(ctx, context.the_tenant(ctx, tenant))
    results = kept(found, reach(found), roles)
    bad = [result for result in results if result.findings]
    if context.as_json(ctx):
        output.document("access-check", {"ok": not bad, "tenant": found.name, "results": [_result(each) for each in results]})
    else:
        for result in results:
            _show(result)
        click.echo(f"\n{len(bad)} of {len(results)} are not kept" if bad else f"\nall {len(results)} are proven")
    return FAILED if bad else DONE


@access.command("history")
@click.option("-n", "--last", default=20, show_default=True, type=click.IntRange(min=1), help="How many events.")
@context.tenant_option
@click.pass_context
def history(ctx: click.Context, last: int, tenant: str | None) -> None:
    """List what changed in the directory of a tenant, newest first."""
    from aegis.runtime import permission_rows

    name = context.the_tenant(ctx, tenant)

    async def work(app: App) -> list[dict[str, Any]]:
        return [json.loads(event.body) for event in await permission_rows.history(app.gate.store, name, last)]

    events = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("access-history", {"tenant": name, "events": events})
        return
    rows = [row for event in events for row in _changes(event)]
    output.table(("when", "who", "what", "before", "after"), rows, empty="nothing was recorded yet", keep=("when",))


def live(ctx: click.Context, name: str) -> "Tenant":
    """A tenant under the policy that decides for it: the registry's, or that of its files."""
    from aegis import app
    from aegis.adapters import directory

    settings = context.settings(ctx)
    path = settings.sqlite_path
    if path is not None and not path.exists():  # nothing was ever stored, and looking makes no database
        return app.load_tenant(settings, name, directory.load(settings.tenants, name))

    async def work(opened: App) -> "Tenant":
        await opened.rollout.refresh()
        return opened.gate.tenant(name)

    return context.with_app(ctx, work)


def _decides(tenant: "Tenant") -> str:
    """What decides, and where; rules may ask for either."""
    policy = f"{tenant.policy.name} {tenant.policy.version}" if tenant.policy.name else "no policy, which denies everything"
    return policy + (f" in environment {tenant.environment}" if tenant.environment else "")


def _give(text: str, target: Path | None) -> None:
    if target is None:
        click.echo(text, nl=False)
        return
    from aegis.adapters import wholefile

    try:
        wholefile.write(target, text.encode(), wholefile.PUBLIC)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error.strerror}") from None


def _document(tenant: "Tenant", made: "Matrix") -> dict[str, Any]:
    import msgspec

    return {
        "schema": f"{output.SCHEMA}#access-matrix",
        "tenant": tenant.name,
        "policy": msgspec.to_builtins(tenant.policy),
        "environment": made.environment,
        "tools": list(made.tools),
        "rows": [
            {"name": row.name, "kind": row.kind, "cells": {tool: _cell(cell) for tool, cell in row.cells.items()}}
            for row in made.rows
        ],
        "people": [
            {"name": each.name, "cells": {tool: _cell(cell) for tool, cell in each.cells.items()}} for each in made.people
        ],
    }  # fmt: skip


def _cell(cell: Any) -> dict[str, Any]:
    """A cell with its examples."""
    seen = {**getattr(cell, "permits", {}), **getattr(cell, "holds", {}), **getattr(cell, "seen", {})}
    examples = [
        {"of": str(of), "outcome": str(each.outcome), "rules": list(each.rules), "input": dict(each.given)}
        for of, each in seen.items()
    ]
    return {"says": cell.words, "unproven": list(cell.unproven), "examples": examples}


def _result(result: "Result") -> dict[str, Any]:
    found = [
        {"tool": each.tool, "text": each.text, "proven": each.example is not None, "case": each.case} for each in result.findings
    ]
    return {"who": result.who, "ok": not found, "proven": result.proven if not found else "", "findings": found}


def _show(result: "Result") -> None:
    from aegis.policy.access.check import as_yaml

    click.echo(f"{output.word('failed' if result.findings else 'ok', 6)}  {result.who}")
    if not result.findings:
        output.wrapped(result.proven)
    for finding in result.findings:
        output.wrapped(finding.text)
        if finding.case is not None:
            click.echo("".join(f"      {row}\n" for row in as_yaml(finding.case).splitlines()), nl=False)


def _changes(event: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    when = event["time"][:19] + "Z"
    if event["type"] == "directory_refused":
        yield when, "", "refused", "", event["detail"]
    for change in event.get("changes", ()):
        yield when, change["who"], change["what"], _short(change["before"]), _short(change["after"])


def _short(value: Any) -> str:
    """A value of a directory in few words; of a whole entry what is not its default."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(inner)}" for name, inner in value.items() if inner not in (None, "", [], False, 0))
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
