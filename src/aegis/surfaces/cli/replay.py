"""`aegis replay`: fold the recorded events of a run again, and say whether the same follows from them."""

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click
import msgspec

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED

if TYPE_CHECKING:
    from aegis.app import App
    from aegis.runtime.runs.replaying import Replay
    from aegis.workflow.graph import Workflow
    from aegis.workflow.replay import Difference, ModelUsed

SHOWN = 12


@click.command()
@click.argument("run")
@click.option("--definition", "other", metavar="FILE|NAME@VERSION", help="Fold the same events through another definition.")
@click.option("--models", "with_models", is_flag=True, help="List model, version, prompt and seed of every agent action.")
@click.option("--against", metavar="RUN2", default="", help="Compare the models with those of another run.")
@context.tenant_option
@click.pass_context
def replay(ctx: click.Context, run: str, other: str | None, *, with_models: bool, against: str, tenant: str | None) -> int:
    """Fold the events of RUN again, read from the journal, and compare the commands that follow with those that were recorded.

    Says `identical`, or shows the first difference side by side (exit code 1). Nothing is done anew. Behind a value that was
    erased, a difference is told as not comparable. Whether the events are those that were recorded, `aegis audit verify` says.
    """
    name = context.the_tenant(ctx, tenant)
    definition = _definition(ctx, name, other) if other else None

    async def work(app: "App") -> "tuple[Replay | None, Replay | None]":
        from aegis.runtime.runs.replaying import replay as replayed

        histories, vault = app.workflows.histories, app.gate.vault
        found = await replayed(histories, vault, name, run, definition)
        return found, await replayed(histories, vault, name, against) if against else None

    found, second = context.with_app(ctx, work)
    if found is None or (against and second is None):
        raise ConfigError(f"no run `{against if found else run}` in tenant `{name}`: `aegis workflow list` lists them")
    if context.as_json(ctx):
        output.document("replay", _document(found, second))
        return DONE if _good(found) else FAILED
    if with_models or second is not None:
        _print_models(found, second)
        return DONE
    _print(found)
    return DONE if _good(found) else FAILED


def _good(found: "Replay") -> bool:
    """What was erased is nobody's fault."""
    return found.replayed.verdict != "different" and found.snapshot != "different"


def _print(found: "Replay") -> None:
    replayed, through = found.replayed, f"{found.definition.name} {found.definition.version}"
    if replayed.verdict == "identical":
        which = "" if found.own else f" through {through}"
        click.echo(
            f"{click.style('identical', fg='green')}, {_events(replayed.events)}{which}; {output.word(str(replayed.state.status))}"
        )
    else:
        assert replayed.difference is not None, "every other verdict has one"
        _print_difference(replayed.difference, "this definition" if not found.own else "replayed")
        if replayed.verdict == "not_comparable":
            click.echo(f"\nnot comparable: the value of event {replayed.erased[0]} was erased, and what follows may turn on it")
        elif found.own:
            click.echo(
                "\nthe record and this version of Aegis do not agree: `aegis audit verify` tells whether the record was changed"
            )
    _print_controller(found.flow.transition)
    if replayed.erased:
        click.echo(f"erased values: event{'s' if len(replayed.erased) > 1 else ''} {', '.join(map(str, replayed.erased))}")
    if found.snapshot != "none":
        click.echo(f"snapshot after {_events(found.flow.snapshot.events if found.flow.snapshot else 0)}: {found.snapshot}")


def _print_controller(recorded: int) -> None:
    from aegis.workflow.run import TRANSITION_VERSION

    if recorded != TRANSITION_VERSION:
        click.echo(f"it was recorded by version {recorded} of the controller; this is version {TRANSITION_VERSION}")


def _print_difference(difference: "Difference", other: str) -> None:
    click.echo(f"{click.style('different', fg='red')} at event {difference.number}: {output.harmless(difference.event)}")
    click.echo(f"in {_WHAT[difference.what]}:\n")
    pairs = list(zip_longest(difference.recorded, difference.found, fillvalue=""))
    width = min(38, max(len("recorded"), *(len(left) for left, _ in pairs), 0)) if pairs else 10
    click.echo(f"    {'recorded'.ljust(width)}  {other}")
    for left, right in pairs[:SHOWN]:
        mark = "  " if left == right else "! "
        click.echo(f"  {mark}{output.harmless(left).ljust(width)}  {output.harmless(right)}")
    if len(pairs) > SHOWN:
        click.echo(f"    ... and {len(pairs) - SHOWN} more")
    if not pairs:
        click.echo("    nothing followed")


_WHAT = {
    "number": "the numbers of events: one is missing, or is there twice",
    "event": "what may happen then",
    "commands": "the commands that follow",
    "status": "how the run stands after it",
}


def _print_models(found: "Replay", second: "Replay | None") -> None:
    from aegis.workflow.replay import compared, models

    used = models(found.recorded)
    if second is None:
        output.table(
            ("node", "dispatch", "outcome", "model", "version", "prompt", "seed"),
            [(each.node, each.dispatch, each.outcome, *_parts(each)) for each in used],
            empty="no agent named a model",
        )
        return
    differ = compared(used, models(second.recorded))
    output.table(
        ("node", "in", "model", "version", "prompt", "seed"),
        [(node, run, *_parts(each)) for node, left, right in differ
         for run, each in ((found.flow.run, left), (second.flow.run, right))],
        empty="every node was done by the same model, prompt and seed in both runs",
    )  # fmt: skip


def _parts(used: "ModelUsed | None") -> tuple[str, ...]:
    """Of the digest of a prompt as much as tells two apart; `--json` has it whole."""
    named = ("id", "version", "prompt_sha256", "seed")
    return tuple((used.model.get(name, "")[: 19 if name == "prompt_sha256" else None] if used else "-") for name in named)


def _document(found: "Replay", second: "Replay | None") -> dict[str, Any]:
    from aegis.workflow.replay import compared, models
    from aegis.workflow.run import TRANSITION_VERSION

    replayed, used = found.replayed, models(found.recorded)
    said = {
        "run": found.flow.run,
        "definition": {"name": found.definition.name, "version": found.definition.version, "digest": found.definition.digest},
        "own_definition": found.own,
        "controller": {"recorded": found.flow.transition, "this": TRANSITION_VERSION},
        "verdict": replayed.verdict,
        "events": replayed.events,
        "state": str(replayed.state.status),
        "difference": msgspec.to_builtins(replayed.difference),
        "erased": list(replayed.erased),
        "snapshot": found.snapshot,
        "models": msgspec.to_builtins(used),
    }
    if second is not None:
        differ = compared(used, models(second.recorded))
        said["against"] = {"run": second.flow.run, "nodes": [node for node, _, _ in differ]}
    return said


def _definition(ctx: click.Context, tenant: str, what: str) -> "Workflow":
    """The definition in a file, or one of the tenant by its name and version."""
    from pathlib import Path

    from aegis.adapters import workflows
    from aegis.adapters.catalogue import read
    from aegis.model.document import parse
    from aegis.model.node import nearest
    from aegis.workflow.reading import workflow

    path = Path(what)
    if path.is_file():
        return workflow(parse(read(path), source=what))
    known = workflows.load(context.settings(ctx).tenants / tenant, tenant)
    name, _, version = what.partition("@")
    found = known.workflow(name, version)
    if found is None:
        raise ConfigError(f"no file and no workflow `{what}` in tenant `{tenant}`{nearest(name, list(known.newest))}")
    return found


def _events(count: int) -> str:
    return f"{count} event{'s' if count != 1 else ''}"
