"""Every key that a tenant needs: those of the tenant itself, one for each of its people, one for each of its agents.

What is there is left alone: a purpose whose private half lies here, or whose public half is listed, has its key, also when it was
retired since. So the command may be run again whenever somebody was added to the directory.
"""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from aegis.identity.directory import Directory
from aegis.model.event import SYSTEM_TENANT
from aegis.settings import Settings
from aegis.surfaces.cli import output

TENANTS_OWN = ("sts", "override", "log", "kek", "hash", "publisher", "bundle")


def purposes(people: tuple[str, ...], agents: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(class, owner) of each key."""
    yield from ((key_class, "") for key_class in TENANTS_OWN)
    yield from (("human", person) for person in people)
    yield from (("workload", agent) for agent in agents)


def make_missing(root: Path, tenant: str, directory: Directory, *, now: datetime) -> list[dict[str, str]]:
    """Make what a tenant lacks by its directory, and tell class, owner and kid of each."""
    from aegis.adapters import keyfiles

    people = tuple(name for name, entry in directory.people.items() if entry.enabled)
    agents = tuple(name for name, entry in directory.agents.items() if entry.enabled)
    make_operators(root, now=now)
    lacking = [each for each in purposes(people, agents) if not keyfiles.there(root, each[0], tenant, each[1])]
    return [
        {"class": key_class, "owner": owner, "kid": keyfiles.create(root, key_class, tenant, owner, now=now)}
        for key_class, owner in lacking
    ]


def make_operators(root: Path, *, now: datetime) -> None:
    """Make the key that seals the operator's own log, unless it is there."""
    from aegis.adapters import keyfiles

    if not keyfiles.there(root, "log", SYSTEM_TENANT, ""):
        keyfiles.create(root, "log", SYSTEM_TENANT, "", now=now)


def revoked(settings: Settings) -> frozenset[str]:
    """The keys that were taken back, which the store knows and the files do not; none where there is no store yet."""
    from aegis.app import open_store
    from aegis.errors import AegisError
    from aegis.runtime.clock import Clock
    from aegis.runtime.revocations import Revocations

    async def read() -> frozenset[str]:
        store = await open_store(settings, Clock(), check=False)
        try:
            return await Revocations(store, Clock()).keys()
        finally:
            await store.close()

    if settings.sqlite_path is not None and not settings.sqlite_path.exists():
        return frozenset()
    try:
        return asyncio.run(read())
    except AegisError as error:
        click.echo(f"note: keys that were revoked are not told: {error}", err=True)
        return frozenset()


def tell(tenant: str, made: list[dict[str, str]]) -> None:
    """What was made, and what to do with it."""
    output.table(
        ("made", "for"),
        [(each["class"], each["owner"] or f"the tenant {tenant}") for each in made],
        empty=f"tenant {tenant} has every key that it needs",
    )
    if any(each["owner"] for each in made):
        click.echo()
        output.wrapped(
            f"hand what lies below keys/human/{tenant} and keys/workload/{tenant} to its owners: the gateway needs none of it", 0
        )


def listed(rows: list[tuple[str, str, str, str, str]]) -> None:
    """Keys by tenant, (class, owner, state) in a line and the kid in it or below: it is wide, and it is what people copy."""
    if not rows:
        click.echo("no keys yet: `aegis init` or `aegis keys new` makes them")
        return
    widths = [max(len(row[place]) for row in rows) for place in range(1, 4)]
    fits = sum(widths) + 8 + len(rows[0][4]) <= output.columns()
    for tenant in dict.fromkeys(row[0] for row in rows):
        click.secho(f"tenant {tenant}", bold=True)
        for _, *cells, kid in (row for row in rows if row[0] == tenant):
            line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            click.echo(f"  {line}  {kid}" if fits else f"  {line.rstrip()}\n      {kid}")
