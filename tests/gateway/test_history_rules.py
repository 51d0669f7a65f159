"""Rules over what has happened before: they hold across requests, processes and restarts, and two racing calls never both pass."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from gateway.test_two_processes import Second
from gateway.world import POLICY, World

LINES = {
    "pay.honours: ": "history: [amount]",
    "pay.neither: ": "history: [amount]",
    "records.read: ": "history: [id], labels: {emits: [phi]}",
}
RULES = """
    - {id: h.sum, effect: deny, tools: [pay.honours], when: {history: {sum_within: {event: {tool: pay.honours}, of: args.amount, same: [agent.id], within: 1h, gt: 1000}}}, reason: over the hourly total}
    - {id: h.count, effect: deny, tools: [pay.neither], when: {history: {count_within: {event: {tool: pay.neither}, same: [agent.id], within: 1h, gt: 3}}}}
    - {id: h.distinct, effect: deny, tools: [records.read], when: {history: {distinct_within: {event: {tool: records.read}, of: args.id, same: [subject.id], within: 1h, gt: 2}}}}
    - {id: h.first, effect: deny, tools: [pay.ask], when: {not: {history: {formerly: {event: {tool: pay.honours}, same: [run.id], within: 1h}}}}}
    - {id: h.never, effect: deny, tools: [nobody.approves], when: {history: {never_after: {event: {tool: records.read}, same: [run.id], within: 1h}}}}
    - {id: h.label, effect: deny, tools: [pay.ask], when: {labels.run: {contains: phi}}, reason: the run has seen patient data}
    - {id: h.risk, effect: deny, tools: [pay.neither], when: {all: [{risk.percent: {present: true}}, {risk.percent: {gte: 70}}]}, reason: too risky}
