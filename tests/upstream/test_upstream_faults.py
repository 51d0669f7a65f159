"""Tools that are down, slow or lie, over real sockets: what is reported, and that nothing is ever sent twice."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from aegis.adapters.http_upstream import HttpUpstream
from aegis.errors import ConfigError, UpstreamError
from aegis.model.contract import Contract, contract
from aegis.model.document import parse
from aegis.model.operation import OutgoingRequest

Script = Callable[["Tool", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\n"
OK = HEAD + b"content-length: 2\r\n\r\n{}"
LIMIT = 1000


class Tool:
    """A raw server that plays one script on every connection; `seen` are the requests that arrived, head and body."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[bytes] = []
        self.connections = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self):
        def opened(reader, writer):
            self.connections += 1
            self._tasks.append(asyncio.ensure_future(self._play(reader, writer)))

        self._server = await asyncio.start_server(opened, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)
        await asyncio.sleep(0)  # aborted transports let go of their sockets in the next turn of the loop

    async def _play(self, reader, writer):
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self.script(self, reader, writer)
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()

    async def request(self, reader):
        """Read one request whole."""
        head = await reader.readuntil(b"\r\n\r\n")
        sizes = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        self.seen.append(head + (await reader.readexactly(sizes[0]) if sizes else b""))


def answers(data: bytes, *, then: str = "close") -> Script:
    async def script(tool, reader, writer):
        while True:
            await tool.request(reader)
            writer.write(data)
            await writer.drain()
            if then == "close":
                return
            if then == "reset":
                writer.transport.abort()
                return
            if then == "hang":
                await asyncio.Event().wait()

    return script


def tool_at(url: str, *, timeout: float = 5.0, credential: str = "") -> Contract:
    text = f"""
apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: notes.list, version: 1.0.0, tenant: acme, owner: platform@acme.example}}
spec:
  description: d
  effect: read
  upstream: {{url: "{url}", max_response_bytes: {LIMIT}{credential}}}
  operations: {{call: {{method: GET, path: /notes}}}}
  input: {{type: object, properties: {{}}}}
"""
    stated = contract(parse(text, source="notes.yaml"))
    return replace(stated, upstream=replace(stated.upstream, timeout_seconds=timeout))


@contextlib.asynccontextmanager
async def gateway(*contracts: Contract, root: Path = Path()):
    upstream = HttpUpstream(contracts, root)
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.close()


async def send(upstream, stated, method="PUT", path="/notes", *, key="", headers=None, **request):
    outgoing = OutgoingRequest(method=method, path=path, **request)
    return await upstream.send(stated, outgoing, idempotency_key=key, headers=headers or {})


async def failure(script: Script, *, limit_seconds: float = 5.0) -> tuple[str, bool, int]:
    """Reason, `sent`, and how many requests the tool saw."""
    async with Tool(script) as tool, gateway() as upstream:
        with pytest.raises(UpstreamError) as failed:
            await send(upstream, tool_at(f"http://127.0.0.1:{tool.port}", timeout=limit_seconds))
        return failed.value.reason, failed.value.sent, len(tool.seen)


