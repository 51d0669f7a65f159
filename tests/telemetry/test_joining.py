"""Traces join: across agents, and with the application that an agent runs in."""

import asyncio

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aegis.runtime.trace import Trace, parsed
from aegis.sdk import tracing
from aegis.sdk.client import AsyncClient, Client
from telemetry.test_every_door import watched

CALLER = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
tracer = TracerProvider().get_tracer("host")


def decision(w, request_id):
    return next(event for event in w.events(request_id) if event["type"] == "decision")


def test_a_client_joins_the_span_of_its_application(quiet):
    with Client(quiet.url, quiet.token()) as client, tracer.start_as_current_span("agent step") as span:
        done = client.call("pay.honours", {"amount": 5}, key="k1")
        asked = client.decide("pay.honours", {"amount": 6}, key="k2")
    for request_id in (done.request_id, asked.request_id):
        assert decision(quiet, request_id)["trace_id"] == f"{span.get_span_context().trace_id:032x}"


def test_an_async_client_joins_the_span_of_its_task(quiet):
    async def step(client, key):
        with tracer.start_as_current_span(key) as span:
            done = await client.call("pay.honours", {"amount": 5}, key=key)
            return done.request_id, f"{span.get_span_context().trace_id:032x}"

    async def both():
        async with AsyncClient(quiet.url, quiet.token()) as client:
            return await asyncio.gather(step(client, "k1"), step(client, "k2"))

    for request_id, trace_id in asyncio.run(both()):
        assert decision(quiet, request_id)["trace_id"] == trace_id


def test_without_a_current_span_a_client_says_nothing_of_traces():
    assert tracing.current() == ""


def test_an_application_whose_tracing_fails_still_calls(monkeypatch):
    monkeypatch.setitem(tracing.sys.modules, tracing.API, object())
    assert tracing.current() == ""


def test_what_is_said_is_what_the_official_propagator_says():
    with tracer.start_as_current_span("x"):
        carrier = {}
        TraceContextTextMapPropagator().inject(carrier)
        assert tracing.current() == carrier["traceparent"]


@pytest.mark.parametrize(
    "header",
    [
        CALLER,
        CALLER[:-2] + "00",
        CALLER[:-2] + "ff",
        "01" + CALLER[2:] + "-more",
        "",
        "00",
        CALLER + "-x",
        CALLER.upper(),
        "ff" + CALLER[2:],
        "00-" + "0" * 32 + CALLER[35:],
        CALLER[:36] + "0" * 16 + "-01",
        CALLER + "\n",
        " " + CALLER,
        "é" * 55,
    ],
)
def test_a_header_is_read_as_the_official_propagator_reads_it(header):
    found = api.get_current_span(TraceContextTextMapPropagator().extract({"traceparent": header})).get_span_context()
    ours = parsed(header.strip()) if header.strip() == header else None
    if header == "é" * 55 or header != header.strip():
        return  # an HTTP header holds neither
    assert (ours is not None) == found.is_valid
    if ours:
        assert ours[:2] == (f"{found.trace_id:032x}", f"{found.span_id:016x}")


def open_parent(w, **headers):
    told = w.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 1}}, w.token(), idempotency_key="plan", **headers)
    assert told.status_code == 200, told.text
    return told


def child(w, parent, **headers):
    token = w.token("agent:other", parent=("agent:payer", parent))
    body = {"arguments": {"amount": 2}, "parent_agent_id": "agent:payer", "parent_request_id": parent}
    told = w.post("/v1/tools/pay.honours/call", body, token, idempotency_key="child-1", **headers)
    assert told.status_code == 200, told.text
    return told


def test_a_delegated_call_without_a_trace_of_its_own_goes_on_in_that_of_its_parent(quiet):
    spans = watched(quiet)
    parent = open_parent(quiet, traceparent=CALLER)
    told = child(quiet, parent.json()["request_id"])
    assert told.headers["traceparent"].split("-")[1] == "ab" * 16
    assert decision(quiet, told.json()["request_id"])["trace_id"] == "ab" * 16
    server = next(span for span in spans if span.span_id == told.headers["traceparent"].split("-")[2])
    assert server.parent_id == parent.headers["traceparent"].split("-")[2]


def test_a_delegated_call_with_a_trace_of_its_own_keeps_it(quiet):
    parent = open_parent(quiet, traceparent=CALLER).json()["request_id"]
    told = child(quiet, parent, traceparent=CALLER.replace("ab", "ef"))
    assert decision(quiet, told.json()["request_id"])["trace_id"] == "ef" * 16


def test_a_task_that_is_handed_down_carries_its_trace(quiet):
    planner = quiet.token("agent:planner")
    handed = quiet.post("/v1/delegations", {"to": "agent:reader", "scopes": ["records.*"]}, planner, traceparent=CALLER).json()
    token = quiet.token("agent:reader", parent=("agent:planner", handed["request_id"]), scopes=("records.*",), txn=handed["txn"])
    body = {"arguments": {"id": "7"}, "parent_agent_id": "agent:planner", "parent_request_id": handed["request_id"]}
    told = quiet.post("/v1/tools/records.read/call", body, token)
    assert told.status_code == 200, told.text
    assert told.headers["traceparent"].split("-")[1] == "ab" * 16


def test_an_envelope_may_carry_the_trace_and_a_header_goes_before_it(quiet):
    by_envelope = quiet.send(traceparent=CALLER)
    assert by_envelope.headers["traceparent"].split("-")[1] == "ab" * 16
    both = quiet.send(traceparent=CALLER, headers={"traceparent": CALLER.replace("ab", "ef")})
    assert both.headers["traceparent"].split("-")[1] == "ef" * 16
    with Client(quiet.url, quiet.as_agent("agent:store")) as store:
        assert store.receive("order", accept="1.2").traceparent.split("-")[1] == "ab" * 16


def test_a_trace_gives_nothing_and_takes_nothing(quiet):
    """The trace of another agent's request is only a number: what may be done does not change by it."""
    parent = open_parent(quiet, traceparent=CALLER)
    same = {"traceparent": parent.headers["traceparent"]}
    assert quiet.call("pay.honours", {"amount": 9000}, "k1", **same).status_code == 403
    assert quiet.call("pay.honours", {"amount": 5}, "k2", quiet.token("agent:off"), **same).status_code in (401, 403)


def test_only_the_traceparent_reaches_the_tool(quiet):
    more = {"tracestate": "evil=1", "baggage": "secret=1"}
    quiet.call("pay.honours", {"amount": 5}, "k1", traceparent=CALLER, **more)
    sent = {name.lower() for name in quiet.tool.requests[-1]["headers"]}
    assert "traceparent" in sent
    assert not sent & set(more)


def test_a_recovered_call_is_settled_in_its_own_trace(quiet):
    quiet.tool.mood = "vanish-after"
    told = quiet.call("pay.ask", {"amount": 5}, "k1", traceparent=CALLER)
    settled = next(
        event for event in quiet.events(told.headers["aegis-request-id"]) if event["type"] == "outcome" and "by" in event
    )
    assert settled["trace_id"] == "ab" * 16
    assert settled["parent_span_id"] == told.headers["traceparent"].split("-")[2]
    assert quiet.tool.requests[-1]["headers"]["traceparent"].split("-")[1] == "ab" * 16


def test_flags_that_nobody_defined_are_not_passed_on():
    assert Trace.continued(CALLER[:-2] + "ff").traceparent.endswith("-03")
