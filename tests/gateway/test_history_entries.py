"""What stands in history is what happened: no request can write over another one's entry, and none goes unseen where it counts."""

import pytest

from gateway.world import POLICY

LOCKED = """
    - {id: h.secret, effect: deny, tools: [records.read], when: {args.id: {starts_with: secret}}}
    - {id: h.locked, effect: deny, tools: [records.read], when: {history: {count_within: {event: {tool: records.read, phase: denied}, same: [agent.id], within: 1h, gte: 2}}}}
"""
JUST_PAID = """
    - {id: h.just, effect: deny, tools: [pay.ask], when: {not: {history: {formerly: {event: {tool: pay.honours}, same: [run.id], within: 1h, immediately: true}}}}}
"""

TAINTED = """
    - {id: h.label, effect: deny, tools: [pay.ask], when: {labels.run: {contains: phi}}}
"""


@pytest.fixture
def ruled(on_sqlite):
    """A function that puts the tenant under more rules."""

    def put(rules):
        w = on_sqlite
        (w.root / "tenants/acme/policy.yaml").write_text(POLICY.format(tenant="acme").rstrip() + rules)
        w.stop()
        w.start()
        return w

    return put


def test_a_request_id_never_takes_the_place_of_a_refusal_that_is_remembered(ruled):
    w = ruled(LOCKED)
    for request_id in ("one", "two"):
        assert w.call("records.read", {"id": "secret-1"}, aegis_request_id=request_id).json()["rule"] == "h.secret"
    told = w.call("records.read", {"id": "r1"}, aegis_request_id="denied:decision:one:0")
    assert (told.status_code, told.json().get("rule")) == (403, "h.locked")


def test_the_preceding_call_is_the_preceding_one_of_any_tool(ruled):
    w = ruled(JUST_PAID)
    token = w.token(txn="run-1")
    assert w.call("pay.honours", {"amount": 1}, "a", token).status_code == 200
    assert w.call("pay.ask", {"amount": 1}, "b", token).status_code == 200
    assert w.call("pay.honours", {"amount": 1}, "c", token).status_code == 200
    assert w.call("records.read", {"id": "r1"}, token=token).status_code == 200
    assert w.call("pay.ask", {"amount": 1}, "d", token).json()["rule"] == "h.just"


def test_a_run_keeps_its_labels_when_no_tool_of_the_set_gives_them_any_more(ruled):
    w = ruled(TAINTED)
    path = w.root / "tenants/acme/policy.yaml"
    later = path.read_text()
    path.write_text(later.replace("{id: string}}", "{id: string}, labels: {emits: [phi]}}"))
    w.stop()
    w.start()
    token = w.token(txn="run-1")
    assert w.call("records.read", {"id": "r1"}, token=token).status_code == 200
    path.write_text(later)
    w.stop()
    w.start()
    assert w.call("pay.ask", {"amount": 1}, "a", token).json()["rule"] == "h.label"
    assert w.call("pay.ask", {"amount": 1}, "b", w.token(txn="run-2")).status_code == 200


AFTER_PAID = """
    - {id: h.first, effect: deny, tools: [pay.ask], when: {not: {history: {formerly: {event: {tool: pay.honours}, same: [run.id], within: 1h}}}}}
    - {id: h.count, effect: deny, tools: [pay.neither], when: {history: {count_within: {event: {tool: pay.neither}, same: [agent.id], within: 1h, gt: 1}}}}
"""


@pytest.mark.parametrize("done", [True, False])
def test_what_a_caller_reports_of_its_own_call_opens_nothing_and_gives_nothing_back(ruled, done):
    w = ruled(AFTER_PAID)
    token = w.token(txn="run-1")
    for tool, amount in (("pay.honours", 5), ("pay.neither", 100)):
        asked = {"tool": tool, "arguments": {"amount": amount}}
        decided = w.post("/v1/decide", asked, token, idempotency_key=tool).json()
        told = w.post(f"/v1/decide/{decided['request_id']}/outcome", {"done": done}, token)
        assert told.status_code in (200, 204), told.text
    assert w.call("pay.ask", {"amount": 1}, "a", token).json()["rule"] == "h.first"
    assert w.call("pay.neither", {"amount": 1}, "b", token).json()["rule"] == "h.count"


def test_a_result_that_was_withheld_is_no_success(ruled):
    w = ruled(AFTER_PAID)
    token = w.token(txn="run-1")
    w.tool.mood = "lie"
    assert w.call("pay.honours", {"amount": 1}, "a", token).json()["code"] == "result-withheld"
    w.tool.mood = "ok"
    assert w.call("pay.ask", {"amount": 1}, "b", token).json()["rule"] == "h.first"
