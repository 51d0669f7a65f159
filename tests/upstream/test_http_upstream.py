"""What the upstream makes of tools that are down, slow, rude or lying: one attempt, and the truth about whether it was sent."""

import asyncio
import socket

import pytest

from aegis.adapters.http_upstream import HttpUpstream
from aegis.errors import ConfigError, UpstreamError
from aegis.model.operation import OutgoingRequest

JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


async def broken_by(wired) -> UpstreamError:
    with pytest.raises(UpstreamError) as error:
        await wired.send()
    return error.value


async def failed(wired, **more) -> tuple[str, bool]:
    with pytest.raises(UpstreamError) as error:
        await wired.send(**more)
    return error.value.reason, error.value.sent


# Bytes that a tool may answer with, and what becomes of them. The connection is closed after each.

REFUSED = {
    "a body shorter than its length": (JSON + b"content-length: 100\r\n\r\n{}", "truncated"),
    "chunks that never end": (JSON + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", "truncated"),
    "a chunk shorter than its length": (JSON + b"transfer-encoding: chunked\r\n\r\nff\r\n{}", "truncated"),
    "a chunk with a broken length": (JSON + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "bad_response"),
    "length and chunks": (JSON + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "bad_response"),
    "chunks and length": (JSON + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "bad_response"),
    "two lengths": (JSON + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ", "bad_response"),
    "the same length twice": (JSON + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "a list of lengths": (JSON + b"content-length: 2, 3\r\n\r\n{} ", "bad_response"),
    "a length that is no number": (JSON + b"content-length: two\r\n\r\n{}", "bad_response"),
    "a length below zero": (JSON + b"content-length: -2\r\n\r\n{}", "bad_response"),
    "another transfer encoding": (JSON + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "bad_response"),
    "a header without end": (JSON + b"x-long: " + b"x" * 70_000, "bad_response"),
    "a header too long": (JSON + b"x-long: " + b"x" * 20_000 + b"\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "too many headers": (
        JSON + b"".join(b"x-%d: y\r\n" % n for n in range(3_000)) + b"content-length: 2\r\n\r\n{}",
        "bad_response",
    ),
    "a header with a bare carriage return": (JSON + b"x-a: b\rc\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "a space before the colon": (JSON + b"x-a : b\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "bad_response"),
    "another HTTP": (b"HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "a status that is no number": (b"HTTP/1.1 2OO OK\r\ncontent-length: 2\r\n\r\n{}", "bad_response"),
    "an upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n{}", "bad_response"),
    "gzip": (JSON + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", "encoded"),
    "a made-up encoding": (JSON + b"content-encoding: x-own\r\ncontent-length: 2\r\n\r\n{}", "encoded"),
    "two encodings": (JSON + b"content-encoding: identity\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", "encoded"),
    "a redirect": (b"HTTP/1.1 302 Found\r\nlocation: http://evil.example/\r\ncontent-length: 0\r\n\r\n", "redirect"),
    "a redirect that keeps the method": (b"HTTP/1.1 307 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", "redirect"),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "redirect"),
    "a length beyond the limit": (JSON + b"content-length: 5000\r\n\r\n", "too_large"),
    "a body beyond the limit": (JSON + b"\r\n" + b"x" * 5_000, "too_large"),
    "chunks beyond the limit": (
        JSON + b"transfer-encoding: chunked\r\n\r\n1388\r\n" + b"x" * 5_000 + b"\r\n0\r\n\r\n",
        "too_large",
    ),
    "nothing at all": (b"", "reset"),
    "half a status line": (b"HTTP/1.1 2", "reset"),
    "half a head": (JSON, "reset"),
}
ACCEPTED = {
    "a body up to the end of the connection": (JSON + b"\r\n{}", 200, b"{}"),
    "chunks": (JSON + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 200, b"{}"),
    "an encoding of nothing": (JSON + b"content-encoding: Identity\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
    "continue first": (b"HTTP/1.1 100 Continue\r\n\r\n" + JSON + b"content-length: 2\r\n\r\n{}", 200, b"{}"),
    "early hints first": (b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + JSON + b"content-length: 2\r\n\r\n{}", 200, b"{}"),
    "many interim answers": (b"HTTP/1.1 102 Processing\r\n\r\n" * 20 + JSON + b"content-length: 2\r\n\r\n{}", 200, b"{}"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "no content, and a length": (b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", 204, b""),
    "an error": (b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno", 500, b"no"),
    "a refusal": (b"HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n", 422, b""),
    "no JSON": (JSON + b"content-length: 5\r\n\r\nhello", 200, b"hello"),
    "a folded header": (JSON + b"x-a: b\r\n c\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n{}", 200, b"{}"),
}


def closing(data: bytes):
    async def answer(tool, writer, request):
        writer.write(data)
        writer.close()

    return answer


@pytest.mark.parametrize("name", REFUSED)
async def test_a_broken_answer_is_an_error_that_says_the_call_was_sent(wire, name):
    data, reason = REFUSED[name]
    async with wire(closing(data), max_response_bytes=4_096) as wired:
        assert await failed(wired) == (reason, True)
        assert len(wired.tool.requests) == 1


@pytest.mark.parametrize("name", REFUSED)
async def test_a_status_is_told_only_when_nothing_but_the_size_or_encoding_was_wrong(wire, name):
    data, reason = REFUSED[name]
    async with wire(closing(data), max_response_bytes=4_096) as wired:
        assert (await broken_by(wired)).status == (200 if reason in ("too_large", "encoded") else 0)


@pytest.mark.parametrize("name", ACCEPTED)
async def test_an_answer_arrives_as_it_was_given(wire, name):
    data, status, body = ACCEPTED[name]
    async with wire(closing(data)) as wired:
        response = await wired.send()
        assert (response.status, response.body) == (status, body)
        assert len(wired.tool.requests) == 1


async def test_a_tool_that_is_down_was_not_sent_anything(wire):
    async with wire(b"") as wired:
        pass
    await wired.upstream.start()
    try:
        assert await failed(wired) == ("connect_failed", False)
    finally:
        await wired.upstream.close()


async def test_a_name_that_nobody_has_was_not_sent_anything(wire, stated_contract, tmp_path):
    stated = stated_contract(1, url="http://tool.invalid")
    async with wire(b"") as wired:
        wired.contract = stated
        assert await failed(wired) == ("connect_failed", False)


async def test_a_tool_that_speaks_no_tls_was_not_sent_anything(wire, stated_contract):
    async with wire(b"") as wired:
        wired.contract = stated_contract(1, url=f"https://127.0.0.1:{wired.tool.port}", timeout_seconds=2)

        async def plain(reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        async with server:
            wired.contract = stated_contract(1, url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            assert await failed(wired) == ("connect_failed", False)


async def test_a_tool_that_does_not_accept_was_not_sent_anything(wire, stated_contract):
    with socket.socket() as full:  # a backlog of one that is full: the kernel leaves further connects unanswered
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        try:
            for one in crowd:
                one.setblocking(False)  # noqa: FBT003 - the signature of the standard library
                one.connect_ex(("127.0.0.1", port))
            async with wire(b"") as wired:
                for limits in ({"connect_timeout_seconds": 1}, {"timeout_seconds": 1, "connect_timeout_seconds": 60}):
                    wired.contract = stated_contract(port, **limits)
                    reason, sent = await failed(wired)
                    assert reason in ("connect_failed", "timeout")
                    assert not sent
        finally:
            for one in crowd:
                one.close()


async def test_an_upstream_that_has_not_started_sends_nothing(tmp_path, stated_contract):
    upstream = HttpUpstream([], tmp_path)
    with pytest.raises(UpstreamError) as error:
        await upstream.send(stated_contract(1), OutgoingRequest(method="GET", path="/"), idempotency_key="", headers={})
    assert (error.value.reason, error.value.sent) == ("connect_failed", False)


@pytest.mark.parametrize("start", [b"", JSON, JSON + b"content-length: 9\r\n\r\n{"])
async def test_a_slow_answer_is_a_timeout_that_says_the_call_was_sent(wire, start):
    async def answer(tool, writer, request):
        writer.write(start)
        await writer.drain()
        await tool.gone.wait()

    async with wire(answer, timeout_seconds=1) as wired:
        assert await failed(wired) == ("timeout", True)


async def test_an_answer_that_drips_for_ever_is_a_timeout(wire):
    async def answer(tool, writer, request):
        writer.write(JSON + b"transfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with wire(answer, timeout_seconds=1) as wired:
        assert await failed(wired) == ("timeout", True)
        await asyncio.wait_for(wired.tool.gone.wait(), 5)


async def test_interim_answers_for_ever_are_a_timeout(wire):
    async def answer(tool, writer, request):
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with wire(answer, timeout_seconds=1) as wired:
        assert await failed(wired) == ("timeout", True)


async def test_an_endless_body_is_cut_at_the_limit_and_the_connection_dropped(wire):
    async def answer(tool, writer, request):
        writer.write(JSON + b"\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with wire(answer, max_response_bytes=1_000_000) as wired:
        assert await failed(wired) == ("too_large", True)
        await asyncio.wait_for(wired.tool.gone.wait(), 5)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200", JSON + b"content-length: 9\r\n\r\n{"])
async def test_a_reset_says_that_the_call_was_sent(wire, start):
    async def answer(tool, writer, request):
        writer.write(start)
        await writer.drain()
        await asyncio.sleep(0.02)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with wire(answer) as wired:
        reason, sent = await failed(wired)
        assert reason in ("reset", "truncated")
        assert sent


async def test_a_missing_credential_stops_the_start_and_names_the_place_only(tmp_path, stated_contract, monkeypatch):
    monkeypatch.setenv("RAW_TOKEN", "broken\nsecret")
    for where in ({"env": "RAW_TOKEN"}, {"env": "RAW_MISSING"}, {"file": "missing"}):
        upstream = HttpUpstream([stated_contract(1, credential={"header": "authorization", **where})], tmp_path)
        with pytest.raises(ConfigError, match="tool `raw`: its credential is missing") as error:
            await upstream.start()
        assert "secret" not in str(error.value)
        assert next(iter(where.values())) in str(error.value)
        await upstream.close()
