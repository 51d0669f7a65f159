"""A store of two tenants whose logs are sealed, in a working directory on which the commands can be run."""

import asyncio
import json
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from tests.made_once import copy_keys
from tests.store.homes import Home, event

from aegis.adapters import keyfiles
from aegis.adapters.anchor import Anchor
from aegis.adapters.keyring import Keyring
from aegis.journal.store import Store
from aegis.journal.unit import Unit
from aegis.runtime.clock import Clock
from aegis.runtime.sealing import Sealer
from aegis.surfaces.cli.main import cli

TENANTS = ("acme", "globex")


class Place:
    """The working directory and its database."""

    def __init__(self, root: Path, home: Home) -> None:
        self.root, self.home = root, home
        url = home.where if home.kind == "postgres" else f"sqlite:{home.where}"
        (root / "aegis.toml").write_text(f'[store]\nurl = "{url}"\n')
        for tenant in TENANTS:
            (root / "tenants" / tenant).mkdir(parents=True)
        copy_keys(root / "keys", TENANTS, ())
        self.ring = Keyring(root / "keys")

    def sealer(self, store: Store) -> Sealer:
        return Sealer(store, Clock(), self._key, Anchor(self.root / "anchor"), None, "gw", timedelta(seconds=5))

    def _key(self, tenant: str, now: datetime) -> Any:
        return self.ring.signer("log", tenant, now)

    def fill(self, *counts: int, tenant: str = "acme", sealed: bool = True) -> None:
        """Append so many events and seal them, as often as there are numbers."""
        asyncio.run(self._fill(counts, tenant, sealed=sealed))

    async def _fill(self, counts: tuple[int, ...], tenant: str, *, sealed: bool) -> None:
        store = await self.home.open()
        sealer = self.sealer(store)
        start = len(await events(store, tenant))
        for count in counts:
            made = tuple(event(tenant, f"{tenant}-{n}", request_id=f"req_{n // 3}") for n in range(start, start + count))
            for at in range(0, count, 100):
                await store.commit(Unit(tenant=tenant, events=made[at : at + 100]))
            start += count
            if sealed:
                await sealer.seal()
        await self.home.close()
        self.home._opened.clear()

    def keep_writing(self, done: threading.Event) -> None:
        """Append and seal until somebody says that it is enough."""
        asyncio.run(self._keep_writing(done))

    async def _keep_writing(self, done: threading.Event) -> None:
        home = Home(self.home.kind, self.home.where)
        store = await home.open()
        sealer, count = self.sealer(store), 0
        while not done.is_set():
            await store.commit(Unit(tenant="acme", events=tuple(event("acme", f"more-{count + n}") for n in range(7))))
            count += 7
            await sealer.seal()
        await home.close()

    def run(self, *words: str) -> tuple[int, str]:
        """Exit code and output of `aegis audit ...`."""
        ran = CliRunner().invoke(cli, ["--dir", str(self.root), "audit", *words], standalone_mode=False)
        if ran.exception is not None:
            raise ran.exception
        return ran.return_value or 0, ran.stdout

    def verify(self, *words: str) -> dict[str, list[tuple[str, int | None]]]:
        """Kind and place of the findings, by tenant."""
        ran = CliRunner().invoke(cli, ["--dir", str(self.root), "--json", "audit", "verify", *words], standalone_mode=False)
        if ran.exception is not None:
            raise ran.exception
        said = json.loads(ran.stdout)
        found = {
            log["origin"].split(".", 1)[1].split("/")[0]: [(each["kind"], each["seq"]) for each in log["findings"]]
            for log in said["logs"]
        }
        assert said["ok"] is not any(found.values())
        assert (ran.return_value or 0) == (0 if said["ok"] else 1)
        return found

    def key(self, tenant: str = "acme") -> str:
        """The key of a log."""
        from aegis.settings import load
        from aegis.surfaces.cli.audit.ledger import log_keys

        return log_keys(load(self.root), tenant)[0].vkey


async def events(store: Store, tenant: str) -> list[Any]:
    found: list[Any] = []
    while page := await store.events(tenant, after=len(found) - 1):
        found += page
    return found


def private(root: Path, tenant: str, now: datetime) -> Any:
    """The log's key, as whoever has the host can take it."""
    return keyfiles.load_private(root / "keys", "log", tenant, "", now=now)
