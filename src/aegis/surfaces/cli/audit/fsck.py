"""`aegis fsck`: check the store."""

import asyncio
from typing import Any

import click

from aegis.app import open_store
from aegis.runtime.clock import Clock
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED


@click.command()
@click.pass_context
def fsck(ctx: click.Context) -> int:
    """Check that the store does not contradict itself. Exit code 1 when it does."""

    async def work() -> Any:
        store = await open_store(context.settings(ctx), Clock(), check=False)
        try:
            return await store.fsck(), await store.stats()
        finally:
            await store.close()

    findings, _ = asyncio.run(work())
    if context.as_json(ctx):
        output.document("fsck", {"findings": findings})
    else:
        output.table(
            ("tenant", "place", "finding"),
            [(finding.tenant, finding.place, finding.text) for finding in findings],
            empty="the store is sound",
        )
    return FAILED if findings else DONE
