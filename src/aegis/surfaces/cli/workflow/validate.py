"""`aegis workflow validate`: every fault of the workflows of a tenant, with its place, its code, and what would be right."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED

if TYPE_CHECKING:
    from aegis.adapters.workflow_folder import Checked, Folder
    from aegis.settings import Settings
    from aegis.workflow.checks import Finding


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@context.tenant_option
@click.pass_context
def validate(ctx: click.Context, files: tuple[Path, ...], tenant: str | None) -> int:
    """Check workflows: these FILEs, or all of the tenant. Exit code 1 when one has an error; warnings may be meant so."""
    found = folder(context.settings(ctx), context.the_tenant(ctx, tenant), files)
    wrong = sum(each.level == "error" for each in _all(found))
    if context.as_json(ctx):
        output.document("workflow-validate", {"ok": not wrong, "workflows": [_told(each) for each in found.checked],
                                              "findings": list(found.beside)})  # fmt: skip
        return FAILED if wrong else DONE
    here = f"{context.settings(ctx).root}{os.sep}"
    for finding in _all(found):
        _print(finding, here)
    click.echo(_sum(found, wrong))
    return FAILED if wrong else DONE


def folder(settings: "Settings", tenant: str, files: tuple[Path, ...] = ()) -> "Folder":
    """The workflows of a tenant, or these files as if they were, with everything that is wrong."""
    from aegis.adapters import directory, workflow_folder

    return workflow_folder.look(settings.tenants / tenant, directory.load(settings.tenants, tenant), files)


def rows(settings: "Settings", tenant: str) -> list[tuple[str, str, str]]:
    """What `aegis check` says about the workflows of a tenant."""
    found = folder(settings, tenant)
    what = f"workflows {tenant}"
    told = [
        (what, "failed" if each.level == "error" else "ok",
         f"{each.place}: {'' if each.level == 'error' else 'warning: '}{each.code}: {each.text}")
        for each in _all(found)
    ]  # fmt: skip
    if found.checked and not any(row[1] == "failed" for row in told):
        told.append((what, "ok", f"workflows: {len(found.checked)}"))
    return told


def _all(found: "Folder") -> list["Finding"]:
    return [*(finding for each in found.checked for finding in each.findings), *found.beside]


def _told(each: "Checked") -> dict[str, Any]:
    made = each.workflow
    known = {"name": made.name, "version": made.version, "digest": made.digest, "steps": len(made.steps)} if made else {}
    return {"file": str(each.path), **known, "ok": not each.wrong, "findings": msgspec.to_builtins(each.findings)}


def _print(finding: "Finding", here: str) -> None:
    style = "red" if finding.level == "error" else "yellow"
    click.echo(f"{click.style(finding.level, fg=style)} {finding.code} at {finding.place.replace(here, '')}")
    output.wrapped(finding.text)


def _sum(found: "Folder", wrong: int) -> str:
    if not found.checked and not found.beside:
        return "no workflow lies in this tenant's folder `workflows`"
    warnings = len(_all(found)) - wrong
    return f"{_count(len(found.checked), 'workflow')}: {_count(wrong, 'error')}, {_count(warnings, 'warning')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
