"""The newest checkpoint of each log, as the store keeps it: rows of kind `checkpoint` beside the events that record them all."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from aegis.crypto import note as notes
from aegis.crypto.note import Note
from aegis.errors import CorruptStoreError, NoteError
from aegis.journal import checkpoint
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.store import Store, TreeHead
from aegis.journal.unit import Put, Require, Row, Unit
from aegis.model.event import SYSTEM_TENANT, Event
from aegis.runtime import ids

KIND = "checkpoint"


class Sealed(Struct, frozen=True, kw_only=True):
    """The newest checkpoint of a log: what the row holds. `cosigned_at` is when the last witness answered."""

    size: int
    note: str
    at: datetime
    cosigned_at: datetime | None = None


class Standing(Struct, frozen=True, kw_only=True):
    """How a log stands: since when events wait to be sealed, and since when no witness has cosigned."""

    tenant: str
    size: int
    unsealed: timedelta
    uncosigned: timedelta | None


class Work(Struct, kw_only=True):
    """One log on its way to a checkpoint: `sealed` is the newest one, in a row of this `version`."""

    tenant: str
    version: int
    sealed: Sealed | None
    head: TreeHead
    note: Note | None = None
    cosigned: bool = False

    @property
    def size(self) -> int:
        """How many events the log holds."""
        return self.head.frontier.size

    @property
    def grown(self) -> bool:
        """Whether there are events that no checkpoint covers."""
        return self.sealed is None or self.sealed.size < self.size

    @property
    def signed(self) -> Note:
        """The note, once there is one."""
        assert self.note is not None, "a log that was prepared has its note"
        return self.note


async def newest(store: Store, tenants: Sequence[str]) -> dict[str, tuple[Sealed, int]]:
    """The newest checkpoint of each of these logs that has one, and the version of its row."""
    rows = await store.rows(SYSTEM_TENANT, [(KIND, tenant) for tenant in tenants])
    return {tenant: (decoded(row), row.version) for (_, tenant), row in rows.items()}


def recorded(
    works: Sequence[Work], gaps: Sequence[Mapping[str, str]], now: datetime, instance: str
) -> tuple[Unit, dict[str, Sealed]]:
    """The unit that keeps the notes of these logs, and what it keeps for each. One that only was cosigned anew leaves no event."""
    known = {work.tenant: _sealed(work, now) for work in works}
    told = [
        {"on_tenant": work.tenant, "size": work.size, "note": known[work.tenant].note}
        for work in works
        if work.grown and work.tenant != SYSTEM_TENANT
    ]
    events = []
    for kind, data in (("checkpoint", {"checkpoints": told}), ("checkpoint_gap", {"gaps": list(gaps)})):
        if any(data.values()):
            event_id = f"{kind}:{ids.uuid7(now)}"
            events.append(Event(id=event_id, type=kind, tenant=SYSTEM_TENANT, time=now, data={**data, "gateway": instance}))
    unit = Unit(
        tenant=SYSTEM_TENANT,
        events=tuple(events),
        writes=tuple(Put(kind=KIND, id=tenant, body=msgspec.json.encode(sealed)) for tenant, sealed in known.items()),
        requires=tuple(Require(kind=KIND, id=work.tenant, version=work.version) for work in works),
    )
    return unit, known


def decoded(row: Row) -> Sealed:
    """The checkpoint in a row.

    Raises:
        CorruptStoreError: It is none.
    """
    try:
        return msgspec.json.decode(row.body, type=Sealed)
    except msgspec.DecodeError:
        raise CorruptStoreError(f"the checkpoint of `{row.id}` that is stored is not one: `aegis audit verify`") from None


def said(text: str) -> Checkpoint:
    """What a note of our own says.

    Raises:
        CorruptStoreError: It is none.
    """
    try:
        return checkpoint.parse(notes.parse(text.encode()).text)
    except NoteError as error:
        raise CorruptStoreError(f"a checkpoint that is kept is not one ({error}): `aegis audit verify`") from None


def _sealed(work: Work, now: datetime) -> Sealed:
    former = work.sealed
    return Sealed(
        size=work.size,
        note=work.signed.data.decode(),
        at=now if former is None or work.grown else former.at,
        cosigned_at=now if work.cosigned else former.cosigned_at if former else None,
    )