LIES = {
    "content length with chunked": (
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "bad_response"
    ),
    "two content lengths": (HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ", "bad_response"),
    "one content length twice": (HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "a list of content lengths": (HEAD + b"content-length: 2, 2\r\n\r\n{}", "bad_response"),
    "a signed content length": (HEAD + b"content-length: +2\r\n\r\n{}", "bad_response"),
    "an endless content length": (HEAD + b"content-length: 99999999999999999999\r\n\r\n{}", "bad_response"),
    "another transfer encoding": (HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "bad_response"),
    "an unknown transfer encoding": (HEAD + b"transfer-encoding: xchunked\r\n\r\n{}", "bad_response"),
    "a broken chunk": (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n", "bad_response"),
    "a body longer than it said": (HEAD + b"content-length: 2\r\n\r\n{}{}{}", "bad_response"),
    "a header of 100 KB": (HEAD + b"x: " + b"a" * 100_000 + b"\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "2000 headers": (HEAD + b"x: a\r\n" * 2000 + b"content-length: 2\r\n\r\n{}", "bad_response"),
    "a NUL in a header": (HEAD + b"x: a\x00b\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "another protocol": (b"SSH-2.0-OpenSSH_9\r\n\r\n", "bad_response"),
    "another version": (b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "no status": (b"HTTP/1.1 000 OK\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "a status beyond all": (b"HTTP/1.1 999 OK\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "an upgrade": (b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", "bad_response"),
    "gzip": (HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", "encoded"),
    "gzip behind identity": (
        HEAD + b"content-encoding: gzip\r\ncontent-encoding: identity\r\ncontent-length: 2\r\n\r\n{}", "encoded"
    ),
    "a redirect": (b"HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "redirect"),
    "not modified": (b"HTTP/1.1 304 X\r\n\r\n", "redirect"),
    "a body shorter than it said": (HEAD + b"content-length: 20\r\n\r\n{}", "truncated"),
    "chunks without an end": (HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", "truncated"),
    "half a head": (b"HTTP/1.1 200", "reset"),
    "nothing at all": (b"", "reset"),
    "more than the limit, and says so": (HEAD + b"content-length: 1001\r\n\r\n" + b" " * 1001, "too_large"),
    "more than the limit, without saying": (HEAD + b"\r\n" + b" " * 1001, "too_large"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_an_answer_that_cannot_be_trusted_is_refused_and_may_have_been_sent(lie):
    data, reason = LIES[lie]
    assert await failure(answers(data)) == (reason, True, 1)


@pytest.mark.parametrize("data", [b"", HEAD, HEAD + b"content-length: 20\r\n\r\n{}"], ids=["before", "in the head", "in the body"])
async def test_a_reset_may_have_been_sent(data):
    reason, sent, seen = await failure(answers(data, then="reset"))
    assert (reason in {"reset", "truncated"}, sent, seen) == (True, True, 1)


@pytest.mark.parametrize("data", [b"", HEAD, HEAD + b"content-length: 20\r\n\r\n{}"], ids=["silent", "in the head", "in the body"])
async def test_a_tool_that_stops_answering_times_out_and_may_have_acted(data):
    assert await failure(answers(data, then="hang"), limit_seconds=0.2) == ("timeout", True, 1)


async def test_a_body_that_drips_does_not_outlive_the_timeout():
    async def drip(tool, reader, writer):
        await tool.request(reader)
        writer.write(HEAD + b"content-length: 900\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert await failure(drip, limit_seconds=0.2) == ("timeout", True, 1)


async def test_an_endless_body_is_cut_at_the_limit():
    async def endless(tool, reader, writer):
        await tool.request(reader)
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"a" * 1024 + b"\r\n")
            await writer.drain()

    assert await failure(endless) == ("too_large", True, 1)


@pytest.mark.parametrize("answer", [
    OK,
    HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    HEAD + b"\r\n{}",
    b"HTTP/1.0 200 OK\r\n\r\n{}",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK,
    HEAD + b"content-encoding: Identity\r\ncontent-length: 2\r\n\r\n{}",
], ids=["length", "chunked", "until close", "HTTP/1.0", "after early hints", "identity"])  # fmt: skip
async def test_every_honest_framing_is_read(answer):
    async with Tool(answers(answer)) as tool, gateway() as upstream:
        response = await send(upstream, tool_at(f"http://127.0.0.1:{tool.port}"))
    assert (response.status, response.body) == (200, b"{}")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
async def test_a_kept_connection_that_drops_never_sends_a_request_twice(method):
    async def drops(tool, reader, writer):
        await tool.request(reader)
        writer.write(OK)
        await writer.drain()
        await tool.request(reader)
        writer.transport.abort()

    async with Tool(drops) as tool, gateway() as upstream:
        stated = tool_at(f"http://127.0.0.1:{tool.port}")
        await send(upstream, stated, "GET", "/first")
        with pytest.raises(UpstreamError) as failed:
            await send(upstream, stated, method, "/second")
        assert (failed.value.reason, failed.value.sent) == ("reset", True)
        assert [request.split()[1] for request in tool.seen] == [b"/first", b"/second"]
        assert tool.connections == 1


async def test_an_answer_nobody_asked_for_never_reaches_the_next_caller():
    volunteered = asyncio.Event()

    async def volunteers(tool, reader, writer):
        await tool.request(reader)
        writer.write(OK)
        await writer.drain()
        if tool.connections == 1:
            await asyncio.sleep(0.05)  # the first answer is read and its connection lies idle
            writer.write(HEAD + b"content-length: 6\r\n\r\nothers")
            await writer.drain()
            volunteered.set()
        await tool.request(reader)

    async with Tool(volunteers) as tool, gateway() as upstream:
        stated = tool_at(f"http://127.0.0.1:{tool.port}")
        await send(upstream, stated)
        await volunteered.wait()
        await asyncio.sleep(0.05)
        assert (await send(upstream, stated)).body == b"{}"
        assert tool.connections == 2


async def test_a_connection_is_kept_for_the_next_request():
    async with Tool(answers(OK, then="again")) as tool, gateway() as upstream:
        for _ in range(3):
            await send(upstream, tool_at(f"http://127.0.0.1:{tool.port}"))
        assert (len(tool.seen), tool.connections) == (3, 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def refused(stated: Contract) -> tuple[str, bool]:
    async with gateway() as upstream:
        with pytest.raises(UpstreamError) as failed:
            await send(upstream, stated)
    return failed.value.reason, failed.value.sent


async def test_a_tool_that_is_down_was_surely_not_sent_anything():
    assert await refused(tool_at(f"http://127.0.0.1:{free_port()}")) == ("connect_failed", False)


async def test_a_name_that_does_not_resolve_was_surely_not_sent_anything():
    assert await refused(tool_at("http://tool.invalid")) == ("connect_failed", False)


@pytest.mark.parametrize("script", ["closes", "silent"])
async def test_a_tls_handshake_that_fails_was_surely_not_sent_anything(script):
    async def play(tool, reader, writer):
        if script == "silent":
            await asyncio.Event().wait()

    async with Tool(play) as tool:
        assert await refused(tool_at(f"https://127.0.0.1:{tool.port}", timeout=0.3)) == ("connect_failed", False)


async def test_a_call_that_never_got_a_connection_was_surely_not_sent(monkeypatch):
    monkeypatch.setattr("aegis.adapters.http_upstream.CONNECTIONS_PER_TOOL", 1)
    arrived = asyncio.Event()

    async def hangs(tool, reader, writer):
        await tool.request(reader)
        arrived.set()
        await asyncio.Event().wait()

    async with Tool(hangs) as tool, gateway() as upstream:
        slow = asyncio.ensure_future(send(upstream, tool_at(f"http://127.0.0.1:{tool.port}", timeout=0.5)))
        await arrived.wait()
        with pytest.raises(UpstreamError) as failed:
            await send(upstream, tool_at(f"http://127.0.0.1:{tool.port}", timeout=0.1))
        assert (failed.value.reason, failed.value.sent) == ("connect_failed", False)
        assert len(tool.seen) == 1
        with pytest.raises(UpstreamError) as failed:
            await slow
        assert (failed.value.reason, failed.value.sent) == ("timeout", True)


async def test_the_wire_shows_the_path_as_it_was_encoded_and_nothing_that_was_not_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("NOTES_TOKEN", "invented-secret")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    cookie = HEAD + b"set-cookie: a=b\r\ncontent-length: 2\r\n\r\n{}"
    async with Tool(answers(cookie, then="again")) as tool:
        credential = ", credential: {header: authorization, prefix: 'Bearer ', env: NOTES_TOKEN}"
        stated = tool_at(f"http://127.0.0.1:{tool.port}/v2", credential=credential)
        async with gateway(stated) as upstream:
            for _ in range(2):
                await send(
                    upstream, stated, "PUT", "/a%2fb/%7e", query="q=%7e%20", key="aegis-1", body=b"{}",
                    headers={"traceparent": "00-1-2-01"},
                )  # fmt: skip
        head, body = tool.seen[1].split(b"\r\n\r\n")
        line, *headers = head.decode().lower().split("\r\n")
        assert (line, body) == ("put /v2/a%2fb/%7e?q=%7e%20 http/1.1", b"{}")
        assert sorted(headers) == [
            "accept-encoding: identity", "accept: application/json", "authorization: bearer invented-secret", "content-length: 2",
            "content-type: application/json", f"host: 127.0.0.1:{tool.port}", "idempotency-key: aegis-1", "traceparent: 00-1-2-01",
            "user-agent: aegis",
        ]  # fmt: skip


@pytest.mark.parametrize("secret", [None, "", "line\nbreak"], ids=["missing", "empty", "with a line break"])
async def test_a_credential_that_cannot_be_used_stops_the_start_and_is_never_shown(secret, tmp_path):
    stated = tool_at("http://127.0.0.1:1", credential=", credential: {header: x-api-key, file: notes.key}")
    if secret is not None:
        (tmp_path / "notes.key").write_text(secret)
    with pytest.raises(ConfigError, match=r"tool `notes.list`.*notes\.key") as wrong:
        await HttpUpstream([stated], tmp_path).start()
    assert "line" not in str(wrong.value)


async def test_a_contract_whose_credential_was_not_resolved_is_not_called_without_it():
    async with Tool(answers(OK)) as tool:
        stated = tool_at(f"http://127.0.0.1:{tool.port}", credential=", credential: {header: x-api-key, env: NOWHERE}")
        assert await refused(stated) == ("connect_failed", False)
        assert tool.connections == 0


async def test_a_client_that_has_not_started_or_was_closed_sends_nothing():
    upstream = HttpUpstream([], Path())
    for _ in range(2):
        with pytest.raises(UpstreamError) as failed:
            await send(upstream, tool_at("http://127.0.0.1:1"))
        assert (failed.value.reason, failed.value.sent) == ("connect_failed", False)
        await upstream.start()
        await upstream.close()
