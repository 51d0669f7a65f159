"""Every call in every mode has its span, and every event of a call carries the ids of the span that tells of the same (GW-6)."""

from collections import Counter

from aegis.model.span import Work

GOVERNED = {
    "decision",
    "delegation",
    "outcome",
    "late_outcome",
    "repeat",
    "refusal",
    "message",
    "approval",
    "override_used",
    "message_leased",
    "message_acked",
    "message_nacked",
}


def watched(w):
    """What a gateway puts down, as it happens."""
    found = []
    w.app.gate.spans.watch(found.append)
    return found


def through_every_door(w):
    """One request of each kind; how many there were."""
    told = []

    def went(answer, *statuses):
        assert answer.status_code in statuses, answer.text
        told.append(answer)
        return answer

    went(w.call("pay.honours", {"amount": 5}, "k1"), 200)
    went(w.call("pay.honours", {"amount": 5}, "k1"), 200)  # repeated
    went(w.call("pay.honours", {"amount": 6}, "k1"), 409)  # another payload under the key
    went(w.call("pay.honours", {"amount": 9000}, "k2"), 403)  # refused by a rule
    went(w.call("pay.honours", {"amount": "much"}, "k3"), 422)  # breaks the contract
    went(w.call("no.such", {}, "k4"), 403, 404, 422)
    went(w.post("/v1/tools/pay.honours/call", b"{"), 400)  # never became a proposal
    went(w.call("records.read", {"id": "7"}), 200)
    held = went(w.call("pay.honours", {"amount": 1500}, "k5"), 403).json()
    went(w.approve(held["approval_id"]), 200)
    went(w.call("pay.honours", {"amount": 1500}, "k5"), 200)
    w.tool.mood = "vanish-after"
    went(w.call("pay.neither", {"amount": 5}, "k6"), 409)  # interrupted
    went(w.call("pay.ask", {"amount": 5}, "k7"), 502, 503, 504)
    w.tool.mood = "ok"
    asked = went(w.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 5}}, idempotency_key="k8"), 200).json()
    went(w.post(f"/v1/decide/{asked['request_id']}/outcome", {"done": True, "result": {"id": 1}}), 200)
    planner = w.token("agent:planner")
    handed = went(w.post("/v1/delegations", {"to": "agent:reader", "scopes": ["records.*"]}, planner), 200).json()
    went(w.post(f"/v1/delegations/{handed['request_id']}/end", {}, planner), 200)
    went(w.post("/v1/delegations", {"to": "agent:off", "scopes": ["records.*"]}, planner), 403)
    went(w.send(), 202)
    went(w.send(kind="nothing.such"), 400, 404, 422)
    taken = went(w.lease(), 200).json()["message"]
    went(w.nack(taken), 200)
    went(w.ack(went(w.lease(), 200).json()["message"]), 200)
    return told


def test_every_request_that_does_something_has_exactly_one_span(quiet):
    spans = watched(quiet)
    told = through_every_door(quiet)
    calls = [span for span in spans if span.work is Work.CALL]
    by_request = Counter(span.attributes["aegis.request.id"] for span in calls)
    assert len(calls) == len(told)
    assert by_request == Counter(answer.headers["aegis-request-id"] for answer in told)
    # Three works for one call that went through, and as many decisions as events that record one.
    events = quiet.events()
    recorded = Counter(event["type"] for event in events)
    kinds = Counter(str(span.work) for span in spans)
    assert kinds["decision"] == recorded["decision"] + recorded["delegation"] + recorded["repeat"]
    assert kinds["upstream"] == sum(1 for event in events if event["type"] == "outcome" and "by" not in event)
    assert kinds["settle"] == sum(1 for event in events if event["type"] == "outcome" and "by" in event) > 1
    assert kinds["approval"] == 1
    assert quiet.app.gate.spans.counts == Counter(span.work for span in spans)
    assert len(quiet.app.gate.spans) == 0  # nobody takes them out, so none are kept


def test_the_metrics_count_the_same_without_a_collector(quiet):
    told = through_every_door(quiet)
    text = quiet.watch("/metrics").text
    assert f'aegis_spans_total{{work="call"}} {len(told)}.0' in text


def test_every_event_of_a_call_carries_the_ids_of_its_span(quiet):
    spans = watched(quiet)
    through_every_door(quiet)
    known = {(span.trace_id, span.span_id): span for span in spans}
    events = [event for event in quiet.events() if event["type"] in GOVERNED]
    assert {event["type"] for event in events} >= GOVERNED - {"late_outcome"}
    for event in events:
        assert (event["trace_id"], event["span_id"]) in known, event["type"]
        if event["type"] in ("decision", "delegation", "outcome", "repeat", "approval"):
            assert known[event["trace_id"], event["span_id"]].attributes["aegis.audit.event"] == event["id"]
        assert event.get("parent_span_id", "") == known[event["trace_id"], event["span_id"]].parent_id or event["type"] == "message"


def test_who_is_not_known_leaves_no_span(quiet):
    spans = watched(quiet)
    assert quiet.post("/v1/decide", {}, "nonsense").status_code == 401
    assert quiet.get("/v1/tools").status_code == 200  # looking is not a call
    assert spans == []