"""


def remembering(w: World) -> World:
    path = w.root / "tenants/acme/policy.yaml"
    text = POLICY.format(tenant="acme")
    for tool, more in LINES.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(tool))
        text = text.replace(line, f"{line.rstrip()[:-1]}, {more}}}")
    path.write_text(text.rstrip() + RULES)
    w.stop()
    w.start()
    return w


@pytest.fixture
def h(w):
    return remembering(w)


def pay(h, amount, key, tool="pay.honours", **token):
    return h.call(tool, {"amount": amount}, key, h.token(**token) if token else None)


def test_a_running_total_stops_the_call_that_would_pass_it_and_names_the_limit(h):
    assert pay(h, 600, "a").status_code == 200
    assert pay(h, 400, "b").status_code == 200
    told = pay(h, 1, "c")
    assert (told.status_code, told.json()["rule"]) == (403, "h.sum")
    (reason,) = told.json()["reasons"]
    assert reason["limit"] == 1000
    assert reason["field"].startswith("history.sum_within(pay.honours args.amount")
    assert len(h.tool.done) == 2


def test_a_running_total_is_per_agent_and_forgets_what_is_older_than_its_window(h):
    assert pay(h, 900, "a").status_code == 200
    assert pay(h, 900, "b", agent_id="agent:other").status_code == 200
    assert pay(h, 900, "c").json()["rule"] == "h.sum"
    h.hand.offset = timedelta(hours=1, seconds=1)
    assert pay(h, 900, "d").status_code == 200


def test_a_repeated_key_is_counted_once_and_still_gets_its_result(h):
    assert pay(h, 900, "a").status_code == 200
    again = pay(h, 900, "a")
    assert (again.status_code, again.json()["result"]) == (200, {"id": 1})
    assert pay(h, 100, "b").status_code == 200


def test_a_call_that_surely_did_nothing_gives_its_reservation_back(h):
    h.tool.mood = "refuse"
    pay(h, 900, "a")
    h.tool.mood = "ok"
    assert pay(h, 1000 - 1, "b").status_code == 200


def test_a_call_whose_end_nobody_knows_keeps_its_reservation(h):
    for key in ("a", "b", "c"):
        h.tool.mood = "vanish-after"
        assert pay(h, 1, key, tool="pay.neither").status_code != 403
    h.tool.mood = "ok"
    assert pay(h, 1, "d", tool="pay.neither").json()["rule"] == "h.count"


def test_racing_calls_reach_the_limit_and_never_pass_it(h):
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda n: pay(h, 100, f"k{n}"), range(40)))
    assert sum(t.status_code == 200 for t in told) == 10
    assert {t.json()["rule"] for t in told if t.status_code == 403} == {"h.sum"}
    assert len(h.tool.done) == 10
    assert h.fsck() == []


def test_racing_calls_over_two_gateways_reach_the_limit_and_never_pass_it(h):
    second = Second(h)
    second.start()
    try:
        with ThreadPoolExecutor(16) as pool:
            told = list(pool.map(lambda n: pay((h, second)[n % 2], 100, f"k{n}"), range(40)))
    finally:
        second.stop()
    assert sum(t.status_code == 200 for t in told) == 10
    assert len(h.tool.done) == 10


def test_history_outlives_the_process(h):
    assert pay(h, 900, "a").status_code == 200
    h.stop()
    h.start()
    assert pay(h, 900, "b").json()["rule"] == "h.sum"


def test_different_values_are_counted_and_the_same_one_again_is_free(h):
    assert [h.call("records.read", {"id": name}).status_code for name in ("p1", "p2", "p1")] == [200, 200, 200]
    told = h.call("records.read", {"id": "p3"})
    assert (told.status_code, told.json()["rule"]) == (403, "h.distinct")


def test_only_after_holds_once_the_earlier_call_has_succeeded_in_the_same_run(h):
    assert pay(h, 1, "a", tool="pay.ask", txn="run-1").json()["rule"] == "h.first"
    assert pay(h, 1, "b", txn="run-2").status_code == 200
    assert pay(h, 1, "c", tool="pay.ask", txn="run-1").json()["rule"] == "h.first"
    assert pay(h, 1, "d", txn="run-1").status_code == 200
    assert pay(h, 1, "e", tool="pay.ask", txn="run-1").status_code == 200


def test_only_after_is_not_met_by_a_call_that_failed(h):
    h.tool.mood = "refuse"
    pay(h, 1, "a", txn="run-1")
    h.tool.mood = "ok"
    assert pay(h, 1, "b", tool="pay.ask", txn="run-1").json()["rule"] == "h.first"


def test_never_after_bans_for_the_rest_of_the_run(h):
    assert pay(h, 1, "a", tool="nobody.approves", txn="run-1").json()["rule"] != "h.never"
    h.call("records.read", {"id": "p1"}, token=h.token(txn="run-1"))
    assert pay(h, 1, "b", tool="nobody.approves", txn="run-1").json()["rule"] == "h.never"
    assert pay(h, 1, "c", tool="nobody.approves", txn="run-2").json()["rule"] != "h.never"


def test_a_condition_on_a_run_denies_a_call_that_belongs_to_none(h):
    assert pay(h, 1, "a", tool="nobody.approves").json()["rule"] == "h.never"


def test_a_run_carries_the_labels_of_what_its_calls_have_read(h):
    assert pay(h, 1, "a", txn="run-1").status_code == 200
    assert pay(h, 1, "b", tool="pay.ask", txn="run-1").status_code == 200
    h.call("records.read", {"id": "p1"}, token=h.token(txn="run-1"))
    assert pay(h, 1, "c", tool="pay.ask", txn="run-1").json()["rule"] == "h.label"


def test_numbers_that_the_issuer_signed_are_read_and_recorded(h):
    assert pay(h, 1, "a", tool="pay.neither", stated={"risk.percent": 69}).status_code == 200
    told = pay(h, 1, "b", tool="pay.neither", stated={"risk.percent": 70})
    assert told.json()["rule"] == "h.risk"
    (event,) = [e for e in h.events(told.json()["request_id"]) if e["type"] == "decision"]
    assert event["facts"]["stated"] == {"risk.percent": 70}
    assert list(event["facts"]["history"].values()) == [2]


def test_what_is_remembered_holds_no_text_of_the_caller(on_sqlite):
    h = remembering(on_sqlite)  # it looks into the file; the columns are the same on PostgreSQL
    h.call("records.read", {"id": "patient-4711"})
    import sqlite3

    with sqlite3.connect(h.settings.sqlite_path) as db:
        rows = db.execute("SELECT * FROM history").fetchall()
    assert rows
    assert "4711" not in repr(rows)
