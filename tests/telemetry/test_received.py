"""What a collector of OpenTelemetry gets, read with the official messages."""

import json

from opentelemetry.proto.trace.v1.trace_pb2 import Span as Official
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from aegis.model import conventions as names
from telemetry.collector import attributes
from telemetry.test_every_door import through_every_door, watched

CALLER = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


def trace_of(w, collector, answer, wanted):
    """The spans of an answer's trace by name, once there are so many."""
    trace_id = answer.headers["traceparent"].split("-")[1]
    found = collector.wait(lambda c: (spans := c.of_trace(trace_id)) and len(spans) >= wanted and spans)
    return {span.name: span for span in found}


def test_a_call_is_one_trace_of_server_decision_and_client(traced, collector):
    told = traced.call("pay.honours", {"amount": 5, "memo": "rent"}, "k1", traceparent=CALLER)
    spans = trace_of(traced, collector, told, 3)
    server, guard, client = spans["execute_tool pay.honours"], spans["apply_guardrail aegis"], spans["POST /pay/pay.honours"]
    assert (server.kind, guard.kind, client.kind) == (
        Official.SPAN_KIND_SERVER,
        Official.SPAN_KIND_INTERNAL,
        Official.SPAN_KIND_CLIENT,
    )
    assert {span.trace_id.hex() for span in spans.values()} == {"ab" * 16}
    assert server.parent_span_id.hex() == "cd" * 8
    assert guard.parent_span_id == client.parent_span_id == server.span_id
    assert told.headers["traceparent"].split("-")[2] == server.span_id.hex()
    assert traced.tool.requests[-1]["headers"]["traceparent"].split("-")[1:3] == ["ab" * 16, client.span_id.hex()]
    assert server.start_time_unix_nano <= guard.end_time_unix_nano <= client.end_time_unix_nano <= server.end_time_unix_nano
    said = attributes(guard.attributes)
    assert (said[names.DECISION], said[names.RULE], said[names.ENFORCED]) == ("allow", ["pay.allow"], True)
    assert (said[names.TOOL_NAME], said[names.AGENT_ID], said[names.TENANT]) == ("pay.honours", "agent:payer", "acme")
    assert said[names.REQUEST_ID] == told.json()["request_id"]
    sent = attributes(client.attributes)
    assert (sent[names.HTTP_STATUS], sent[names.SERVER_PORT], sent[names.OUTCOME]) == (200, traced.tool.port, "done")


def test_the_resource_says_which_process_it_was(traced, collector):
    traced.call("records.read", {"id": "7"})
    collector.wait(lambda c: c.spans)
    body = json.loads(next(body for path, body in collector.bodies if path == "/v1/traces"))
    resource = {each["key"]: each["value"]["stringValue"] for each in body["resourceSpans"][0]["resource"]["attributes"]}
    assert resource["service.name"] == "aegis"
    assert resource["service.instance.id"] == traced.app.gate.instance
    assert body["resourceSpans"][0]["scopeSpans"][0]["schemaUrl"] == names.SCHEMA_URL


def test_a_refused_call_has_its_decision_and_its_error(traced, collector):
    told = traced.call("pay.honours", {"amount": 9000}, "k1")
    spans = trace_of(traced, collector, told, 2)
    assert set(spans) == {"execute_tool pay.honours", "apply_guardrail aegis"}
    server = spans["execute_tool pay.honours"]
    assert server.status.code == Status.STATUS_CODE_ERROR
    assert attributes(server.attributes)[names.ERROR_TYPE] == "policy-violation"
    said = attributes(spans["apply_guardrail aegis"].attributes)
    assert (said[names.DECISION], said[names.RULE]) == ("deny", ["pay.ceiling"])


def test_a_repetition_is_no_error(traced, collector):
    first = traced.call("pay.honours", {"amount": 5}, "k1").json()["request_id"]
    again = traced.call("pay.honours", {"amount": 5}, "k1")
    spans = trace_of(traced, collector, again, 2)
    assert set(spans) == {"execute_tool pay.honours", "apply_guardrail aegis"}  # the tool was not asked again
    said = attributes(spans["apply_guardrail aegis"].attributes)
    assert (said[names.REPEAT_OF], said[names.REPEATED]) == (first, "replayed")
    assert all(span.status.code == Status.STATUS_CODE_UNSET for span in spans.values())


