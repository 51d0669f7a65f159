"""Messages that two readers could understand differently, or that cost more than they should, over raw sockets."""

import json
import socket

import pytest

PATH = b"/v1/tools/pay.honours/call"
BODY = b'{"arguments":{"amount":5}}'


def raw(w, message: bytes, *, half_close=False) -> bytes:
    host, port = w.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as s:
        s.sendall(message)
        if half_close:
            s.shutdown(socket.SHUT_WR)
        s.settimeout(10)
        got = b""
        try:
            while b"\r\n\r\n" not in got:
                chunk = s.recv(65536)
                if not chunk:
                    break
                got += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return got


def message(
    w,
    *extra: bytes,
    path=PATH,
    body=BODY,
    method=b"POST",
    length=True,
    host=True,
    auth=True,
    version=b"1.1",
    kind=b"application/json",
):
    lines = [method + b" " + path + b" HTTP/" + version]
    lines += [b"Host: localhost"] if host else []
    lines += [b"Authorization: Bearer " + w.token().encode()] if auth else []
    lines += [b"Content-Type: " + kind, b"Idempotency-Key: raw-1", b"Connection: close"]
    lines += [b"Content-Length: " + str(len(body)).encode()] if length else []
    return b"\r\n".join([*lines, *extra, b"", b""]) + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


CHUNKED = b"1a\r\n" + BODY + b"\r\n0\r\n\r\n"
CASES = {
    "length and chunked": lambda w: message(w, b"Transfer-Encoding: chunked", body=CHUNKED),
    "two lengths": lambda w: message(w, b"Content-Length: 5"),
    "negative length": lambda w: message(w, b"Content-Length: -1", length=False),
    "length with a sign": lambda w: message(w, b"Content-Length: +26", length=False),
    "gzip, chunked": lambda w: message(w, b"Transfer-Encoding: gzip, chunked", body=CHUNKED, length=False),
    "chunked twice": lambda w: message(w, b"Transfer-Encoding: chunked, chunked", body=CHUNKED, length=False),
    "chunked in HTTP/1.0": lambda w: message(w, b"Transfer-Encoding: chunked", body=CHUNKED, length=False, version=b"1.0"),
    "no host": lambda w: message(w, host=False),
    "two hosts": lambda w: message(w, b"Host: other"),
    "two credentials": lambda w: message(w, b"Authorization: Bearer x"),
    "two keys": lambda w: message(w, b"Idempotency-Key: raw-2"),
    "header with an underscore": lambda w: message(w, b"idempotency_key: raw-2"),
    "upgrade": lambda w: message(w, b"Upgrade: h2c"),
    "encoded slash": lambda w: message(w, path=b"/v1/tools/pay%2fhonours/call"),
    "dot segments": lambda w: message(w, path=b"/v1/tools/x/../pay.honours/call"),
    "encoded dots": lambda w: message(w, path=b"/v1/tools/%2e%2e/pay.honours/call"),
    "double slash": lambda w: message(w, path=b"/v1//tools/pay.honours/call"),
    "backslash": lambda w: message(w, path=b"/v1/tools\\pay.honours/call"),
    "encoded NUL": lambda w: message(w, path=b"/v1/tools/pay%00/call"),
    "content encoding": lambda w: message(w, b"Content-Encoding: gzip"),
    "another type": lambda w: message(w, kind=b"text/plain"),
    "key with a control character": lambda w: message(w).replace(b"raw-1", b"raw\x01"),
    "key too long": lambda w: message(w).replace(b"raw-1", b"k" * 200),
    "request id with a space": lambda w: message(w, b"Aegis-Request-Id: a b"),
    "2000 headers": lambda w: message(w, *[b"X-%d: y" % n for n in range(2000)]),
    "one huge header": lambda w: message(w, b"X-Big: " + b"y" * 100_000),
}


@pytest.mark.parametrize("name", list(CASES))
def test_a_message_with_two_meanings_is_refused_and_reaches_no_tool(shared, name):
    answer = raw(shared, CASES[name](shared))
    assert status(answer) in (0, 400, 404, 411, 413, 415, 431), answer[:200]
    assert shared.tool.requests == []


