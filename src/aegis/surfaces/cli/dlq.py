"""`aegis dlq`: the dead letters of runs: steps that wait for a person, and what failed for good."""

from typing import TYPE_CHECKING, Any

import click
import msgspec

from aegis.errors import AegisError, ConfigError
from aegis.surfaces.cli import context, operated, output
from aegis.surfaces.cli.lazy import Group
from aegis.surfaces.cli.main import DONE, FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.app import App
    from aegis.runtime.runs.dead import Letter, Sieve
    from aegis.runtime.runs.operating import Action

KINDS = ("parked", "stuck", "failed")
WORDS = ("kind", "workflow", "step", "why", "queue", "tool", "run")
MOST = 10_000
UNKNOWN = "nobody knows whether it took effect: look at the tool first, then `aegis calls list --state unknown`"


@click.group(cls=Group)
def dlq() -> None:
    """See and clear up what runs could not do. Messages have dead letters of their own: `aegis messages dead`."""


def _filter(command: "Callable[..., Any]") -> "Callable[..., Any]":
    return click.option(
        "--filter", "sieves", multiple=True, metavar="NAME=VALUE", help=f"Only these (repeat): {', '.join(WORDS)}."
    )(command)


@dlq.command("list")
@_filter
@click.option("--group", "by_group", is_flag=True, help="Count what is alike: the same step, for the same reason.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, MOST))
@context.tenant_option
@click.pass_context
def list_(ctx: click.Context, sieves: tuple[str, ...], *, by_group: bool, limit: int, tenant: str | None) -> None:
    """List what waits for a person: parked steps and failed compensations. With `--filter kind=failed`, what failed for good."""
    from aegis.runtime.runs.dead import grouped

    found = _found(ctx, tenant, sieves, MOST if by_group else limit)
    if by_group:
        counts = grouped(found)
        if context.as_json(ctx):
            output.document("dead-letters", {"groups": [{"group": group, "kind": kind, "count": n} for group, kind, n in counts]})
            return
        output.table(("count", "kind", "what"), [(n, kind, group) for group, kind, n in counts], empty="no dead letters")
        return
    if context.as_json(ctx):
        output.document("dead-letters", {"letters": found})
        return
    output.table(
        ("letter", "kind", "why", "since"),
        [(_name(each), str(each.kind), each.why, output.ago(each.since) if each.since else "") for each in found],
        empty="no dead letters",
        keep=("letter",),
    )


@dlq.command()
@click.argument("letter", metavar="RUN/NODE")
@context.tenant_option
@click.pass_context
def show(ctx: click.Context, letter: str, tenant: str | None) -> None:
    """Show one dead letter, and what can be done about it."""
    found = _one(ctx, tenant, letter)
    if context.as_json(ctx):
        output.document("dead-letter", found)
        return
    output.fields(
        [
            ("letter", _name(found)), ("kind", str(found.kind)), ("workflow", f"{found.workflow} {found.version}"),
            ("step", found.step), ("does", found.tool), ("queue", found.queue), ("why", found.why),
            ("detail", output.harmless(found.text)), ("attempts", found.attempts), ("run is", str(found.run_state)),
            ("started by", found.started_by), ("runbook", found.runbook),
        ]
    )  # fmt: skip
    if found.unknown:
        click.echo(f"\n{UNKNOWN}")
    for number, command in enumerate(_commands(found)):
        click.echo(("\nnext: " if number == 0 else "      ") + command)


@dlq.command()
@click.argument("letter", metavar="RUN/NODE")
@click.option("-a", "--arg", "pairs", multiple=True, metavar="NAME=VALUE", help="One argument; VALUE is JSON, else text.")
@click.option("--args", "whole", metavar="JSON", help="All arguments as one JSON object.")
@operated.options()
@click.pass_context
def edit(
    ctx: click.Context, letter: str, pairs: tuple[str, ...], whole: str | None, who: str | None, reason: str, url: str | None,
    tenant: str | None,
) -> None:  # fmt: skip
    """Give a dead letter new attempts with other arguments. They stand in the place of all that it had."""
    from aegis.runtime.runs.operating import Wanted
    from aegis.surfaces.cli.call import arguments

    run, node = _parts(letter)
    wanted = Wanted(action="edit", run=run, node=node, reason=reason, arguments=arguments(pairs, whole))
    with operated.Asking(ctx, who, url, tenant) as at:
        said = at.do(wanted)
    _said(ctx, [(letter, said["step_state"], "")])


@dlq.command()
@click.argument("letters", metavar="[RUN/NODE]...", nargs=-1)
@_filter
@click.option("--yes", is_flag=True, help="Do it to all that fit, without being asked.")
@operated.options()
@click.pass_context
def requeue(ctx: click.Context, /, letters: tuple[str, ...], sieves: tuple[str, ...], **given: Any) -> int:
    """Give dead letters new attempts, as they were: those named, or all that fit the filters."""
    return _each(ctx, "requeue", letters, sieves, **given)


@dlq.command()
@click.argument("letters", metavar="[RUN/NODE]...", nargs=-1)
@_filter
@click.option("--yes", is_flag=True, help="Do it to all that fit, without being asked.")
@operated.options()
@click.pass_context
def discard(ctx: click.Context, /, letters: tuple[str, ...], sieves: tuple[str, ...], **given: Any) -> int:
    """Give parked steps up: their failure leaves the graph, and their runs are undone, or go on without them."""
    return _each(ctx, "discard", letters, sieves, **given)


@dlq.command()
@click.argument("letters", metavar="RUN/NODE...", nargs=-1, required=True)
@operated.options()
@click.pass_context
def settle(ctx: click.Context, /, letters: tuple[str, ...], **given: Any) -> int:
    """Say that you have undone by hand what a failed compensation should have undone. The run goes on unwinding."""
    return _each(ctx, "settle", letters, (), yes=True, **given)


def _each(
    ctx: click.Context, action: "Action", letters: tuple[str, ...], sieves: tuple[str, ...], *, yes: bool, who: str | None,
    reason: str, url: str | None, tenant: str | None,
) -> int:  # fmt: skip
    """Do it to each; what stands otherwise by now is told and hinders nothing."""
    from aegis.runtime.runs.operating import Wanted

    if bool(letters) == bool(sieves):
        raise click.UsageError("give either RUN/NODE or --filter NAME=VALUE")
    names = letters or tuple(_name(each) for each in _found(ctx, tenant, sieves, MOST) if each.kind != "failed")
    if sieves and names and not yes:
        click.confirm(f"{action} {len(names)} dead letter{'s' if len(names) > 1 else ''}?", abort=True, err=True)
    done: list[tuple[str, str, str]] = []
    if names:
        with operated.Asking(ctx, who, url, tenant) as at:
            for name in names:
                run, node = _parts(name)
                try:
                    said = at.do(Wanted(action=action, run=run, node=node, reason=reason))
                    done.append((name, said["step_state"], ""))
                except AegisError as error:
                    if len(names) == 1:
                        raise
                    done.append((name, "", str(error)))
    _said(ctx, done)
    return FAILED if any(error for _, _, error in done) else DONE


def _said(ctx: click.Context, done: list[tuple[str, str, str]]) -> None:
    if context.as_json(ctx):
        output.document("dead-letters", {"letters": [{"letter": name, "state": state, "error": why} for name, state, why in done]})
        return
    for name, state, why in done:
        click.echo(f"{name}: {output.harmless(why)}" if why else f"{name} is {output.word(state)}")
    if len(done) != 1:
        click.echo(f"{sum(1 for _, _, why in done if not why)} of {len(done)} done")


def _found(ctx: click.Context, tenant: str | None, sieves: tuple[str, ...], limit: int) -> "tuple[Letter, ...]":
    name, sieve = context.the_tenant(ctx, tenant), _sieve(sieves)

    async def work(app: "App") -> "tuple[Letter, ...]":
        return await app.workflows.dead.listed(name, app.gate.clock.now(), sieve, limit=limit)

    return context.with_app(ctx, work)


def _one(ctx: click.Context, tenant: str | None, letter: str) -> "Letter":
    name, (run, node) = context.the_tenant(ctx, tenant), _parts(letter)

    async def work(app: "App") -> "tuple[Letter, ...]":
        return await app.workflows.dead.of_run(name, run)

    for each in context.with_app(ctx, work):
        if each.node == node:
            return each
    raise ConfigError(
        f"`{letter}` is no dead letter of tenant `{name}`: `aegis dlq list` lists them, `aegis workflow show {run}` the run"
    )


def _sieve(sieves: tuple[str, ...]) -> "Sieve":
    from aegis.model.node import nearest
    from aegis.runtime.runs.dead import Sieve

    found: dict[str, str] = {}
    for text in sieves:
        name, equals, value = text.partition("=")
        if not equals or name not in WORDS or name in found:
            raise click.UsageError(f"--filter: expected NAME=VALUE, each name once, of {', '.join(WORDS)}{nearest(name, WORDS)}")
        found[name] = value
    if found.get("kind", KINDS[0]) not in KINDS:
        raise click.UsageError(f"--filter kind: expected one of {', '.join(KINDS)}")
    return msgspec.convert(found, Sieve)


def _commands(letter: "Letter") -> list[str]:
    name = _name(letter)
    if letter.kind == "failed":
        return [f"aegis workflow show {letter.run}"]
    if letter.why == "erased":
        return [f"aegis workflow cancel {letter.run} --as person:NAME"]
    found = [f"aegis dlq requeue {name} --as person:NAME --reason WHY", f"aegis dlq edit {name} --as person:NAME -a NAME=VALUE"]
    last = "settle" if letter.kind == "stuck" else "discard"
    return [*found, f"aegis dlq {last} {name} --as person:NAME --reason WHY"]


def _name(letter: "Letter") -> str:
    return f"{letter.run}/{letter.node}"


def _parts(letter: str) -> tuple[str, str]:
    run, slash, node = letter.partition("/")
    if not slash or not run or not node:
        raise click.UsageError(f"expected RUN/NODE, found `{letter}`: `aegis dlq list` shows them")
    return run, node
