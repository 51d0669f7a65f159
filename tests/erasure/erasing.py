"""What tests of erasure do again and again."""

import asyncio
import json
import time

from click.testing import CliRunner

from aegis.app import open_app
from aegis.runtime.clock import Clock
from aegis.surfaces.cli.main import cli


def audit(w, *words, tenant="acme"):
    """A command of `aegis audit`, run by a process of its own but for the name; what it printed as JSON."""
    ran = CliRunner().invoke(cli, ["--dir", str(w.root), "--json", "audit", *words, "--tenant", tenant], standalone_mode=False)
    if ran.exception is not None:
        raise ran.exception
    return json.loads(ran.stdout)


def erase(w, subject, *words, tenant="acme"):
    return audit(w, "erase", "--subject", subject, "--as", "person:alice", *(words or ("--yes",)), tenant=tenant)


def shown(w, *words, tenant="acme"):
    """The text of a command, as a person sees it."""
    ran = CliRunner().invoke(cli, ["--dir", str(w.root), *words, "--tenant", tenant], standalone_mode=False)
    if ran.exception is not None:
        raise ran.exception
    return ran.stdout


def until(found, seconds=10):
    """Wait for something that comes within a second."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return value


def look(w, work):
    """What `work` finds on the parts of a process that remembers nothing."""

    async def run():
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            return await work(app)
        finally:
            await app.gate.store.close()

    return asyncio.run(run())
