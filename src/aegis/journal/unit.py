"""What is committed, whole or not at all.

A unit belongs to one tenant. It holds events to append, payloads sealed beside them, requirements on rows, and rows to write.
The store checks the requirements on rows that it holds, so two units that want the same thing cannot both have it.

Rows are the state that the journal's readers need quickly (`call`, `claim`, `approval`): each has a kind, an id within the
tenant, a version that every write raises by one, a `state` and a `lookup` to find it by, and a body in JSON. A unit that reads
a row at version 5 and writes it requires version 5; version 0 means that no such row exists.
"""

from datetime import datetime

from msgspec import Struct

from aegis.model.event import Event, Stored
from aegis.model.history import Entry, Expect, Settle


class Row(Struct, frozen=True, kw_only=True):
    """A piece of state. `version` counts its writes, from 1. `due` orders what is to happen at a time (expiry)."""

    tenant: str
    kind: str
    id: str
    version: int
    state: str
    lookup: str
    due: datetime | None
    body: bytes


class Require(Struct, frozen=True, kw_only=True):
    """The row must stand at `version` (0: must not exist), else the unit conflicts."""

    kind: str
    id: str
    version: int


class Put(Struct, frozen=True, kw_only=True):
    """Write a row whole; its version becomes the old one plus one."""

    kind: str
    id: str
    body: bytes
    state: str = ""
    lookup: str = ""
    due: datetime | None = None


class Delete(Struct, frozen=True, kw_only=True):
    """Remove a row; removing what is not there is no error."""

    kind: str
    id: str


class Payload(Struct, frozen=True, kw_only=True):
    """Sealed bytes beside an event: `name` is `arguments`, `result` or the like. `key_id` names the data key."""

    event_id: str
    name: str
    key_id: str
    nonce: bytes
    ciphertext: bytes


class Unit(Struct, frozen=True, kw_only=True):
    """One atomic change of one tenant.

    `expects` are demands on readings of the tenant's history, checked in the commit, where earlier units of the same group count;
    `remember` adds entries to that history (an entry with the same id is replaced), `settle` moves them on. What is evidence stands
    beside the event that tells of it; a unit that only writes rows keeps a cursor or a lease, which nobody has to prove.

    `destroys` are ids of data keys that end with this unit: they must stand until then, and what they sealed is erased. A payload
    whose key was destroyed before is refused: it could never be opened.

    `drops`: events below this `seq`, a multiple of 256, are kept no more, but for the hashes of their leaves. `Store.shed` removes
    them.
    """

    tenant: str
    events: tuple[Event, ...] = ()
    payloads: tuple[Payload, ...] = ()
    requires: tuple[Require, ...] = ()
    writes: tuple[Put | Delete, ...] = ()
    expects: tuple[Expect, ...] = ()
    remember: tuple[Entry, ...] = ()
    settle: tuple[Settle, ...] = ()
    destroys: tuple[str, ...] = ()
    drops: int = 0


class Committed(Struct, frozen=True, kw_only=True):
    """The unit is durable. `events` are at their places, in the unit's order."""

    events: tuple[Stored, ...]


class Conflict(Struct, frozen=True, kw_only=True):
    """Nothing of the unit was recorded: `rows` are the required rows that stand otherwise (a missing one is absent here).

    `history` says that a reading of the history came out otherwise than expected. `keys` are data keys that the unit needs and
    that were destroyed.
    """

    rows: tuple[Row, ...]
    history: bool = False
    keys: tuple[str, ...] = ()


class Existing(Struct, frozen=True, kw_only=True):
    """Nothing was recorded, because an event of the unit exists already: `events` are the stored ones. Obey them."""

    events: tuple[Stored, ...]


Receipt = Committed | Conflict | Existing