def test_a_wait_for_people_lasts_from_held_to_answered_and_names_nobody(traced, collector):
    held = traced.call("pay.honours", {"amount": 1500}, "k5", traceparent=CALLER)
    assert traced.approve(held.json()["approval_id"]).status_code == 200
    done = traced.call("pay.honours", {"amount": 1500}, "k5")
    wait = collector.wait(lambda c: next((span for span in c.spans if span.name == "await_approval"), None))
    assert (wait.trace_id.hex(), wait.parent_span_id.hex()) == ("ab" * 16, held.headers["traceparent"].split("-")[2])
    said = attributes(wait.attributes)
    assert (said[names.OUTCOME], said[names.APPROVAL_ID]) == ("approved", held.json()["approval_id"])
    answer = next(event for event in traced.events() if event["type"] == "approval")
    assert said[names.AUDIT_EVENT] == answer["id"]
    assert (answer["trace_id"], answer["span_id"]) == (wait.trace_id.hex(), wait.span_id.hex())
    assert wait.end_time_unix_nano > wait.start_time_unix_nano
    used = trace_of(traced, collector, done, 3)["apply_guardrail aegis"]
    assert [(each.trace_id.hex(), each.span_id) for each in used.links] == [("ab" * 16, wait.parent_span_id)]


def test_a_message_is_put_in_by_a_producer_and_its_reader_is_linked_to_it(traced, collector):
    sent = traced.send(headers={"traceparent": CALLER})
    assert sent.status_code == 202
    producer = trace_of(traced, collector, sent, 3)["send order"]
    assert producer.kind == Official.SPAN_KIND_PRODUCER
    assert attributes(producer.attributes)[names.TO] == ["agent:store"]
    leased = traced.lease()
    event = leased.json()["message"]["event"]
    assert event["traceparent"].split("-")[1:3] == ["ab" * 16, producer.span_id.hex()]
    reader = trace_of(traced, collector, leased, 1)["POST /v1/messages/lease"]
    assert [(each.trace_id, each.span_id) for each in reader.links] == [(producer.trace_id, producer.span_id)]


def test_spans_hold_no_argument_no_result_no_token_and_no_person(traced, collector):
    spans = watched(traced)
    told = traced.call("pay.honours", {"amount": 5, "memo": "for Nora, 078-05-1120"}, "secret-key-77")
    assert told.status_code == 200
    through_every_door(traced)
    collector.wait(lambda c: len(c.spans) >= len(spans))
    everything = b"".join(body for _, body in collector.bodies).decode()
    for never in ("Nora", "user:nora", "078-05-1120", "secret-key-77", "person:", "alice", traced.secret, "eyJ", "looked at it"):
        assert never not in everything, never


def test_texts_of_agents_are_data_and_cut(traced, collector):
    evil = "pay\x1b[31m\u202e\n'; DROP TABLE spans; --" + "x" * 5000
    told = traced.post("/v1/decide", {"tool": evil, "arguments": {}})
    assert told.status_code in (400, 403, 404, 422)
    odd = traced.call("records.read", {"id": "7"}, traceparent="00-" + "0" * 32 + '-zz"}]-01')
    spans = trace_of(traced, collector, odd, 3)
    assert len(spans) == 3
    raw = b"".join(body for _, body in collector.bodies)
    for never in (b"\\u001b", "\u202e".encode(), b"x" * 300):
        assert never not in raw
    text = traced.watch("/metrics").text
    assert "DROP TABLE" not in text


def test_metrics_come_over_the_same_wire_with_the_same_numbers(traced, collector):
    through_every_door(traced)
    text = traced.watch("/metrics").text
    calls = float(next(line.split()[-1] for line in text.splitlines() if line.startswith('aegis_spans_total{work="call"}')))

    def arrived(c):
        found = c.metrics().get("aegis.spans")
        points = {attributes(p.attributes)["aegis.work"]: p.as_double for p in found.sum.data_points} if found else {}
        return points.get("call") == calls and c.metrics()

    metrics = collector.wait(arrived)
    assert metrics["aegis.decisions"].sum.is_monotonic
    duration = metrics["aegis.decision.duration"].histogram.data_points[0]
    assert sum(duration.bucket_counts) == duration.count > 10
    assert len(duration.bucket_counts) == len(duration.explicit_bounds) + 1
    endings = {attributes(p.attributes)["aegis.result"] for p in metrics["aegis.calls"].sum.data_points}
    assert {"done", "unknown"} <= endings
    chatter = {
        tuple(attributes(p.attributes).get(k) for k in ("aegis.way", "aegis.sender", "aegis.receiver"))
        for p in metrics["aegis.chatter"].sum.data_points
    }
    assert chatter == {("delegation", "agent:planner", "agent:reader"), ("message", "agent:payer", "agent:store")}
    assert all(each.unit and each.description for each in metrics.values())
