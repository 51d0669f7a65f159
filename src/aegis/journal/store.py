"""The port of the store. `commit` is the only way to change anything; everything else reads.

Guarantees that every adapter gives, and that the contract suite checks:

- `Committed` is returned only when the unit is on stable storage.
- A unit is seen whole or not at all. A conflict fails its own unit only; neighbours in the same group are untouched.
- `seq` of a tenant starts at 0 and has no gaps, whatever processes write.
- After a failed write to stable storage nothing is acknowledged until the store has been reopened and checked.
- Calls may come from many event loops and threads.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct

from aegis.crypto.merkle import Frontier
from aegis.journal.postings import Posting
from aegis.journal.terms import Term
from aegis.journal.unit import Payload, Receipt, Row, Unit
from aegis.model.event import Stored
from aegis.model.history import Measured, Query


class Noise(Struct, frozen=True, kw_only=True):
    """One kind of unauthenticated refusal in the bounded system journal: how often, and when first and last."""

    reason: str
    source: str
    count: int
    first: datetime
    last: datetime


class Finding(Struct, frozen=True, kw_only=True):
    """Something that `fsck` holds to be wrong: where, and what was expected."""

    tenant: str
    place: str
    text: str


class TreeHead(Struct, frozen=True, kw_only=True):
    """Where a tenant's log ends: the frontier of its Merkle tree, and the first `seq` whose event is kept."""

    frontier: Frontier
    first: int = 0


Place = tuple[int, int]
"""Level and number of a tile (`journal.tiles`)."""

PostingKey = tuple[str, str, int]
"""Field, value and block of a posting, which are in this order."""


class Store(Protocol):
    """Journal and state in one database."""

    async def commit(self, unit: Unit) -> Receipt:
        """Record `unit` durably, or say what stands in its way.

        Raises:
            StoreBusyError: Too many units wait; nothing was recorded.
            StoreHaltedError: The writer has stopped after a failed write; nothing was recorded.
            StoreUncertainError: The connection broke in the middle; ask for the event id before repeating.
        """

    async def rows(self, tenant: str, refs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """The rows of these (kind, id) that exist, in one reading."""

    async def find(
        self,
        tenant: str,
        kind: str,
        *,
        state: str | None = None,
        lookup: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> tuple[Row, ...]:
        """Rows of a kind in order of id, after the id `after`."""

    async def measure(self, tenant: str, queries: Sequence[Query]) -> tuple[Measured, ...]:
        """The answers to `queries` over the tenant's history, in their order and in one reading.

        A query that would have to look at very many entries is answered with `known=False`, here as in a commit.
        """

    async def forget(self, before: datetime) -> int:
        """Remove entries of history older than `before`, of all tenants, a bounded number at a time; how many went."""

    async def event(self, tenant: str, event_id: str) -> Stored | None:
        """The event of this id."""

    async def events(
        self,
        tenant: str,
        *,
        request_id: str | None = None,
        after: int = -1,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> tuple[Stored, ...]:
        """Events with `seq > after` (or `seq < after` when newest first and `after >= 0`), in order of `seq`."""

    async def payload(self, tenant: str, event_id: str, name: str) -> Payload | None:
        """A sealed payload; `None` when there never was one or it was erased."""

    async def data_key(self, tenant: str, subject: str, proposed: tuple[str, bytes] | None) -> tuple[str, bytes] | None:
        """The newest (key id, wrapped key) of a subject; the subject `""` is the whole tenant.

        If there is none, `proposed` becomes it, durably; of several racing proposals all callers get the one that won.
        """

    async def data_key_by_id(self, tenant: str, key_id: str) -> bytes | None:
        """The wrapped key of this id; `None` when it was destroyed."""

    async def data_keys(self, tenant: str, *, after: str = "", limit: int = 1000) -> tuple[tuple[str, bytes], ...]:
        """The (key id, wrapped key) of the data keys that were not destroyed, in order of id, after the id `after`."""

    async def rewrap(self, tenant: str, key_id: str, former: bytes, wrapped: bytes) -> bool:
        """Durably put `wrapped` in the place of exactly `former`; false when something else stands there, or nothing any more."""

    async def sealed(self, tenant: str, key_id: str) -> int:
        """How many payloads lie under a data key. It looks at every payload: for commands, not for calls."""

    async def shed(self, tenant: str) -> int:
        """Remove the events below the first that is kept (`Unit.drops`), and what is sealed beside them; how many events went.

        In batches: whoever is interrupted does it again. Until then the events may still be read.
        """

    async def payloads(self, tenant: str, first: int, end: int) -> tuple[Payload, ...]:
        """What is sealed beside the events from `first` to before `end`, in their order."""

    async def scrub(self) -> str:
        """Remove from the files of the store what destroyed keys left in them, as far as the store can.

        What is left to somebody else is told in a sentence; empty when nothing is. It may be done again.
        """

    async def tenants(self) -> tuple[str, ...]:
        """Every tenant that has at least one event, sorted."""

    async def heads(self) -> dict[str, TreeHead]:
        """Where each tenant's log ends; the frontier was read and written by every commit, under the lock of the head."""

    async def tiles(self, tenant: str, places: Sequence[Place]) -> dict[Place, bytes]:
        """Those of these tiles that are kept."""

    async def put_tiles(self, tenant: str, tiles: Mapping[Place, bytes]) -> None:
        """Durably keep complete tiles; one that is there already stays as it is."""

    async def at(self, tenant: str, places: Sequence[int]) -> tuple[Stored, ...]:
        """Those of the events at these places (`seq`) that are kept, in no order."""

    async def postings(self, tenant: str, terms: Sequence[Term], blocks: range) -> dict[int, dict[Term, bytes]]:
        """What the index of searches holds of these terms in these blocks (`journal.postings`), by block and term."""

    async def put_postings(self, tenant: str, made: Sequence[Posting]) -> None:
        """Durably write these, in this order: one is there only when those before it are."""

    async def drop_postings(self, tenant: str, below: int, after: PostingKey) -> PostingKey | None:
        """Remove postings of blocks below this one among the next few after a key; the last key that was looked at, if any."""

    async def latest(self) -> datetime | None:
        """The greatest time of any event in any tenant; the clock must never stand far behind it."""

    async def count_noise(self, reason: str, source: str, at: datetime) -> None:
        """Count a refusal of a caller who is not authenticated, never in a tenant's log.

        Bounded in rows and in rate: what exceeds the bound is counted under the source `other`. It may be written late.
        """

    async def noise(self) -> tuple[Noise, ...]:
        """The bounded system journal, newest first."""

    async def register(self, instance: str) -> None:
        """Hold `instance` as alive for as long as this process lives and reaches the store."""

    async def alive(self, instance: str) -> bool:
        """Whether some process still holds `instance`."""

    async def fsck(self) -> tuple[Finding, ...]:
        """Check that the store does not contradict itself: canonical bytes, digests, sequence, heads, rows, payloads."""

    async def stats(self) -> dict[str, Any]:
        """Numbers for metrics: units committed, groups, waiting units, last commit seconds, bytes."""

    async def close(self) -> None:
        """Finish what is waiting, then let go of everything."""
