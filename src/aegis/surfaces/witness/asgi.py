"""A witness over HTTP, as one bare ASGI application.

    POST /add-checkpoint    C2SP tlog-witness: 200 with the cosignature, or 400, 403, 404, 409 with the size, 422
    GET /                   what this is, for a person

Whoever reaches it may ask: what counts is the signature of the log. A body is bounded and must come in time. The work on one log is
done by one request at a time, in a thread, because it waits for the disk.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from aegis.adapters.witness import home as homes
from aegis.adapters.witness import states
from aegis.adapters.witness.home import Home
from aegis.crypto.note import Signature, Verifier
from aegis.errors import AegisError, NoteError
from aegis.journal import witness
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.witness import Refusal, Request

log = logging.getLogger("aegis.witness")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_BODY = 131_072
BODY_SECONDS = 10.0
TEXT, SIZE = "text/plain; charset=utf-8", "text/x.tlog.size"
_ABOUT = """\
This is `{name}`, a witness of transparency logs.

It cosigns checkpoints of the logs that it knows, each only if the log has grown
from the one that it cosigned before and nothing in it was changed.

key       {vkey}
protocol  POST /add-checkpoint (C2SP tlog-witness)
"""


class Answer(Struct, frozen=True):
    """What goes back; `last` ends the connection, because the rest of the request was not read."""

    status: int
    text: str
    kind: str = TEXT
    last: bool = False


class Witness:
    """The ASGI application over the directory of a witness. `clock` gives seconds since the epoch."""

    def __init__(self, home: Home, clock: Callable[[], int] = lambda: int(time.time())) -> None:
        self._home = home
        self._clock = clock
        self._logs = _Logs(home)
        self._turns: dict[str, asyncio.Lock] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except _GoneError:
            return
        except (AegisError, OSError) as error:
            log.error("%s", error)  # noqa: TRY400 - its words say what is wrong with the directory
            answer = Answer(503, "the witness cannot read or write its state; its operator finds the reason in its log\n")
        headers = [
            (b"content-type", answer.kind.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]
        headers += [(b"connection", b"close")] if answer.last else []
        content = answer.text.encode()
        headers.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        known = {"/": ("GET", "HEAD"), "/add-checkpoint": ("POST",)}
        methods = known.get(scope["path"])
        if methods is None:
            return Answer(404, "nothing is here; `GET /` says what this is\n", last=True)
        if scope["method"] not in methods:
            return Answer(405, f"expected {methods[0]}\n", last=True)
        if scope["path"] == "/":
            return Answer(200, _ABOUT.format(name=self._home.name, vkey=self._home.verifier.vkey))
        body = await _body(scope, receive)
        return body if isinstance(body, Answer) else await self._add_checkpoint(body)

    async def _add_checkpoint(self, body: bytes) -> Answer:
        try:
            request = witness.parse(body)
            wanted = witness.admitted(request, await asyncio.to_thread(self._logs.read))
        except NoteError as error:
            return Answer(400, f"{error}\n")
        if isinstance(wanted, Refusal):
            return Answer(wanted.status, f"{wanted.text}\n")
        found = await self._cosigned(request, wanted)
        if isinstance(found, Signature):
            log.debug("cosigned size %d of %s", wanted.size, wanted.origin)
            return Answer(200, found.line)
        return Answer(409, found.text, SIZE) if found.status == 409 else Answer(found.status, f"{found.text}\n")

    async def _cosigned(self, request: Request, wanted: Checkpoint) -> Signature | Refusal:
        async with self._turns.setdefault(wanted.origin, asyncio.Lock()):  # only logs that we know have a turn
            return await asyncio.to_thread(states.cosign, self._home, request, wanted, self._clock)


class _Logs:
    """The logs that the witness knows, read again when the file is another one; a broken file leaves nothing in force."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._read: tuple[tuple[int, int, int], Mapping[str, tuple[Verifier, ...]]] | None = None

    def read(self) -> Mapping[str, tuple[Verifier, ...]]:
        found = (self._home.path / homes.LOGS).stat()
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, homes.logs(self._home.path))
        return self._read[1]


class _GoneError(Exception):
    """The asker went away."""


async def _body(scope: Scope, receive: Receive) -> bytes | Answer:
    """The whole body, or what to answer when it is too long or does not come."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY:
        return Answer(413, f"expected at most {MAX_BODY} bytes\n", last=True)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _collected(receive)
    except TimeoutError:
        return Answer(408, "the body came too slowly\n", last=True)


async def _collected(receive: Receive) -> bytes | Answer:
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        data += message.get("body", b"")
        if len(data) > MAX_BODY:
            return Answer(413, f"expected at most {MAX_BODY} bytes\n", last=True)
        if not message.get("more_body"):
            return bytes(data)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        ended = message["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete" if ended else "lifespan.startup.complete"})
        if ended:
            return
