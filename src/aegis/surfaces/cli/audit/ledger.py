"""What the commands of evidence share: the store as it stands, even one that contradicts itself, its notes, and its keys."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import msgspec

from aegis.adapters.anchor import Anchor
from aegis.adapters.keyring import Keyring
from aegis.app import open_store
from aegis.crypto import note as notes
from aegis.crypto.jwk import PublicKey
from aegis.errors import ConfigError, NoteError
from aegis.journal import bundle
from aegis.journal.store import Store
from aegis.model.event import SYSTEM_TENANT, origin
from aegis.runtime.checkpoints import KIND, Sealed
from aegis.runtime.clock import Clock
from aegis.settings import Settings
from aegis.surfaces.cli import context

Result = TypeVar("Result")


class Ledger:
    """A store that was opened to be examined, with what lies around it."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock

    async def sealed(self, tenant: str) -> Sealed | None:
        """The newest checkpoint that the store holds of a log; what is no checkpoint is none."""
        row = (await self.store.rows(SYSTEM_TENANT, [(KIND, tenant)])).get((KIND, tenant))
        try:
            return None if row is None else msgspec.json.decode(row.body, type=Sealed)
        except msgspec.DecodeError:
            return None

    async def newest(self, tenant: str) -> Sealed:
        """The newest checkpoint.

        Raises:
            ConfigError: There is none yet.
        """
        found = await self.sealed(tenant)
        if found is None:
            raise ConfigError(f"no checkpoint of tenant `{tenant}` yet: a gateway that runs seals its events within a second")
        return found

    async def earlier(self, tenant: str) -> dict[int, bytes]:
        """Earlier notes that a key in force has signed, by size."""
        head = (await self.store.heads()).get(SYSTEM_TENANT)
        found = await bundle.earlier_notes(self.store, tenant, head.frontier.size if head else 0)
        keys = log_keys(self.settings, tenant)
        return {size: data for size, data in found.items() if _signed(data, keys)}

    def anchored(self) -> dict[str, bytes]:
        """The notes that are kept outside the database, by origin."""
        return dict(Anchor(self.settings.anchor).all())

    def policy(self, tenant: str) -> str:
        """The policy that this installation names for a log."""
        return policy_of(self.settings, tenant)


def log_keys(settings: Settings, tenant: str) -> list[notes.Verifier]:
    """The keys of a log, those that are not in use any more too."""
    return [
        notes.Verifier(origin(tenant), entry.key)
        for entry in Keyring(settings.keys).keys.entries()
        if (entry.key_class, entry.tenant) == ("log", tenant) and isinstance(entry.key, PublicKey)
    ]


def policy_of(settings: Settings, tenant: str) -> str:
    """The policy that this installation names for a log."""
    evidence = settings.evidence
    witnesses = [key.vkey for _, key in evidence.witnesses]
    return bundle.policy([key.vkey for key in log_keys(settings, tenant)], witnesses, evidence.needed)


def with_ledger(ctx: click.Context, work: Callable[[Ledger], Awaitable[Result]]) -> Result:
    """Run `work` on the store of this working directory, as it stands: whoever examines a store must be able to open a bad one."""
    settings, clock = context.settings(ctx), Clock()

    async def run() -> Result:
        store = await open_store(settings, clock, check=False)
        try:
            return await work(Ledger(settings, store, clock))
        finally:
            await store.close()

    return asyncio.run(run())


def _signed(data: bytes, keys: list[notes.Verifier]) -> bool:
    try:
        return bool(notes.verified(notes.parse(data), keys))
    except NoteError:
        return False
