"""`aegis workflow graph`: a workflow as a drawing, in the terminal or as SVG."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from aegis.errors import ConfigError
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE

if TYPE_CHECKING:
    from aegis.workflow.graph import Workflow

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("what", metavar="NAME|FILE")
@click.option("--svg", "page", type=_FILE, help="Write the drawing there as SVG.")
@click.option("--run", "states", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Draw how a run stands: a JSON file of states by step.")  # fmt: skip
@click.option(
    "--width", default=80, show_default=True, type=click.IntRange(30, 1000), help="Columns; a list when they are too few."
)
@context.tenant_option
@click.pass_context
def graph(ctx: click.Context, what: str, page: Path | None, states: Path | None, width: int, tenant: str | None) -> int:
    """Draw a workflow of the tenant by its NAME, or the one in FILE. Edges carry the contract of what goes over them."""
    from aegis.workflow import drawing

    found = _workflow(ctx, what, tenant)
    told = _states(states) if states else {}
    if page is not None:
        made = drawing.svg(found, told)
        if not made:
            raise ConfigError(f"`{found.name}` has too many edges for a drawing: `aegis workflow graph` lists its steps")
        page.write_text(made, encoding="utf-8")
    if context.as_json(ctx):
        output.document("workflow-graph", _described(found, told))
    elif page is not None:
        click.echo(f"{page} shows {found.name} {found.version}: {len(found.steps)} steps")
    else:
        click.echo(output.harmless(drawing.text(found, told, width=width)))
    return DONE


def _workflow(ctx: click.Context, what: str, tenant: str | None) -> "Workflow":
    """The workflow in a file, which needs no working directory, or the newest of a name."""
    from aegis.adapters import workflows
    from aegis.adapters.catalogue import read
    from aegis.model.document import parse
    from aegis.model.node import nearest
    from aegis.workflow.reading import workflow

    path = Path(what)
    if path.suffix in (".yaml", ".yml", ".json") or path.is_file():
        return workflow(parse(read(path), source=str(path)))
    name = context.the_tenant(ctx, tenant)
    known = workflows.load(context.settings(ctx).tenants / name, name).newest
    if what not in known:
        raise ConfigError(
            f"tenant `{name}` has no workflow `{what}`{nearest(what, known)}; there are: {', '.join(known) or 'none'}"
        )
    return known[what]


def _states(path: Path) -> dict[str, str]:
    """States by step: `{"pay": "succeeded"}`, or the document of a run with its nodes."""
    from aegis.adapters.catalogue import read

    try:
        found = msgspec.json.decode(read(path))
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from None
    inner = found.get("nodes", found.get("steps", found)) if isinstance(found, Mapping) else None
    if not isinstance(inner, Mapping):
        raise ConfigError(f'{path}: expected states by step, such as {{"pay": "succeeded"}}')
    return {name: _state(path, name, each) for name, each in inner.items()}


def _state(path: Path, name: str, found: Any) -> str:
    state = found.get("state") if isinstance(found, Mapping) else found
    if not isinstance(state, str):
        raise ConfigError(f"{path}: `{name}` has no state: expected a word such as `succeeded`")
    return state


def _described(found: "Workflow", states: Mapping[str, str]) -> dict[str, Any]:
    """The graph for programs."""
    from aegis.workflow.drawing.edges import does, edges

    steps = [
        {"id": each.id, "kind": each.kind, "role": each.role, "does": does(each), "needs": each.needs,
         "state": states.get(each.id, "")} for each in found.steps
    ]  # fmt: skip
    return {"name": found.name, "version": found.version, "digest": found.digest, "steps": steps,
            "edges": [{"from": each.source, "to": each.target, "contract": each.label} for each in edges(found)]}  # fmt: skip
