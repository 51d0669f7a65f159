"""The rest of the surface: the decide door, the API's own description, health, the clock, draining, and what never leaks."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import jsonschema_rs
import pytest


def test_a_decided_call_is_repeated_as_recorded_until_its_outcome_is_reported(w):
    body = {"tool": "pay.honours", "arguments": {"amount": 5, "memo": "123-45-6789"}}
    first = w.post("/v1/decide", body, idempotency_key="k1")
    assert first.json()["decision"] == "sanitize"
    assert first.json()["arguments"] == {"amount": 5, "memo": "****"}
    again = w.post("/v1/decide", body, idempotency_key="k1").json()
    assert again["repeat_of"] == first.json()["request_id"]
    assert w.call("pay.honours", body["arguments"], "k1").json()["code"] == "in-flight"
    request_id = first.json()["request_id"]
    assert (
        w.post(f"/v1/decide/{request_id}/outcome", {"done": True, "result": {"id": 7}}, w.token("agent:other")).status_code == 404
    )
    assert w.post(f"/v1/decide/{request_id}/outcome", {"done": True, "result": {"id": 7}}).json()["state"] == "done"
    assert w.post(f"/v1/decide/{request_id}/outcome", {"done": True, "result": {"id": 8}}).status_code == 404
    assert w.call("pay.honours", body["arguments"], "k1").json()["result"] == {"id": 7}
    finished = w.post("/v1/decide", body, idempotency_key="k1").json()
    assert (finished["state"], finished["result"], finished["repeat_of"]) == ("done", {"id": 7}, request_id)
    assert w.tool.requests == []


def test_an_http_request_is_mapped_back_to_arguments_and_unmapped_parts_are_refused(w):
    seen = {"method": "POST", "path": "/pay/pay.honours", "body": {"amount": 6000}}
    told = w.post("/v1/decide", {"tool": "pay.honours", "http": seen}, idempotency_key="k1")
    assert told.json()["rule"] == "pay.ceiling"
    told = w.post("/v1/decide", {"tool": "pay.honours", "http": seen | {"query": "debug=1"}}, idempotency_key="k2")
    assert (told.status_code, told.json()["field"]) == (400, "/query")


def test_a_token_opens_only_the_tools_of_its_scopes(on_sqlite):
    w = on_sqlite
    names = [tool["name"] for tool in w.get("/v1/tools", w.token("agent:reader")).json()["tools"]]
    assert names == ["records.read"]
    assert w.get("/v1/tools/pay.honours", w.token("agent:reader")).status_code == 404
    told = w.call("pay.honours", {"amount": 1}, "k", w.token("agent:reader"))
    assert (told.status_code, "chain.scope" in told.json()["rules"]) == (403, True)


def test_every_answer_is_as_the_openapi_document_says(on_sqlite):
    w = on_sqlite
    document = httpx.get(w.url + "/openapi.json").json()
    held = w.call("pay.honours", {"amount": 1500}, "h").json()
    answers = [
        ("post", "/v1/tools/{tool}/call", w.call("pay.honours", {"amount": 5}, "k")),
        ("post", "/v1/tools/{tool}/call", w.call("pay.honours", {"amount": 5}, "k")),
        ("post", "/v1/tools/{tool}/call", w.call("pay.honours", {"amount": 6}, "k")),
        ("post", "/v1/tools/{tool}/call", w.call("pay.honours", {"amount": "5"}, "k2")),
        ("post", "/v1/tools/{tool}/call", w.call("pay.honours", {"amount": 1500}, "h")),
        ("post", "/v1/tools/{tool}/call", w.post("/v1/tools/pay.honours/call", b"{", w.token())),
        ("post", "/v1/decide", w.post("/v1/decide", {"tool": "records.read", "arguments": {"id": "x"}})),
        ("get", "/v1/tools", w.get("/v1/tools")),
        ("get", "/v1/tools", w.get("/v1/tools", "nonsense")),
        ("get", "/v1/tools/{tool}", w.get("/v1/tools/pay.honours")),
        ("get", "/v1/approvals", w.get("/v1/approvals", w.person_token())),
        ("get", "/v1/approvals/{approval_id}", w.get(f"/v1/approvals/{held['approval_id']}")),
        ("post", "/v1/approvals/{approval_id}/answer", w.approve(held["approval_id"])),
        ("get", "/v1/approvals/{approval_id}", w.get(f"/v1/approvals/{held['approval_id']}")),
        ("get", "/v1/requests/{request_id}", w.get(f"/v1/requests/{held['request_id']}")),
        ("get", "/v1/requests/{request_id}", w.get("/v1/requests/none")),
    ]
    for method, path, answer in answers:
        responses = document["paths"][path][method]["responses"]
        assert str(answer.status_code) in responses, (path, answer.status_code)
        content = responses[str(answer.status_code)]["content"]
        kind = answer.headers["content-type"]
        assert kind in content, (path, kind)
        schema = {**content[kind]["schema"], "components": document["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(answer.json())
        assert answer.headers["aegis-request-id"]


def test_routes_and_document_name_the_same_paths(on_sqlite):
    from aegis.surfaces.gateway.openapi import document
    from aegis.surfaces.gateway.routes import ROUTES

    stated = {(method.upper(), path) for path, item in document()["paths"].items() for method in item if path.startswith("/v1")}
    assert stated == {(method, "/" + "/".join(parts)) for method, parts in ROUTES}
    assert on_sqlite.post("/v1/tools", {}).status_code == 405
    assert on_sqlite.get("/v2/anything").status_code == 404


def test_a_clock_that_went_back_denies_everything_and_is_not_ready(w):
    w.hand.offset = timedelta(minutes=20)
    assert w.call("pay.honours", {"amount": 1}, "k1", w.token()).status_code == 200
    w.hand.offset = timedelta(minutes=10)
    told = w.call("pay.honours", {"amount": 1}, "k2", w.token())
    assert told.json()["rule"] == "facts#clock"
    assert httpx.get(w.url + "/readyz").status_code == 503
    w.stop()
    w.start()
    assert w.call("pay.honours", {"amount": 1}, "k3", w.token()).json()["rule"] == "facts#clock"
    w.hand.offset = timedelta(minutes=20)
    assert w.call("pay.honours", {"amount": 1}, "k4", w.token()).status_code == 200


def test_an_expired_token_is_refused_even_when_it_was_just_used(on_sqlite):
    w = on_sqlite
    token = w.token(ttl=timedelta(seconds=60))
    assert w.get("/v1/tools", token).status_code == 200
    w.hand.offset = timedelta(seconds=61)
    assert w.get("/v1/tools", token).json()["detail"] == "refused: expired"


def test_stopping_finishes_and_records_the_call_under_way(w):
    w.tool.mood = "wait"
    w.tool.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(w.call, "pay.neither", {"amount": 5}, "k1")
        assert w.tool.arrived.wait(10)
        stopping = pool.submit(w.stop)
        w.tool.gate.set()
        assert running.result().status_code == 200
        stopping.result()
    assert [e["type"] for e in w.events() if e["request_id"]] == ["decision", "outcome"]


def test_the_trace_goes_through_and_a_malformed_one_is_replaced(on_sqlite):
    w = on_sqlite
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    told = w.call("pay.honours", {"amount": 5}, "k1", traceparent=trace)
    assert told.headers["traceparent"].split("-")[1] == trace.split("-")[1]
    sent = {name.lower(): value for name, value in w.tool.requests[0]["headers"].items()}
    assert sent["traceparent"].split("-")[1] == trace.split("-")[1]
    assert sent["aegis-request-id"] == told.json()["request_id"]
    assert w.events(told.json()["request_id"])[0]["trace_id"] == trace.split("-")[1]
    assert w.call("pay.honours", {"amount": 5}, "k2", traceparent="nonsense").headers["traceparent"].count("-") == 3


def test_the_callers_credential_reaches_no_tool_no_log_no_event_and_no_error(on_sqlite, caplog):
    w = on_sqlite
    caplog.set_level(logging.DEBUG)
    token = w.token()
    told = [w.call("pay.honours", {"amount": a, "memo": "iban DE00"}, f"k{a}", token) for a in (5, 6000, 1500)]
    told.append(w.get("/v1/tools", token + "x"))
    seen = (
        json.dumps([r["headers"] for r in w.tool.requests]) + json.dumps(w.events()) + caplog.text + "".join(t.text for t in told)
    )
    seen += "".join(str(record.__dict__) for record in caplog.records if record.name.startswith("aegis"))
    assert token not in seen
    assert token.rsplit(".", 1)[1] not in seen
    assert w.secret not in seen.replace(json.dumps([r["headers"] for r in w.tool.requests]), "")
    assert "iban DE00" not in seen
    assert w.tool.requests[0]["headers"]["authorization"] == f"Bearer {w.secret}"


def test_metrics_count_what_was_decided(on_sqlite):
    w = on_sqlite
    w.call("pay.honours", {"amount": 5}, "k1")
    w.call("pay.honours", {"amount": 6000}, "k2")
    text = w.watch("/metrics").text
    assert 'aegis_decisions_total{outcome="allow",tenant="acme",tool="pay.honours"} 1.0' in text
    assert 'aegis_decisions_total{outcome="deny",tenant="acme",tool="pay.honours"} 1.0' in text


def test_past_the_limit_of_calls_in_flight_the_gateway_sheds_load(tmp_path):
    from msgspec.structs import replace

    from gateway.world import World

    w = World(tmp_path, "sqlite:data/aegis.db")
    w.settings = replace(w.settings, gateway=replace(w.settings.gateway, max_in_flight=1))
    try:
        w.start()
        w.tool.mood = "wait"
        w.tool.gate.clear()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(w.call, "pay.honours", {"amount": 5}, "k1")
            assert w.tool.arrived.wait(10)
            told = w.call("pay.honours", {"amount": 5}, "k2")
            w.tool.gate.set()
            assert running.result().status_code == 200
        assert (told.status_code, told.json()["code"], told.headers["retry-after"]) == (503, "busy", "1")
    finally:
        w.close()


@pytest.mark.parametrize("agent", ["agent:off", "agent:ghost"])
def test_an_agent_that_is_disabled_or_unknown_is_refused(on_sqlite, agent):
    assert on_sqlite.get("/v1/tools", on_sqlite.token(agent, roles=(), scopes=())).status_code == 401
