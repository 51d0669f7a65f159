"""`aegis audit show`: the story of a request or a run."""

from collections import Counter
from typing import Any

import click

from aegis.app import App
from aegis.errors import ConfigError
from aegis.runtime.relating import Body, Related, related
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.shown import harmless
from aegis.surfaces.cli.audit.tree import drawn, lasted, money


@click.command()
@click.argument("name", metavar="REQUEST_ID|RUN")
@context.tenant_option
@click.pass_context
def show(ctx: click.Context, name: str, tenant: str | None) -> None:
    """Tell the whole story of a request or a run: who handed what to whom, what was decided and why, who approved, what came of it.

    Of a request: those on whose behalf it was made, and all that were made on its behalf. Times are UTC.
    """
    of = context.the_tenant(ctx, tenant)

    async def work(app: App) -> Related | None:
        return await related(app.gate.store, of, name)

    found = context.with_app(ctx, work)
    if found is None:
        raise ConfigError(f"no request or run `{name}` in tenant `{of}`: `aegis audit search` finds them")
    if context.as_json(ctx):
        requests = [{"request_id": request, "events": events} for request, events in found.requests.items()]
        output.document("story", {"tenant": of, "run": found.run, "cut": found.cut, "requests": requests} | totals(found))
        return
    _print(found, name)


def totals(found: Related) -> dict[str, Any]:
    """What the requests add up to."""
    events = [body for each in found.requests.values() for body in each]
    made = [body for body in events if body["type"] in ("decision", "delegation", "plan_submitted")]
    return {
        "people": _each(made, "actor", "sub"),
        "agents": list(dict.fromkeys(body["agent_id"] for body in made)),
        "decisions": dict(Counter(body["decision"] for body in made)),
        "outcomes": dict(Counter(body["outcome"] for body in events if body["type"] == "outcome")),
        "cost_micros": sum(body.get("cost_micros", 0) for body in made),
        "since": min(body["time"] for body in events),
        "until": max(body["time"] for body in events),
    }


def _print(found: Related, name: str) -> None:
    about = harmless(totals(found))
    output.fields(
        [
            ("run", harmless(found.run)),
            ("for", ", ".join(about["people"])),
            ("agents", ", ".join(about["agents"])),
            ("when", f"{about['since'][:10]} {about['since'][11:19]}, {lasted(about['since'], about['until'])}"),
            ("requests", f"{len(found.requests)}" + (", and more that are older" if found.cut else "")),
            ("decisions", _counted(about["decisions"])),
            ("outcomes", _counted(about["outcomes"])),
            ("cost", money(about["cost_micros"]) if about["cost_micros"] else ""),
        ]
    )
    click.echo()
    for line in drawn(harmless({request: list(events) for request, events in found.requests.items()})):
        click.echo(line)
    if found.run and found.run != name:
        click.echo(f"\nall of its run: aegis audit show {harmless(found.run)}")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())


def _each(events: list[Body], *path: str) -> list[str]:
    found: dict[str, None] = {}
    for body in events:
        value: Any = body
        for part in path:
            value = value.get(part) or {}
        if isinstance(value, str):
            found[value] = None
    return list(found)
