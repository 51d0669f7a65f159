"""`aegis audit spans`: hold what a collector keeps against the journal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from aegis.adapters.otlp.kept import Kept, kept
from aegis.app import App
from aegis.errors import ConfigError, InputError
from aegis.model import conventions as names
from aegis.runtime.spancheck import differences
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.shown import harmless
from aegis.surfaces.cli.main import DONE, FAILED

MISSING = "no such event"


class Changed(Struct, frozen=True, kw_only=True):
    """A span that tells otherwise than the journal, and in what."""

    line: int
    span_id: str
    event: str
    differs: tuple[str, ...]


@click.command("spans")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tenant", metavar="TENANT", help="Only spans of this tenant.")
@click.pass_context
def spans(ctx: click.Context, file: Path, tenant: str | None) -> int:
    """Compare spans that a collector kept with the journal.

    FILE holds traces of OTLP in JSON, one request a line, as the file exporter of a collector writes them. Exit code 1 when a span
    tells otherwise than the event that it names.
    """
    seen = 0
    found: list[Changed] = []

    async def work(app: App) -> None:
        nonlocal seen
        for span in _about_events(file, tenant):
            seen += 1
            if changed := await _compared(app, span):
                found.append(changed)

    context.with_app(ctx, work)
    if context.as_json(ctx):
        output.document("spans", {"compared": seen, "changed": found})
    else:
        rows = [(str(each.line), harmless(each.span_id), harmless(each.event), ", ".join(each.differs)) for each in found]
        output.table(("line", "span", "event", "differs"), rows, empty=f"{seen} spans agree with the journal")
    return FAILED if found else DONE


def _about_events(file: Path, tenant: str | None) -> Iterator[Kept]:
    """Spans that name an event; those of whole requests do not."""
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            for span in kept(lines):
                if names.AUDIT_EVENT in span.attributes and tenant in (None, span.attributes.get(names.TENANT)):
                    yield span
    except InputError as error:
        raise ConfigError(f"{file}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None


async def _compared(app: App, span: Kept) -> Changed | None:
    named, tenant = str(span.attributes[names.AUDIT_EVENT]), str(span.attributes.get(names.TENANT, ""))
    stored = await app.gate.store.event(tenant, named) if app.gate.snapshot.get(tenant) else None
    body: dict[str, Any] = msgspec.json.decode(stored.body) if stored else {}
    differs = differences(span.attributes, span.ids, body) if stored else (MISSING,)
    if not differs:
        return None
    return Changed(line=span.line, span_id=str(span.ids["span_id"]), event=named, differs=differs)
