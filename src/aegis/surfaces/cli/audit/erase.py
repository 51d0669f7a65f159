"""`aegis audit erase`: destroy the key under which everything of one person is sealed."""

from typing import Any

import click

from aegis.app import App
from aegis.errors import ConfigError
from aegis.runtime.erasing import Erased, Order, Sealed
from aegis.surfaces.cli import context, output

MOST_NAMED = 5


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

    async def work(app: App) -> Sealed | Erased | None:
        gate, statement = app.gate, context.signed_by(app, name, person)
        whose = key_name(gate.tenant(name).redaction_key, subject)
        found = await erasing.sealed_for(gate.store, name, whose)
        if dry_run or (found.key_id and not yes and not _agreed(found)):
            return found
        return await erasing.erase(
            gate.store, gate.vault, gate.clock, name, whose, Order(by=person, reason=reason, statement=statement)
        )

    done = context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("erase", _shown(name, done))
    elif isinstance(done, Erased):
        click.echo(f"erased: {_counted(done.payloads)} under key {done.key_id}, event {done.seq} of tenant {name}")
        if done.left:
            click.echo(f"left to do: {done.left}")
    elif dry_run and done is not None and done.key_id:
        _tell(done)
    elif done is None or not done.key_id:
        raise ConfigError(f"nothing is sealed for this subject in tenant `{name}`: it was erased before, or is known by another id")
    else:
        click.echo("nothing was erased")


def _agreed(found: Sealed) -> bool:
    _tell(found)
    return click.confirm("erase it for good?", default=False)


def _tell(found: Sealed) -> None:
    click.echo(f"{_counted(found.payloads)} under key {found.key_id}")
    if found.unfinished:
        click.echo(f"{len(found.unfinished)} calls are not finished and lose their arguments: {_some(found.unfinished)}")


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _counted(payloads: int) -> str:
    return "1 sealed payload" if payloads == 1 else f"{payloads} sealed payloads"


def _shown(tenant: str, done: Sealed | Erased | None) -> dict[str, Any]:
    if isinstance(done, Erased):
        return {"tenant": tenant, "erased": True, "subject": done.subject, "keys": [done.key_id], "payloads": done.payloads,
                "seq": done.seq, "left": done.left}  # fmt: skip
    found = done or Sealed(subject="")
    return {"tenant": tenant, "erased": False, "subject": found.subject, "keys": [found.key_id] if found.key_id else [],
            "payloads": found.payloads, "unfinished": list(found.unfinished)}  # fmt: skip
