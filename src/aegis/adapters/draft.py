"""What a group of units would change, worked out on the rows that the database holds for it. Pure.

An adapter reads heads, events and rows of the whole group inside its transaction, lets each unit take its turn here, and writes
the sum with a few statements. A unit that conflicts, exists already or cannot be encoded leaves the draft untouched: this is the
savepoint of each unit, without a statement. A later unit of the group sees what an earlier one did.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial

from msgspec import Struct

from aegis.adapters.instants import to_micros
from aegis.adapters.past import Past
from aegis.crypto.digest import sha256
from aegis.crypto.merkle import Frontier, leaf_hash
from aegis.errors import CanonicalError
from aegis.journal.unit import Committed, Conflict, Existing, Payload, Put, Receipt, Require, Row, Unit
from aegis.model.event import Event, Stored, encode
from aegis.model.history import holds

Ref = tuple[str, str, str]
"""Tenant, kind, id of a row."""


class Head(Struct, frozen=True):
    """Where a tenant's journal ends: the next `seq`, the greatest time in microseconds, and the hashes of the tree's frontier.

    `first` is the first `seq` whose event is kept.
    """

    next: int = 0
    latest: int | None = None
    frontier: bytes = b""
    first: int = 0


class Draft:
    """The changes of one group. `changed` holds `None` for a row that goes, `destroyed` the data keys that end.

    `first` holds the first `seq` that is kept, of tenants whose older events go.

    `keys` says of each data key that the group names and that was ever known whether it still stands.
    """

    def __init__(
        self,
        heads: Mapping[str, Head],
        events: Mapping[tuple[str, str], Stored],
        rows: Mapping[Ref, Row],
        past: Past | None = None,
        keys: Mapping[tuple[str, str], bool] | None = None,
    ) -> None:
        self.heads: dict[str, Head] = {}
        self.events: list[Stored] = []
        self.payloads: list[tuple[str, Payload]] = []
        self.changed: dict[Ref, Row | None] = {}
        self.destroyed: list[tuple[str, str]] = []
        self.first: dict[str, int] = {}
        self.past = past or Past()
        self._stored_heads = heads
        self._known = dict(events)
        self._stored_rows = rows
        self._keys = dict(keys or {})

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.events or self.changed or self.past.remembered or self.past.settled)

    def take(self, unit: Unit) -> Receipt | CanonicalError:
        """Let `unit` take its turn; anything but `Committed` changed nothing."""
        existing = [found for event in unit.events if (found := self._known.get((unit.tenant, event.id))) is not None]
        if existing:
            return Existing(events=tuple(existing))
        if (conflict := self._against(unit)) is not None:
            return conflict
        try:
            placed = self._place(unit.tenant, unit.events)
        except CanonicalError as error:
            return error
        except (ValueError, OverflowError):
            return CanonicalError("`event.time` is beyond what RFC 3339 can write")
        self._apply(unit, placed)
        return Committed(events=placed)

    def _against(self, unit: Unit) -> Conflict | None:
        against = [require for require in unit.requires if self._version(unit.tenant, require) != require.version]
        ask = partial(self.past.ask, unit.tenant)
        history = not all(holds(expect, ask) for expect in unit.expects)
        keys = self._destroyed(unit)
        beyond = unit.drops > self._head(unit.tenant).next
        if not (against or history or keys or beyond):
            return None
        rows = (self._row((unit.tenant, require.kind, require.id)) for require in against)
        return Conflict(rows=tuple(dict.fromkeys(row for row in rows if row is not None)), history=history, keys=keys)

    def _destroyed(self, unit: Unit) -> tuple[str, ...]:
        """The data keys that the unit needs and that are gone; one that was never known is what `fsck` finds."""
        sealing = (payload.key_id for payload in unit.payloads if not self._keys.get((unit.tenant, payload.key_id), True))
        ending = (key_id for key_id in unit.destroys if not self._keys.get((unit.tenant, key_id), False))
        return tuple(dict.fromkeys((*sealing, *ending)))

    def _place(self, tenant: str, events: Iterable[Event]) -> tuple[Stored, ...]:
        first = self._head(tenant).next
        return tuple(_stored(event, seq) for seq, event in enumerate(events, first))

    def _apply(self, unit: Unit, placed: tuple[Stored, ...]) -> None:
        if placed:
            head = self._head(unit.tenant)
            times = [to_micros(event.time) for event in placed]
            latest = max(times) if head.latest is None else max(head.latest, *times)
            frontier = Frontier(head.next, head.frontier).extend(leaf_hash(event.body) for event in placed)
            first = max(head.first, unit.drops)
            self.heads[unit.tenant] = Head(frontier.size, latest, frontier.hashes, first)
            if first > head.first:
                self.first[unit.tenant] = first
            self.events += placed
            self._known.update(((event.tenant, event.id), event) for event in placed)
            self.payloads += ((unit.tenant, payload) for payload in unit.payloads)
        self.past.apply(unit)
        for key in ((unit.tenant, key_id) for key_id in unit.destroys):
            self._keys[key] = False
            self.destroyed.append(key)
        for write in unit.writes:
            ref = (unit.tenant, write.kind, write.id)
            before = self._row(ref)
            if isinstance(write, Put):
                self.changed[ref] = _written(unit.tenant, write, before.version + 1 if before else 1)
            elif before is not None:
                self.changed[ref] = None

    def _head(self, tenant: str) -> Head:
        return self.heads.get(tenant) or self._stored_heads.get(tenant) or Head()

    def _version(self, tenant: str, require: Require) -> int:
        row = self._row((tenant, require.kind, require.id))
        return row.version if row else 0

    def _row(self, ref: Ref) -> Row | None:
        return self.changed[ref] if ref in self.changed else self._stored_rows.get(ref)


def event_keys(units: Iterable[Unit]) -> Iterator[tuple[str, str]]:
    """(tenant, event id) of every event in the group, to be looked up."""
    return ((unit.tenant, event.id) for unit in units for event in unit.events)


def row_refs(units: Iterable[Unit]) -> list[Ref]:
    """Every row that the group requires or writes, once."""
    return list(dict.fromkeys((unit.tenant, named.kind, named.id) for unit in units for named in (*unit.requires, *unit.writes)))


def key_refs(units: Iterable[Unit]) -> list[tuple[str, str]]:
    """(tenant, key id) of every data key that the group seals under or destroys, once."""
    named = ((unit.tenant, key_id) for unit in units for key_id in (*(each.key_id for each in unit.payloads), *unit.destroys))
    return list(dict.fromkeys(named))


def _stored(event: Event, seq: int) -> Stored:
    body = encode(event, seq)
    return Stored(
        tenant=event.tenant,
        seq=seq,
        id=event.id,
        type=event.type,
        time=_utc(event.time),
        request_id=event.request_id,
        body=body,
        digest=sha256(body),
    )


def _written(tenant: str, put: Put, version: int) -> Row:
    return Row(
        tenant=tenant,
        kind=put.kind,
        id=put.id,
        version=version,
        state=put.state,
        lookup=put.lookup,
        due=_utc(put.due) if put.due else None,
        body=put.body,
    )


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo is UTC else time.astimezone(UTC)
