"""`aegis guardrail`: a program that answers approvals by rules, with a key of its own, as a person would."""

import asyncio
from pathlib import Path
from typing import Any

import click

from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.lazy import Group
from aegis.surfaces.cli.main import DONE


@click.group(cls=Group)
def guardrail() -> None:
    """Answer approvals by rules, and leave the rest to people."""


_WHEN = click.option(
    "--when", "file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The rules (aegis.guardrail/v1)."
)


@guardrail.command()
@_WHEN
@click.pass_context
def check(ctx: click.Context, file: Path) -> int:
    """Check the rules of a guardrail, and say what they answer."""
    rules = _read(file)
    if context.as_json(ctx):
        told = [{"id": rule.id, "answer": rule.answer, "reason": rule.reason} for rule in rules.rules]
        output.document("guardrail", {"name": rules.name, "tenant": rules.tenant, "rules": told})
        return DONE
    output.table(
        ("rule", "answer", "reason"),
        [(rule.id, rule.answer, rule.reason) for rule in sorted(rules.rules, key=lambda rule: rule.answer != "deny")],
        empty="no rules: people answer everything",
    )
    return DONE


@guardrail.command()
@click.option(
    "--as", "person", required=True, metavar="PERSON", help="Who it is in the directory (person:NAME); its key must be here."
)
@_WHEN
@click.option("--url", help="The gateway (or AEGIS_URL; default: the one of the settings).")
@click.option("--every", default=1.0, show_default=True, type=click.FloatRange(0.1, 3600), help="Seconds between two looks.")
@click.option("--once", is_flag=True, help="Look once, then end.")
@context.tenant_option
@click.pass_context
def run(ctx: click.Context, person: str, file: Path, url: str | None, every: float, once: bool, tenant: str | None) -> int:
    """Answer what waits, until Ctrl-C: approve or deny by the rules; what they do not answer stays with people."""
    from datetime import UTC, datetime

    from aegis.adapters import keyfiles
    from aegis.adapters.guarding import Guarding, Self
    from aegis.errors import ConfigError

    name, rules = context.the_tenant(ctx, tenant, there=False), _read(file)
    if rules.tenant != name:
        raise ConfigError(f"{file}: the rules are for tenant `{rules.tenant}`, expected `{name}`")
    settings = context.settings(ctx)
    key = keyfiles.load_private(settings.keys, "human", name, person, now=datetime.now(UTC))
    who = Self(tenant=name, person=person, key=key, audience=settings.gateway.audience)
    guarding = Guarding(context.url_of(ctx, url), who, rules, lambda: datetime.now(UTC))
    asyncio.run(_guard(guarding, every, once=once, as_json=context.as_json(ctx)))
    return DONE


async def _guard(guarding: Any, every: float, *, once: bool, as_json: bool) -> None:
    """Turn after turn; one that fails is told once for as long as it fails in the same way."""
    from aegis.errors import GatewayError

    told = ""
    try:
        while True:
            try:
                async for said in guarding.turn():
                    _tell(said, as_json=as_json)
                told = ""
            except GatewayError as error:
                if once:
                    raise
                if str(error) != told:
                    told = str(error)
                    click.echo(f"aegis: {told}; trying again", err=True)
            if once:
                return
            await asyncio.sleep(every)
    finally:
        await guarding.close()


def _tell(said: Any, *, as_json: bool) -> None:
    if as_json:
        output.line(said)
    else:
        came = f"refused: {said.refused}" if said.refused else said.state
        click.echo(f"{said.approval_id}  {said.answer} by rule {said.rule}  {came}")


def _read(file: Path) -> Any:
    from aegis.adapters.catalogue import read
    from aegis.model.document import parse
    from aegis.workflow.guardrail import parse_guardrail

    return parse_guardrail(parse(read(file), source=str(file)))
