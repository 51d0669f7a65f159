"""The index of searches is made behind the journal, block by block; nothing of it is in the way of a commit.

Every gateway does a bounded part of what is due in a turn. Making a block's postings twice gives the same postings, so several
processes may be at the same block, and one that dies leaves nothing wrong: a block counts as indexed from its summary on, which is
written last. Postings of blocks of which the journal keeps no event any more are removed.
"""

import asyncio
from collections.abc import Iterator, Sequence

from msgspec import Struct

from aegis.journal.postings import BLOCK, SUMMARY, Indexing, Posting, batches, leads_to, version
from aegis.journal.store import Finding, PostingKey, Store, TreeHead
from aegis.journal.terms import VERSION
from aegis.runtime.searching import body_of

EVERY_SECONDS = 0.5
BLOCKS_A_TURN = 4

_SLICE = 32
_LOOKED = 512
_BEHIND_SUMMARIES: PostingKey = (*SUMMARY, 2**62)


class _Seen(Struct):
    """What this process knows of a tenant: blocks below `done` are indexed, below `dropped` there are no postings any more."""

    done: int
    dropped: int = 0


class Indexer:
    """Indexes what is complete. One for each process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, _Seen] = {}

    async def turn(self) -> int:
        """Index some blocks, the oldest of each tenant first; how many."""
        heads = await self._store.heads()
        due = [tenant for tenant, head in heads.items() if await self._due(tenant, head)]
        made = 0
        while due and made < BLOCKS_A_TURN:
            tenant = due.pop(0)
            made += await self._one(tenant)
            if self._seen[tenant].done < _complete(heads[tenant]):
                due.append(tenant)
        return made

    async def _due(self, tenant: str, head: TreeHead) -> bool:
        lowest = head.first // BLOCK
        seen = self._seen.get(tenant)
        if seen is None:
            seen = self._seen[tenant] = _Seen(await _unindexed(self._store, tenant, lowest, _complete(head)))
        seen.done = max(seen.done, lowest)
        if seen.dropped < lowest:
            if await _summarised(self._store, tenant, range(lowest)):
                await drop(self._store, tenant, lowest)
            seen.dropped = lowest
        return seen.done < _complete(head)

    async def _one(self, tenant: str) -> bool:
        """Index the next block, unless another process has been at it."""
        seen = self._seen[tenant]
        block = seen.done
        there = await _summarised(self._store, tenant, range(block, block + 1))
        if not there:
            await self._store.put_postings(tenant, await postings(self._store, tenant, block))
        seen.done = block + 1
        return not there


async def postings(store: Store, tenant: str, block: int) -> list[Posting]:
    """What the index should hold of a block, from the events themselves; other work goes on meanwhile."""
    made = Indexing(block)
    for seqs in batches(range(block * BLOCK, (block + 1) * BLOCK), _SLICE):
        for event in await store.at(tenant, seqs):
            made.add(event.seq, body_of(event))
        await asyncio.sleep(0)
    return made.postings()


async def reindex(store: Store, tenant: str) -> int:
    """Make the postings of every complete block anew; how many blocks."""
    blocks = await _blocks(store, tenant)
    for block in blocks:
        await store.put_postings(tenant, await postings(store, tenant, block))
    return len(blocks)


async def check(store: Store, tenant: str) -> tuple[Finding, ...]:
    """Where the index would hide an event from a search."""
    found: list[Finding] = []
    for block in await _blocks(store, tenant):
        if await _summarised(store, tenant, range(block, block + 1)):
            found += await _hidden(store, tenant, block)
    return tuple(found)


async def drop(store: Store, tenant: str, below: int) -> None:
    """Remove the postings of all blocks below this one, a few at a time; summaries last, so that what is left can be told."""
    after: PostingKey | None = _BEHIND_SUMMARIES
    while after is not None:
        after = await store.drop_postings(tenant, below, after)
    after = (*SUMMARY, -1)
    while after is not None and after < _BEHIND_SUMMARIES:
        after = await store.drop_postings(tenant, below, after)


async def _hidden(store: Store, tenant: str, block: int) -> Iterator[Finding]:
    due = await postings(store, tenant, block)
    held = (await store.postings(tenant, [(each.field, each.value) for each in due], range(block, block + 1))).get(block, {})
    return (
        Finding(
            tenant=tenant,
            place=f"posting {each.field or 'summary'}, block {block}",
            text="the index hides events: `aegis audit reindex`",
        )
        for each in due
        if not leads_to(held.get((each.field, each.value)), each)
    )


async def _blocks(store: Store, tenant: str) -> Sequence[int]:
    head = (await store.heads()).get(tenant)
    return range(head.first // BLOCK, _complete(head)) if head else ()


async def _unindexed(store: Store, tenant: str, low: int, high: int) -> int:
    """The first block without a summary."""
    while low < high:
        blocks = range(low, min(low + _LOOKED, high))
        there = await _summarised(store, tenant, blocks)
        for block in blocks:
            if block not in there:
                return block
        low = blocks.stop
    return low


async def _summarised(store: Store, tenant: str, blocks: range) -> set[int]:
    """Which blocks are indexed, by this version or a later one: while gateways are upgraded, the older do not undo the work."""
    held = await store.postings(tenant, [SUMMARY], blocks)
    return {block for block, found in held.items() if version(found.get(SUMMARY, b"")) >= VERSION}


def _complete(head: TreeHead) -> int:
    """How many blocks of the journal are full."""
    return head.frontier.size // BLOCK
