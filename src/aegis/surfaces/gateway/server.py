"""Run the gateway under uvicorn: one process, SIGTERM drains."""

import asyncio
import contextlib
import signal
from collections.abc import Callable

import uvicorn

from aegis.app import open_app
from aegis.errors import ConfigError
from aegis.settings import Settings
from aegis.surfaces.gateway.asgi import Gateway
from aegis.surfaces.gateway.logs import configure


class _Server(uvicorn.Server):
    """uvicorn, and a word when it really listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[int], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: object = None) -> None:
        await super().startup(sockets)  # type: ignore[arg-type]  # uvicorn's own list of sockets, passed through
        if self.started:
            self._listening(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: object) -> None:  # noqa: ARG002 - the signature of uvicorn
        """Drain on the first signal, leave at once on the second SIGINT; a drained process ends well, not by the signal."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def serve(settings: Settings, listening: Callable[[int], None] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT; `listening` is told the port. Calls under way are finished and recorded first.

    Raises:
        AegisError: Something is wrong with files, keys or the store.
    """
    configure(settings.log)
    gateway = Gateway(lambda: open_app(settings))
    server = _Server(config(gateway, settings), listening)
    with contextlib.suppress(SystemExit), asyncio.Runner(loop_factory=_loop) as runner:  # uvicorn exits when it cannot start
        runner.run(server.serve())
    if gateway.failure is not None:
        raise gateway.failure
    if not server.started:
        raise ConfigError(f"cannot listen on {settings.gateway.host}:{settings.gateway.port}; the log line above says why")


def config(gateway: Gateway, settings: Settings) -> uvicorn.Config:
    """The server's settings: what the wire may cost, and nothing about us in the answers."""
    return uvicorn.Config(
        gateway,
        host=settings.gateway.host,
        port=settings.gateway.port,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=settings.gateway.drain_seconds,
        backlog=2048,
    )


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415 - only a serving process needs it

    return uvloop.new_event_loop()
