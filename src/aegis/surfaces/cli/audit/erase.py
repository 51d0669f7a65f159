"""`aegis audit erase`: destroy the key under which everything of one person is sealed."""

import re
from typing import Any

import click

from aegis.app import App
from aegis.errors import ConfigError
from aegis.runtime.erasing import Erased, Order, Sealed
from aegis.surfaces.cli import context, output

MOST_NAMED = 5
_REFERENCE = re.compile(r"subject:[0-9a-f]{64}")
"""The name of a subject's keys, as an `erasure` event tells it: to erase again after a backup was put back."""


@click.command()
@click.option(
    "--subject", required=True, metavar="ID", help="Whose data: as tokens name them (`user:alice`), or a tool's argument."
)
@click.option("--reason", default="", help="Why; it is recorded, and never erased: name nobody in it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who you are (person:NAME); your key must be here.")
@context.tenant_option
@click.pass_context
def erase(ctx: click.Context, subject: str, reason: str, dry_run: bool, yes: bool, person: str, tenant: str | None) -> None:
    """Erase the arguments, results and messages of one person, for good: the key that opens them is destroyed.

    The journal keeps its events, which hold no arguments, and every proof over them. Gateways follow within a second.
    """
    from aegis.model.datasubject import key_name
    from aegis.runtime import erasing

    name = context.the_tenant(ctx, tenant)
    if context.as_json(ctx) and not (yes or dry_run):
        raise click.UsageError("--json asks nothing: pass --yes, or --dry-run")
    if not subject:
        raise click.UsageError("--subject is empty: expected whose data is to be erased")

    async def work(app: App) -> Sealed | Erased:
        gate, statement = app.gate, context.signed_by(app, name, person)
        whose = subject if _REFERENCE.fullmatch(subject) else key_name(gate.tenant(name).redaction_key, subject)
        found = await erasing.sealed_for(gate.store, name, whose)
        if dry_run or (found.key_id and not yes and not _agreed(found)):
            return found
        return await erasing.erase(
            gate.store, gate.vault, gate.clock, name, whose, Order(by=person, reason=reason, statement=statement)
        )

    done = context.with_app(ctx, work)
    if not done.key_id:
        left = f"; {done.left}" if isinstance(done, Erased) and done.left else ""
        raise ConfigError(f"nothing is sealed for this subject in tenant `{name}`: it was erased, or has another id{left}")
    if context.as_json(ctx):
        output.document("erase", _shown(name, done))
    elif isinstance(done, Erased):
        click.echo(f"erased: {_counted(done.payloads)} under key {done.key_id}, event {done.seq} of tenant {name}")
        click.echo(f"left to do: {done.left}" if done.left else "nothing of the key is left in the files of the store")
    elif dry_run:
        _tell(done)
    else:
        click.echo("nothing was erased")


def _agreed(found: Sealed) -> bool:
    _tell(found)
    return click.confirm("erase it for good?", default=False)


def _tell(found: Sealed) -> None:
    click.echo(f"{_counted(found.payloads)} under key {found.key_id}")
    if found.unfinished:
        one = len(found.unfinished) == 1
        calls = "1 call is not finished and loses its" if one else f"{len(found.unfinished)} calls are not finished and lose their"
        click.echo(f"{calls} arguments: {_some(found.unfinished)}")


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _counted(payloads: int) -> str:
    return "1 sealed payload" if payloads == 1 else f"{payloads} sealed payloads"


def _shown(tenant: str, done: Sealed | Erased) -> dict[str, Any]:
    keys = [done.key_id] if done.key_id else []
    told = {"tenant": tenant, "erased": False, "subject": done.subject, "keys": keys, "payloads": done.payloads}
    if isinstance(done, Erased):
        return told | {"erased": True, "seq": done.seq, "left": done.left}
    return told | {"unfinished": list(done.unfinished)}