BODIES = {
    "empty": b"",
    "not JSON": b"{",
    "not an object": b"[]",
    "duplicate key": b'{"arguments":{"amount":5,"amount":6}}',
    "escaped duplicate key": b'{"arguments":{"amount":5,"\\u0061mount":6}}',
    "unknown member": b'{"arguments":{"amount":5},"admin":true}',
    "NaN": b'{"arguments":{"amount":NaN}}',
    "beyond 2^53": b'{"arguments":{"amount":9007199254740993}}',
    "1e400": b'{"arguments":{"amount":1e400}}',
    "byte order mark": b"\xef\xbb\xbf" + BODY,
    "lone surrogate": b'{"arguments":{"amount":5,"memo":"\\ud800"}}',
    "not UTF-8": b'{"arguments":{"amount":5,"memo":"\xff"}}',
    "deep": b'{"arguments":' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}",
    "very deep": b'{"arguments":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "trailing": BODY + b"x",
}


@pytest.mark.parametrize("name", list(BODIES))
def test_a_body_that_is_not_strict_json_is_refused_with_its_reason(shared, name):
    told = shared.post("/v1/tools/pay.honours/call", BODIES[name], idempotency_key="b1")
    assert told.status_code == 400, told.text
    assert told.json()["code"] == "malformed"
    assert shared.tool.requests == []


ARGUMENTS = {
    "number as text": ({"amount": "5"}, "args.amount"),
    "a fraction": ({"amount": 5.5}, "args.amount"),
    "1.0 for 1": ({"amount": 1.0}, "args.amount"),
    "null": ({"amount": None}, "args.amount"),
    "a list": ({"amount": [5]}, "args.amount"),
    "a boolean": ({"amount": True}, "args.amount"),
    "missing": ({}, "args.amount"),
    "unknown argument": ({"amount": 5, "sudo": True}, "args.sudo"),
    "too long": ({"amount": 5, "memo": "x" * 201}, "args.memo"),
    "one level deeper": ({"args": {"amount": 5}}, "args"),
}


@pytest.mark.parametrize("name", list(ARGUMENTS))
def test_arguments_outside_the_contract_are_refused_with_the_path_and_without_the_value(shared, name):
    arguments, place = ARGUMENTS[name]
    told = shared.call("pay.honours", arguments, "a1").json()
    assert told["code"] == "contract-violation", told
    assert any(reason.get("field", "").startswith(place) for reason in told["reasons"]), told
    assert "x" * 20 not in json.dumps(told)
    assert shared.tool.requests == []


def test_a_body_over_the_limit_is_refused_before_it_is_read(shared):
    told = shared.post("/v1/tools/pay.honours/call", b'{"arguments":{"memo":"' + b"x" * 1_100_000 + b'"}}', idempotency_key="b1")
    assert (told.status_code, told.json()["code"]) == (413, "too-large")


def test_a_body_that_lies_about_its_length_gets_no_answer_that_acts(shared):
    raw(shared, message(shared, b"Content-Length: 500", length=False), half_close=True)
    assert shared.tool.requests == []


def test_refusals_of_strangers_go_to_the_system_journal_and_those_of_agents_to_the_tenant(on_sqlite):
    w = on_sqlite
    raw(w, message(w, auth=False))
    w.post("/v1/decide", b"{", w.token())
    w.get("/v1/tools", "not-a-token")
    assert [(e["type"], e["reason"]) for e in w.events() if "reason" in e] == [("refusal", "malformed")]
    w.stop()
    import asyncio

    from aegis.app import open_store
    from aegis.runtime.clock import Clock

    async def noise():
        store = await open_store(w.settings, Clock())
        try:
            return {row.reason: row.count for row in await store.noise()}
        finally:
            await store.close()

    assert asyncio.run(noise()) == {"no_token": 1, "malformed": 1}


def test_text_from_an_agent_cannot_forge_a_line_of_the_journal(on_sqlite):
    w = on_sqlite
    evil = 'x","decision":"allow' + "\u202e\u0007"
    w.call("pay.honours", {"amount": 5, evil: 1}, "k1")
    (event,) = [e for e in w.events() if e["type"] == "decision"]
    assert event["decision"] == "deny"
    assert "\u202e" not in json.dumps(event, ensure_ascii=False)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    from gateway.world import world

    with world(tmp_path_factory.mktemp("hostile")) as made:
        yield made
