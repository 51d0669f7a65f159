"""`aegis policy simulate`: a candidate against what was decided."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from aegis.app import App
from aegis.errors import ConfigError
from aegis.policy.ir import Policy
from aegis.runtime.learn import Judged, Simulation
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.archived import archive_option, look_into
from aegis.surfaces.cli.main import DONE, FAILED
from aegis.surfaces.cli.policy.sets import Opened, open_set, since_option


class Tally:
    """What came out: every kind of difference counted, the first of them kept to be shown."""

    def __init__(self, limit: int) -> None:
        self.decisions = 0
        self.kinds: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.loosened = 0
        self.shown: list[Judged] = []
        self.lost_requests: dict[str, list[str]] = {}
        self._limit = limit

    def take(self, judged: Judged) -> None:
        """Count one decision."""
        self.decisions += 1
        if judged.lost:
            self.lost[judged.lost] += 1
            requests = self.lost_requests.setdefault(judged.lost, [])
            if len(requests) < self._limit:
                requests.append(judged.request_id)
        elif judged.compared is not None and judged.compared.kind:
            self.kinds[judged.compared.kind] += 1
            self.loosened += judged.compared.loosens
            if len(self.shown) < self._limit:
                self.shown.append(judged)

    @property
    def flips(self) -> int:
        """How many decisions would be different."""
        return sum(self.kinds.values())

    @property
    def sentence(self) -> str:
        """`14 of 10,000: 12 allow -> approval_needed, 2 deny -> allow`."""
        counted = ", ".join(f"{count:,} {kind}" for kind, count in self.kinds.most_common())
        compared = self.decisions - sum(self.lost.values())
        return f"{self.flips:,} of {compared:,} decisions would be different" + (f": {counted}" if counted else "")


@click.command()
@click.argument("candidate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@since_option
@context.tenant_option
@click.option("--limit", type=click.IntRange(0), default=1000, show_default=True, help="List at most so many differences.")
@click.option("--max-flips", type=click.IntRange(0), help="Exit code 1 when more decisions than this would be different.")
@click.option("--no-loosen", is_flag=True, help="Exit code 1 when less would stand in the way of some call.")
@click.option("--live", is_flag=True, help="As if nothing of the candidate were in shadow.")
@archive_option
@click.pass_context
def simulate(
    ctx: click.Context,
    candidate: Path,
    since: timedelta,
    tenant: str | None,
    limit: int,
    max_flips: int | None,
    no_loosen: bool,
    live: bool,
    archive: Path | None,
) -> int:
    """Decide recorded calls anew by CANDIDATE, a policy file, and list the differences.

    Only the rules are asked anew, with the arguments that the vault holds and the readings of then. A call that something else
    denied then (the chain, the contract, a halt, an approver) stays denied; one that was approved then counts as approved.
    Calls whose arguments were erased or not kept are counted and named: they cannot be compared.
    """
    opened = open_set(ctx, candidate, None)
    name = tenant or opened.policy.tenant
    if name != opened.policy.tenant:
        raise ConfigError(f"{candidate}: is of tenant `{opened.policy.tenant}`, not of `{name}`")
    opened = _with_data(ctx, opened)
    policy = _live(opened.policy) if live else opened.policy
    tally = Tally(limit)

    async def work(app: App) -> None:
        if archive is not None:
            look_into(app, name, archive)
        simulation = Simulation(app.gate.store, app.gate.vault, policy, opened.tenant_data)
        start = app.gate.clock.now() - since
        after, newest = await simulation.span(start)
        with _progress(newest - after, shown=not context.as_json(ctx)) as advance:
            async for judged in simulation.run(start, after):
                tally.take(judged)
                advance(judged.seq - after)

    context.with_app(ctx, work)
    bad = (max_flips is not None and tally.flips > max_flips) or (no_loosen and tally.loosened > 0)
    if context.as_json(ctx):
        output.document("policy-simulate", {"ok": not bad, **_document(opened, tally)})
    else:
        _print(tally)
    return FAILED if bad else DONE


def _live(policy: Policy) -> Policy:
    """The set with every rule enforced."""
    return replace(policy, shadow=False, rules=tuple(replace(rule, shadow=False) for rule in policy.rules))


def _with_data(ctx: click.Context, opened: Opened) -> Opened:
    """The candidate with the tenant's data, when there is none beside it."""
    from aegis.adapters import policies
    from aegis.adapters.catalogue import read
    from aegis.model.document import parse

    path = context.settings(ctx).tenants / opened.policy.tenant / policies.DATA
    if (opened.path.parent / policies.DATA).is_file() or not path.is_file():
        return opened
    data = parse(read(path), source=str(path)).value
    return Opened(policy=opened.policy, tenant_data=data if isinstance(data, dict) else {}, path=opened.path)


@contextmanager
def _progress(total: int, *, shown: bool) -> Iterator[Any]:
    """A bar on a terminal, nothing elsewhere; what it gives takes the number of events that are done."""
    if not (shown and sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("deciding anew", total=max(1, total))
        yield lambda done: bar.update(task, completed=done)


def _document(opened: Opened, tally: Tally) -> dict[str, Any]:
    return {
        "candidate": opened.policy.ref,
        "decisions": tally.decisions,
        "flips": tally.flips,
        "loosened": tally.loosened,
        "kinds": dict(tally.kinds),
        "listed": [
            {
                "request_id": each.request_id,
                "time": each.time,
                "agent": each.agent,
                "tool": each.tool,
                "before": each.compared.before,
                "after": each.compared.after,
                "kind": each.compared.kind,
                "rules": each.compared.rules,
                "loosens": each.compared.loosens,
            }
            for each in tally.shown
            if each.compared is not None
        ],
        "left_out": tally.flips - len(tally.shown),
        "not_comparable": {
            why: {"count": count, "requests": tally.lost_requests.get(why, [])} for why, count in tally.lost.items()
        },
        "summary": tally.sentence,
    }


def _print(tally: Tally) -> None:
    for each in sorted(tally.shown, key=lambda judged: not (judged.compared and judged.compared.loosens)):
        assert each.compared is not None, "only what was compared is shown"
        mark = click.style("  LOOSENED", fg="yellow") if each.compared.loosens else ""
        click.echo(f"{each.request_id}  {each.compared.kind}{mark}")
        output.wrapped(f"{each.tool} by {each.agent}, {each.time:%Y-%m-%d %H:%M}; now by {', '.join(each.compared.rules)}")
    if tally.flips > len(tally.shown):
        click.echo(f"... and {tally.flips - len(tally.shown):,} more; --limit shows more, --json tells all counts")
    click.echo(tally.sentence)
    for why, count in tally.lost.items():
        some = tally.lost_requests.get(why, [])
        click.echo(f"not comparable: {count:,} (arguments {why})" if "engine" not in why else f"not comparable: {count:,} ({why})")
        output.wrapped(", ".join(some[:8]) + (" ..." if count > 8 else ""))
