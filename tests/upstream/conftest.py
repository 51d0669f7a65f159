"""A tool that does on the wire whatever a test tells it to, and an upstream that speaks to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from aegis.adapters.http_upstream import HttpUpstream
from aegis.model.contract import Contract, contract
from aegis.model.document import Document
from aegis.model.operation import OutgoingRequest
from aegis.model.upstream import UpstreamResponse

Answer = Callable[["RawTool", asyncio.StreamWriter, bytes], Awaitable[None]]


class RawTool:
    """A server on a free port that records every request byte for byte and lets `answer` write what it likes."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections = 0
        self.gone = asyncio.Event()
        self.port = 0
        self._tasks: set[asyncio.Task] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                self.requests.append(head + await reader.readexactly(length))
                await self.answer(self, writer, self.requests[-1])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:  # the test is over
            pass
        finally:
            self.gone.set()
            self._tasks.discard(task)
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["RawTool"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def heads(self) -> list[list[tuple[str, str]]]:
        """The headers of each request, names in lower case, in order."""
        lines = [request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:] for request in self.requests]
        return [[(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head)] for head in lines]


def bytes_of(data: bytes) -> Answer:
    """Always the same bytes."""

    async def answer(tool: RawTool, writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(data)

    return answer


def ok(body: bytes = b'{"done":true}', more: bytes = b"") -> bytes:
    """A plain answer."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s" % (more, len(body), body)


def tool_contract(port: int, method: str = "POST", **upstream: object) -> Contract:
    """A write with one argument in the path."""
    call = {
        "method": method,
        "path": "/items/{id}",
        **({"body": {"note": "note"}} if method != "GET" else {"query": {"note": "note"}}),
    }
    spec = {
        "description": "Raw.", "effect": "read" if method == "GET" else "write",
        **({} if method == "GET" else {"resource": "{id}", "interrupt": "neither"}),
        "upstream": {"url": f"http://127.0.0.1:{port}", **upstream}, "operations": {"call": call},
        "input": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "note": {"type": "string"}}},
        "output": {"type": "object", "required": ["done"], "properties": {"done": {"type": "boolean"}}},
    }  # fmt: skip
    meta = {"name": "raw", "version": "1.0.0", "tenant": "acme", "owner": "o@acme.example"}
    return contract(Document("raw", {"apiVersion": "aegis.tool/v1", "kind": "Tool", "metadata": meta, "spec": spec}, {}))


class Wired:
    """A tool, its contract, and an upstream that has started."""

    def __init__(self, tool: RawTool, stated: Contract, upstream: HttpUpstream) -> None:
        self.tool = tool
        self.contract = stated
        self.upstream = upstream

    async def send(self, request: OutgoingRequest | None = None, **more: object) -> UpstreamResponse:
        plain = OutgoingRequest(method="POST", path="/items/a", body=b'{"note":"n"}')
        options = {"idempotency_key": "aegis-1", "headers": {"aegis-request-id": "req_1"}, **more}
        return await self.upstream.send(self.contract, request or plain, **options)


@pytest.fixture
def wire(tmp_path) -> Callable[..., AbstractAsyncContextManager[Wired]]:
    """`async with wire(answer) as wired`: everything is up, and everything is gone afterwards."""

    @asynccontextmanager
    async def connected(answer: Answer | bytes, method: str = "POST", **options: object) -> AsyncIterator[Wired]:
        async with RawTool(bytes_of(answer) if isinstance(answer, bytes) else answer).running() as tool:
            stated = tool_contract(tool.port, method, **{"timeout_seconds": 5, **options})
            upstream = HttpUpstream([stated], tmp_path)
            await upstream.start()
            try:
                yield Wired(tool, stated, upstream)
            finally:
                await upstream.close()

    return connected


@pytest.fixture
def plain_ok() -> Callable[..., bytes]:
    return ok


@pytest.fixture
def stated_contract() -> Callable[..., Contract]:
    return tool_contract
