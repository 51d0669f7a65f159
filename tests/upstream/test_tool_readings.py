"""One conversation with a tool over a real connection, and what is read from its answer."""

import pytest

from aegis.model.contract import contract
from aegis.model.document import Document
from aegis.runtime.ending import Seen
from aegis.runtime.tool import Tool, upstream_key
from aegis.runtime.trace import Trace

ASK = {
    "method": "GET", "path": "/calls/{idempotency_key}", "query": {"id": "id"}, "done": {"status": [200, 203]}, "absent": {"status": [404]},
}  # fmt: skip


def answered(status: int, body: bytes = b"", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\n%scontent-length: %d\r\n\r\n%s" % (status, more, len(body), body)


async def perform(wired, arguments=None):
    return await Tool(wired.upstream).perform(
        wired.contract, arguments or {"id": "a", "note": "n"}, "aegis-key", "req_1", Trace.continued("")
    )


READINGS = {
    "what was agreed": (answered(200, b'{"done":true}'), Seen.FITTING, ""),
    "created": (answered(201, b'{"done":true}'), Seen.FITTING, ""),
    "more than agreed": (answered(200, b'{"done":true,"more":1.5}'), Seen.FITTING, ""),
    "less than agreed": (answered(200, b"{}"), Seen.UNFIT, "result_breaks_contract"),
    "another type": (answered(200, b'{"done":"true"}'), Seen.UNFIT, "result_breaks_contract"),
    "nothing where something was agreed": (answered(204), Seen.UNFIT, "result_breaks_contract"),
    "no JSON": (answered(200, b"hello"), Seen.UNFIT, "result_not_json"),
    "a member twice": (answered(200, b'{"done":true,"done":false}'), Seen.UNFIT, "result_not_json"),
    "not a number": (answered(200, b'{"done":NaN}'), Seen.UNFIT, "result_not_json"),
    "a byte order mark": (answered(200, b'\xef\xbb\xbf{"done":true}'), Seen.UNFIT, "result_not_json"),
    "no UTF-8": (answered(200, b'{"done":"\xff"}'), Seen.UNFIT, "result_not_json"),
    "too deep": (answered(200, b"[" * 2_000 + b"]" * 2_000), Seen.UNFIT, "result_not_json"),
    "too large, but done": (answered(200, b"x" * 5_000), Seen.UNFIT, "too_large"),
    "encoded, but done": (answered(200, b"{}", b"content-encoding: gzip\r\n"), Seen.UNFIT, "encoded"),
    "too large, and refused": (answered(422, b"x" * 5_000), Seen.REFUSED, "too_large"),
    "too large, and failed": (answered(500, b"x" * 5_000), Seen.BROKEN, "too_large"),
    "refused": (answered(422, b'{"why":"no"}'), Seen.REFUSED, "tool_refused"),
    "conflict": (answered(409), Seen.REFUSED, "tool_refused"),
    "timed out over there": (answered(408), Seen.BROKEN, "tool_error"),
    "failed": (answered(500), Seen.BROKEN, "tool_error"),
    "bad gateway": (answered(502, b"<html>"), Seen.BROKEN, "tool_error"),
    "moved": (answered(301, more=b"location: /\r\n"), Seen.BROKEN, "redirect"),
    "cut off": (b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{", Seen.BROKEN, "truncated"),
}


@pytest.mark.parametrize("name", READINGS)
async def test_an_answer_is_read_as_the_table_says(wire, name):
    data, seen, reason = READINGS[name]

    async def answer(tool, writer, request):
        writer.write(data)
        writer.close()

    async with wire(answer, max_response_bytes=4_096) as wired:
        reading = await perform(wired)
        assert (reading.seen, reading.reason) == (seen, reason)
        assert len(wired.tool.requests) == 1


async def test_arguments_that_could_change_the_path_are_not_sent(wire, plain_ok):
    async with wire(plain_ok()) as wired:
        reading = await perform(wired, {"id": "../admin"})
        assert (reading.seen, reading.reason) == (Seen.UNSENT, "unmappable")
        assert wired.tool.requests == []


async def test_key_trace_and_request_id_go_with_the_call(wire, plain_ok):
    async with wire(plain_ok()) as wired:
        await perform(wired)
        head = dict(wired.tool.heads()[0])
    assert (head["idempotency-key"], head["aegis-request-id"]) == ("aegis-key", "req_1")
    assert head["traceparent"].startswith("00-")


def asked_contract(stated):
    spec = {**stated_spec(stated), "interrupt": "ask"}
    spec["operations"] = {**spec["operations"], "ask": ASK}
    meta = {"name": "raw", "version": "1.0.0", "tenant": "acme", "owner": "o@acme.example"}
    return contract(Document("raw", {"apiVersion": "aegis.tool/v1", "kind": "Tool", "metadata": meta, "spec": spec}, {}))


def stated_spec(stated):
    return {
        "description": "Asked.", "effect": "write", "resource": "{id}", "upstream": {"url": stated.upstream.url, "max_response_bytes": 4_096},
        "operations": {"call": {"method": "POST", "path": "/items/{id}", "body": {"note": "note"}}},
        "input": stated.input_schema, "output": stated.output_schema,
    }  # fmt: skip


ANSWERS = {
    "done": (answered(200, b'{"done":true}'), Seen.FITTING),
    "done, by another status": (answered(203, b'{"done":true}'), Seen.FITTING),
    "done, without a result": (answered(200), Seen.UNFIT),
    "done, with too large a result": (answered(200, b"x" * 5_000), Seen.UNFIT),
    "never heard of": (answered(404), Seen.REFUSED),
    "never heard of, at length": (answered(404, b"x" * 5_000), Seen.REFUSED),
    "a status that was not agreed": (answered(202), None),
    "not allowed to ask": (answered(403), None),
    "too many questions": (answered(429), None),
    "failed": (answered(503), None),
    "moved": (answered(302, more=b"location: /\r\n"), None),
    "cut off": (b"HTTP/1.1 404 No\r\ncontent-length: 13\r\n\r\n{", None),
    "gone": (b"", None),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_tool_that_is_asked_tells_as_the_table_says(wire, name):
    data, seen = ANSWERS[name]

    async def answer(tool, writer, request):
        writer.write(data)
        writer.close()

    async with wire(answer) as wired:
        stated = asked_contract(wired.contract)
        reading = await Tool(wired.upstream).ask(stated, {"id": "a", "note": "n"}, "aegis-key", "req_1", Trace.continued(""))
        assert (reading and reading.seen) == seen
        [request] = wired.tool.requests
        assert request.startswith(b"GET /calls/aegis-key?id=a HTTP/1.1\r\n")
        assert "idempotency-key" not in dict(wired.tool.heads()[0])


async def test_a_tool_that_is_down_when_asked_tells_nothing(wire):
    async with wire(b"") as wired:
        stated = asked_contract(wired.contract)
    await wired.upstream.start()
    try:
        assert await Tool(wired.upstream).ask(stated, {"id": "a"}, "aegis-key", "req_1", Trace.continued("")) is None
    finally:
        await wired.upstream.close()


def test_the_key_that_a_tool_sees_belongs_to_one_agent_of_one_tenant():
    keys = {upstream_key(*parts) for parts in (("acme", "a", "k"), ("acme", "b", "k"), ("other", "a", "k"), ("acme", "a", "l"))}
    assert len(keys) == 4
    assert upstream_key("acme", "a", "k") == upstream_key("acme", "a", "k")
    assert all(len(key) == 46 for key in keys)
