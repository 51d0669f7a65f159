"""What a tool sees of a request, byte for byte, and that it sees it exactly once."""

import asyncio
import contextlib

import pytest

from aegis.errors import UpstreamError
from aegis.model.operation import OutgoingRequest, to_request

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def bare(method: str, path: str = "/items/a", query: str = "") -> OutgoingRequest:
    return OutgoingRequest(method=method, path=path, query=query, body=None if method in ("GET", "DELETE") else b"{}")


async def test_a_request_arrives_byte_for_byte(wire, plain_ok):
    async with wire(plain_ok()) as wired:
        await wired.send()
        [request] = wired.tool.requests
    assert request == (
        b"POST /items/a HTTP/1.1\r\n"
        b"Host: 127.0.0.1:%d\r\n" % wired.tool.port + b"accept: application/json\r\n"
        b"accept-encoding: identity\r\n"
        b"user-agent: aegis\r\n"
        b"content-type: application/json\r\n"
        b"aegis-request-id: req_1\r\n"
        b"idempotency-key: aegis-1\r\n"
        b"Content-Length: 12\r\n\r\n"
        b'{"note":"n"}'
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("body", [None, b"", b"{}"])
async def test_every_request_is_framed_once(wire, plain_ok, method, body):
    async with wire(plain_ok()) as wired:
        await wired.send(OutgoingRequest(method=method, path="/x", body=body))
        [request] = wired.tool.requests
        [head] = wired.tool.heads()
    names = [name for name, _ in head]
    assert len(names) == len(set(names))
    assert "transfer-encoding" not in names
    assert request.startswith(method.encode() + b" /x HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\n" + (body or b""))
    assert dict(head).get("content-length", "0") == str(len(body or b""))
    assert method == "GET" or "content-length" in names


@pytest.mark.parametrize(
    "target",
    [
        "/a%2f..%2fb/../c?q=%7e+1",
        "/a//b/./c",
        "/%2e%2e/x",
        "/a%00b",
        "/%E6%97%A5?x=%0d%0a",
        "/a;b=c",
        "/?a=%26&b",
        "/a%5Cb",
        "/A%2fB",
    ],
)
async def test_an_encoded_path_and_query_arrive_as_they_were_decided(wire, plain_ok, target):
    path, _, query = target.partition("?")
    async with wire(plain_ok(), "GET") as wired:
        await wired.send(bare("GET", path, query))
        assert wired.tool.requests[0].startswith(b"GET " + target.encode() + b" HTTP/1.1\r\n")


@pytest.mark.parametrize("value", ["a b", "ä", "x?y#z", "a+b", "~", "100", "日本"])
async def test_an_argument_in_the_path_arrives_as_one_segment(wire, plain_ok, value):
    async with wire(plain_ok()) as wired:
        request = to_request(wired.contract.operations["call"], {"id": value, "note": "n"})
        await wired.send(request)
        assert wired.tool.requests[0].split(b" ")[1] == request.path.encode()
        assert request.path.count("/") == 2


async def test_a_prefix_of_the_address_stands_before_the_path(wire, plain_ok, stated_contract):
    async with wire(plain_ok()) as wired:
        wired.contract = stated_contract(wired.tool.port, url=f"http://127.0.0.1:{wired.tool.port}/api/v1/")
        await wired.send(bare("POST", "/x"))
        assert wired.tool.requests[0].startswith(b"POST /api/v1/x HTTP/1.1\r\n")


@pytest.mark.parametrize("where", ["env", "file"])
async def test_the_credential_of_the_tool_arrives_and_nobody_else_s(wire, plain_ok, monkeypatch, tmp_path, where):
    monkeypatch.setenv("RAW_TOKEN", "tool-secret")
    (tmp_path / "token").write_text("tool-secret\n")
    place = {"env": {"env": "RAW_TOKEN"}, "file": {"file": "token"}}[where]
    async with wire(plain_ok(), credential={"header": "authorization", "prefix": "Bearer ", **place}) as wired:
        await wired.send(headers={"authorization": "Bearer agent-token", "aegis-request-id": "req_1"})
        [head] = wired.tool.heads()
    assert [value for name, value in head if name == "authorization"] == ["Bearer tool-secret"]
    assert b"agent-token" not in wired.tool.requests[0]


async def test_a_tool_of_which_the_credential_is_not_known_is_not_called(wire, plain_ok, stated_contract):
    async with wire(plain_ok()) as wired:
        wired.contract = stated_contract(wired.tool.port, credential={"header": "authorization", "env": "RAW_LATER"})
        with pytest.raises(UpstreamError) as error:
            await wired.send()
        assert not error.value.sent
        assert wired.tool.requests == []


async def test_neither_proxies_nor_netrc_of_the_environment_are_used(wire, plain_ok, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login agent password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with wire(plain_ok()) as proxy, wire(plain_ok()) as wired:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.tool.port}")
        await wired.send()
        assert len(wired.tool.requests) == 1
        assert proxy.tool.requests == []
        assert "authorization" not in dict(wired.tool.heads()[0])


async def test_cookies_are_not_kept(wire, plain_ok):
    async with wire(plain_ok(more=b"set-cookie: session=1; path=/\r\n")) as wired:
        await wired.send()
        await wired.send()
        assert all("cookie" not in dict(head) for head in wired.tool.heads())


async def test_a_redirect_is_not_followed(wire, plain_ok):
    async with wire(plain_ok()) as other:
        location = f"http://127.0.0.1:{other.tool.port}/"
        async with wire(b"HTTP/1.1 307 Go\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n" % location.encode()) as wired:
            with pytest.raises(UpstreamError):
                await wired.send()
            assert len(wired.tool.requests) == 1
        assert other.tool.requests == []


async def test_a_connection_is_kept_for_the_next_call(wire, plain_ok):
    async with wire(plain_ok()) as wired:
        for _ in range(5):
            await wired.send()
        assert (len(wired.tool.requests), wired.tool.connections) == (5, 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("hard", [False, True])
async def test_a_request_on_a_kept_connection_that_breaks_is_seen_exactly_once(wire, plain_ok, method, hard):
    async def answer(tool, writer, request):
        if len(tool.requests) == 1:
            writer.write(plain_ok())
        elif hard:
            writer.transport.abort()
        else:
            writer.close()

    async with wire(answer, method) as wired:
        await wired.send(bare(method))
        with pytest.raises(UpstreamError) as error:
            await wired.send(bare(method))
        assert (error.value.reason, error.value.sent) == ("reset", True)
        await asyncio.sleep(0.05)  # a repetition would need no longer than that
        assert len(wired.tool.requests) == 2
        assert wired.tool.connections == 1


@pytest.mark.parametrize("method", METHODS)
async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(wire, plain_ok, method):
    async def answer(tool, writer, request):
        writer.write(plain_ok())
        await writer.drain()
        writer.close()

    async with wire(answer, method) as wired:
        for count in range(1, 4):
            await wired.send(bare(method))
            await wired.tool.gone.wait()
            await asyncio.sleep(0.01)  # let the end of the connection arrive
            assert len(wired.tool.requests) == count


POISON = b'HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{"done":"stolen"'


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("extra", [POISON, POISON[:20], b"{}", b"\r\n", b"\0" * 100])
async def test_bytes_that_nobody_asked_for_never_answer_the_next_call(wire, plain_ok, extra, late):
    async def answer(tool, writer, request):
        number = len(tool.requests)
        writer.write(plain_ok(b'{"call":%d}' % number) + (b"" if late else extra))
        if late:
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(extra)

    async with wire(answer) as wired:
        for number in range(1, 4):
            with contextlib.suppress(UpstreamError):
                response = await wired.send()
                assert response.body == b'{"call":%d}' % number
            await asyncio.sleep(0.05 if late else 0)
        assert len(wired.tool.requests) == 3


async def test_bytes_after_an_answer_without_body_never_answer_the_next_call(wire, plain_ok):
    async def answer(tool, writer, request):
        first = len(tool.requests) == 1
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n" + POISON if first else plain_ok())

    async with wire(answer) as wired:
        with contextlib.suppress(UpstreamError):
            assert (await wired.send()).body == b""
        await asyncio.sleep(0.02)
        assert (await wired.send()).body == b'{"done":true}'


async def test_an_answer_that_comes_too_late_is_not_given_to_the_next_caller(wire, plain_ok):
    async def answer(tool, writer, request):
        number = len(tool.requests)
        if number == 1:
            await asyncio.sleep(1.1)
        writer.write(plain_ok(b'{"call":%d}' % number))

    async with wire(answer, timeout_seconds=1) as wired:
        with pytest.raises(UpstreamError) as error:
            await wired.send()
        assert error.value.reason == "timeout"
        assert (await wired.send()).body == b'{"call":2}'
        await asyncio.sleep(0.2)
        assert (await wired.send()).body == b'{"call":3}'


async def test_many_calls_at_once_get_their_own_answers(wire, plain_ok):
    async def answer(tool, writer, request):
        await asyncio.sleep(0)
        writer.write(plain_ok(request.split(b" ")[1].join((b'"', b'"'))))

    async with wire(answer) as wired:
        paths = [f"/items/{number}" for number in range(300)]
        answers = await asyncio.gather(*(wired.send(bare("POST", path)) for path in paths))
        assert [each.body.decode() for each in answers] == [f'"{path}"' for path in paths]
        assert wired.tool.connections <= 128


async def test_a_caller_that_leaves_closes_the_connection_and_repeats_nothing(wire):
    async def answer(tool, writer, request):
        await tool.gone.wait()

    async with wire(answer) as wired:
        call = asyncio.create_task(wired.send())
        while not wired.tool.requests:
            await asyncio.sleep(0.005)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0.02)
        assert len(wired.tool.requests) == 1


@pytest.mark.parametrize("bad", ["x\r\nhost: evil", "x\ny", "x\0y"])
async def test_a_header_value_with_a_line_break_never_leaves(wire, plain_ok, bad):
    async with wire(plain_ok()) as wired:
        with pytest.raises(UpstreamError):
            await wired.send(headers={"aegis-request-id": bad})
        assert wired.tool.requests == []
