"""All witnesses of a gateway, asked at once for cosignatures over one checkpoint.

One that does not answer is left alone for a while, so that sealing does not wait for it each second; what it has said of the size
of a log is remembered, so that most requests bring the right proof at once.

A witness that knows more of a log than is here, or another root of it, is the alarm that it is there for: that is raised, and never
counted as a witness that could not be asked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

from aegis.adapters.witness_client import CONNECTIONS, UNPROVEN, Witness
from aegis.crypto.note import Note, Signature, Verifier
from aegis.errors import AegisError, CorruptStoreError, LogBehindError, WitnessError
from aegis.journal.store import Store
from aegis.model.event import origin

log = logging.getLogger("aegis.witnesses")

_ANY = ""
"""In the place of an origin: a trouble with all logs."""
ROUND_SECONDS = 4.0
"""For one log, waiting for its turn included: sealing goes on without the cosignatures that do not come in time."""
PAUSE_SECONDS, LONGEST_PAUSE = 1.0, 16.0
Sizes = Callable[[str], Awaitable[int]]
"""An origin to the number of events that its log holds now."""
Prove = Callable[[int], Awaitable[Sequence[bytes]]]
"""A smaller size to the proof that the log of the checkpoint begins with the one of that size."""


class Witnesses:
    """All witnesses of a gateway; `needed` of them make a checkpoint good. `size_of` reads the store anew.

    A witness that knows more than it was shown may have been asked by another process in between: that is no alarm while the store
    holds as much as the witness knows.
    """

    def __init__(self, members: Sequence[Witness], needed: int, size_of: Sizes, *, clock: Callable[[], float] = monotonic) -> None:
        self.needed = needed
        self._members = [_Member(each, size_of, clock) for each in members]

    async def cosign(self, note: Note, size: int, prove: Prove) -> Sequence[Signature]:
        """The cosignatures that can be had now over the checkpoint of this size; perhaps fewer than are needed, or none.

        Raises:
            LogBehindError: A witness has cosigned more of this log than `size`.
            CorruptStoreError: A witness has cosigned another tree of this log.
        """
        said = await asyncio.gather(*(each.cosign(note, size, prove) for each in self._members), return_exceptions=True)
        for each in said:
            if isinstance(each, BaseException):
                raise each
        return [each for each in said if isinstance(each, Signature)]

    def troubles(self) -> dict[str, str]:
        """Why witnesses do not cosign now, by name; empty when all do."""
        return {each.witness.verifier.name: each.trouble for each in self._members if each.trouble}

    async def close(self) -> None:
        """Let go of connections."""
        for each in self._members:
            await each.witness.close()


def asking(members: Sequence[tuple[str, Verifier]], needed: int, store: Store) -> Witnesses | None:
    """The witnesses at these URLs with these keys; `None` when there are none."""

    async def size_of(of: str) -> int:
        heads = await store.heads()
        return next((head.frontier.size for tenant, head in heads.items() if origin(tenant) == of), 0)

    return Witnesses([Witness(url, key) for url, key in members], needed, size_of) if members else None


class _Member:
    """One witness, what it knows as far as we know, and since when it does not answer."""

    def __init__(self, witness: Witness, size_of: Sizes, clock: Callable[[], float]) -> None:
        self.witness = witness
        self._troubles: dict[str, str] = {}
        self._size_of = size_of
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._clock = clock
        self._sizes: dict[str, int] = {}
        self._pause = 0.0
        self._until = float("-inf")

    @property
    def trouble(self) -> str:
        """Why it does not cosign some log now; empty when it cosigns all."""
        return next(iter(self._troubles.values()), "")

    async def cosign(self, note: Note, size: int, prove: Prove) -> Signature | None:
        """Its cosignature, or `None` when it gives none now."""
        of = note.text.partition("\n")[0]
        try:
            async with asyncio.timeout(ROUND_SECONDS), self._places:
                if self._clock() < self._until:
                    return None
                line = await self._asked(of, note, size, prove)
        except TimeoutError:
            self._tell(_ANY, f"witness `{self.witness.verifier.name}`: it is too slow for so many logs")
            return None
        except WitnessError as error:
            if error.reason != "conflict":
                self._failed(of, error)
            return None
        self._sizes[of] = size
        self._tell(_ANY, "")
        self._tell(of, "")
        self._pause = 0.0
        return line

    async def _asked(self, of: str, note: Note, size: int, prove: Prove) -> Signature:
        """Ask, and once more when it says from where it wants the proof."""
        old = min(self._sizes.get(of, 0), size)
        try:
            return await self._once(note, old, size, prove)
        except WitnessError as error:
            if error.reason != "conflict" or error.size is None:
                raise self._alarm(error, of, size) from None
            if error.size > size:
                await self._beyond(of, error.size)
                raise  # another process was faster, and its checkpoint is the one that counts
            old = error.size
        try:
            return await self._once(note, old, size, prove)
        except WitnessError as error:
            raise self._alarm(error, of, size) from None

    async def _once(self, note: Note, old: int, size: int, prove: Prove) -> Signature:
        proof = await prove(old) if 0 < old < size else ()
        return await self.witness.cosign(old, proof, note)

    async def _beyond(self, of: str, known: int) -> None:
        """Hold against the store that this witness has cosigned `known` events."""
        there = await self._size_of(of)
        if there < known:
            raise LogBehindError(
                f"log `{of}` has {there} events here, but witness `{self.witness.verifier.name}` has cosigned {known}: the"
                " database was put back to an older state, or cut; docs/witness.md tells what to do",
                known,
            )

    def _alarm(self, error: WitnessError, of: str, size: int) -> AegisError:
        """What a refusal means, if it is not that the witness could not be asked."""
        name = self.witness.verifier.name
        if error.reason == "fork":
            return CorruptStoreError(
                f"log `{of}`: witness `{name}` has cosigned another root of size {size}: it was written anew; docs/witness.md tells"
                " what to do"
            )
        if error.status == UNPROVEN:
            return CorruptStoreError(
                f"log `{of}`: witness `{name}` has cosigned a tree that this one does not begin with: it was written anew;"
                " docs/witness.md tells what to do"
            )
        return error

    def _failed(self, of: str, error: WitnessError) -> None:
        if error.reason != "unreachable":
            self._tell(of, f"{error}, for log `{of}`")
            return
        self._tell(_ANY, str(error))
        self._pause = min(max(self._pause * 2, PAUSE_SECONDS), LONGEST_PAUSE)
        self._until = self._clock() + self._pause

    def _tell(self, of: str, trouble: str) -> None:
        """Log a trouble with a log once, and its end: a witness may refuse one log and cosign another each second."""
        name = self.witness.verifier.name
        if trouble != self._troubles.get(of, ""):
            end = f"witness `{name}` cosigns{' log `' + of + '`' if of else ''}"
            log.log(logging.ERROR if trouble else logging.INFO, "%s", trouble or end)
        self._troubles.pop(of, None)
        if trouble:
            self._troubles[of] = trouble
