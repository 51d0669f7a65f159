"""`aegis explain`: why a request was decided as it was."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from aegis.app import App
from aegis.errors import ConfigError
from aegis.policy.ir import SHADOW_REVISION
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.archived import archive_option, look_into
from aegis.surfaces.cli.audit.shown import harmless
from aegis.surfaces.cli.story import decided, one_line, sentence


@click.command()
@click.argument("request_id")
@archive_option
@context.tenant_option
@click.pass_context
def explain(ctx: click.Context, request_id: str, archive: Path | None, tenant: str | None) -> None:
    """Tell in a sentence, then in detail, why REQUEST_ID was decided as it was."""
    name = context.the_tenant(ctx, tenant)

    from aegis.runtime.recorded import Lost, newest
    from aegis.runtime.why import why

    async def work(app: App) -> dict[str, Any] | None:
        if archive is not None:
            look_into(app, name, archive)
        store = app.gate.store
        # All of them: an agent may name any request id, and could lay a thousand refusals over what is looked for.
        found = await store.events(name, request_id=request_id, limit=100_000)
        events = [msgspec.json.decode(event.body) for event in found]
        if not events:
            return None
        rules = await why(app.gate, app.rollout, name, request_id)
        lost = await newest(store, app.gate.vault, name, request_id)
        arguments = lost.why if isinstance(lost, Lost) else "sealed"
        return {"request_id": request_id, "sentence": sentence(events), "events": events, "rules": rules, "arguments": arguments}

    story = context.with_app(ctx, work)
    if story is None:
        raise ConfigError(f"no request `{request_id}` in tenant `{name}`: `aegis audit tail` shows the newest")
    if context.as_json(ctx):
        output.document("explain", story)
        return
    story = harmless(story)
    width = output.columns(unknown=10_000)  # a file and a pipe get it in one line
    click.echo("\n".join(textwrap.wrap(story["sentence"], width, break_long_words=False, break_on_hyphens=False)) + "\n")
    for event in story["events"]:
        click.echo(one_line(event))
    decision = decided(story["events"])
    if decision is None:
        return
    click.echo()
    output.fields(
        [
            ("decision", output.word(decision["decision"])),
            ("agent", decision["agent_id"]),
            ("for", decision["actor"]["sub"]),
            ("through", ", ".join(hop["sub"] for hop in decision["actor"]["act"][1:])),
            ("tool", f"{decision['tool']['name']} {decision['tool']['version']}".strip()),
            ("rules", ", ".join(decision["rules"])),
            ("also matched", ", ".join(sorted(set(decision["matched"]) - set(decision["rules"])))),
            ("in shadow", _shadow(decision)),
            ("policy", f"{decision['policy']['bundle']} {decision['policy']['version']}".strip()),
            ("approval", decision.get("approval_id", "")),
            ("arguments", _ARGUMENTS.get(story["arguments"], "")),
            ("trace", decision.get("trace_id", "")),
            ("took", f"{decision['latency_us'] / 1000:.2f} ms to decide"),
        ]
    )
    for reason in decision["reasons"]:
        place = f" at {reason['field']}" if reason.get("field") else ""
        limit = f", limit {output.limit(reason['limit'])}" if "limit" in reason else ""
        click.echo(f"  - {reason['rule']}{place}{limit}" + (f": {reason['text']}" if reason.get("text") else ""))
    if story["rules"]:
        click.echo("\nrule by rule, by the version that decided (observed values are never shown):")
        for line in story["rules"]:
            click.echo(f"  {line}")


_ARGUMENTS = {
    "erased": "erased: nobody can open them, and no rule can be asked again",
    "unreadable": "cannot be opened here: `aegis fsck` says whether the store is sound",
}


def _shadow(decision: Mapping[str, Any]) -> str:
    """What would have been if rules or a version in shadow were live, and by which."""
    shadow = decision.get("shadow") or {}
    if not shadow:
        return ""
    rules = ", ".join(rule for rule in shadow.get("rules", ()) if rule != SHADOW_REVISION)
    by = f" by {rules}" if rules else ""
    beside = " (a version in shadow)" if SHADOW_REVISION in shadow.get("rules", ()) else ""
    return f"would be {shadow.get('would_be', '')}{by}{beside}"
