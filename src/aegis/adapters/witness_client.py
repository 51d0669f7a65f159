"""Asks one witness for cosignatures over HTTP.

No redirects, no proxies, two seconds, a bounded answer. What it answers counts only if it is a cosignature of the key that the
operator wrote down, over exactly the checkpoint that was sent.
"""

import asyncio
from collections.abc import Sequence

import aiohttp

from aegis.crypto import note as notes
from aegis.crypto.note import Note, Signature, Verifier
from aegis.errors import NoteError, WitnessError
from aegis.journal import checkpoint
from aegis.journal.witness import Request

SECONDS = 2.0
MAX_ANSWER = 65_536
CONNECTIONS = 16
_SIZE = "text/x.tlog.size"
UNPROVEN = 422
_OK, _CONFLICT = 200, 409


class Witness:
    """One witness: where it is and what its key is. It belongs to one event loop."""

    def __init__(self, url: str, verifier: Verifier, *, seconds: float = SECONDS) -> None:
        self.verifier = verifier
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def cosign(self, old: int, proof: Sequence[bytes], note: Note) -> Signature:
        """The cosignature over `note`, verified; `proof` is from the size `old`, which the witness is thought to know.

        Raises:
            WitnessError: There is none; `reason` says why, and for `conflict` `size` is what the witness knows.
        """
        status, kind, content = await self._asked(Request(old, tuple(proof), note).data)
        if status == _OK:
            return self._verified(note, content)
        if status == _CONFLICT and kind == _SIZE:
            raise self._conflict(old, checkpoint.parse(note.text).size, self._size(content))
        raise self._error("refused", f"status {status}", status=status)

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _asked(self, body: bytes) -> tuple[int, str, bytes]:
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._opened().post(
                    self._url, data=body, allow_redirects=False, headers={"content-type": "text/plain; charset=utf-8"}
                ) as answer,
            ):
                content = await answer.content.readexactly(MAX_ANSWER + 1)
        except asyncio.IncompleteReadError as whole:  # the answer ended before it was too long
            return answer.status, answer.content_type, whole.partial
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._error("unreachable", type(error).__name__) from error
        raise self._error("untrue", f"it answers with more than {len(content) - 1} bytes")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ttl_dns_cache=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=self._seconds),
            )
        return self._session

    def _verified(self, note: Note, content: bytes) -> Signature:
        try:
            lines = [line for line in notes.parse_lines(content) if (line.name, line.id) == (self.verifier.name, self.verifier.id)]
            notes.verified(Note(note.text, tuple(lines)), [self.verifier])
        except NoteError as error:
            raise self._error("untrue", f"its answer is not its cosignature: {error}") from None
        return lines[-1]

    def _conflict(self, old: int, wanted: int, known: int) -> WitnessError:
        if known != old:
            return self._error("conflict", f"it has cosigned size {known}", size=known, status=_CONFLICT)
        if known != wanted:
            return self._error("untrue", f"it refuses a proof from size {old} because it knows size {known}", status=_CONFLICT)
        return self._error("fork", f"it has cosigned another root of size {known}", size=known, status=_CONFLICT)

    def _size(self, content: bytes) -> int:
        try:
            return checkpoint.size(content.decode("ascii", "replace").removesuffix("\n"))
        except NoteError as error:
            raise self._error("untrue", f"its answer is not a size: {error}") from None

    def _error(self, reason: str, text: str, *, size: int | None = None, status: int = 0) -> WitnessError:
        return WitnessError(reason, f"witness `{self.verifier.name}`: {text}", size=size, status=status)
