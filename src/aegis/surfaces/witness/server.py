"""Run a witness under uvicorn: one small process, which shares its directory with others if there are any."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aegis.adapters.witness import home as homes
from aegis.adapters.witness import states
from aegis.errors import ConfigError
from aegis.surfaces.witness.asgi import Witness

HEAD_SECONDS = 10.0
MAX_HEAD = 32_768
CONCURRENT = 256


class _Protocol(HttpToolsProtocol):
    """uvicorn's, and who sends the head of a request too slowly, or without end, is cut off; it would wait for ever."""

    _late: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._late is not None:  # the head is still not whole
            self._head += len(data)
            if self._head > MAX_HEAD:
                self.transport.close()

    def on_message_begin(self) -> None:
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._came()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._came()
        self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _came(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late, self._head = None, 0


class _Server(uvicorn.Server):
    """uvicorn, and a word when it really listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[int], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._listening(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: object) -> None:  # noqa: ARG002 - the signature of uvicorn
        """A process that was told to stop ends well, not by the signal."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def serve(state: Path, host: str, port: int, listening: Callable[[int], None] = lambda _: None) -> None:
    """Serve the witness in `state` until SIGTERM or SIGINT; `listening` is told the port.

    Raises:
        AegisError: The directory is not that of a witness, or a state in it is not what the witness wrote.
    """
    home = homes.load(state)
    homes.logs(state)
    for _ in states.known(home):
        """Each is read: a state that was changed stops the start, not the first request."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    server = _Server(config(Witness(home), host, port), listening)
    with contextlib.suppress(SystemExit):  # uvicorn exits when it cannot start
        asyncio.run(server.serve())
    if not server.started:
        raise ConfigError(f"cannot listen on {host}:{port}; the log line above says why")


def config(app: Witness, host: str, port: int) -> uvicorn.Config:
    """The server's settings: what the wire may cost, and nothing about us in the answers."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_Protocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        limit_concurrency=CONCURRENT,
        backlog=512,
    )
