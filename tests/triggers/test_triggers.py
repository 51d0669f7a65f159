"""What halts by itself, over real gateways and real failures."""

import asyncio
import json
import time

import pytest

from aegis.app import open_app
from aegis.runtime.clock import Clock
from aegis.runtime.halts import Halt
from cli.command import aegis
from gateway.test_two_processes import Second

FAILING = """
apiVersion: aegis.triggers/v1
kind: Triggers
metadata: {tenant: acme}
spec:
  triggers:
    - id: failing
      reason: payments fail
      when: {outcomes: [failed, unknown], of: "tool:*", more_than: 3, within_seconds: 60}
      then: {halt: it}
    - id: loops
      reason: an agent knocks
      when: {outcomes: [denied], of: "agent:*", more_than: 3, within_seconds: 60}
      then: {safe: it}
    - id: tampered
      reason: the journal is not what it was
      when: {integrity: violated}
      then: {halt: tenant}
"""


def state(w, text=FAILING):
    (w.root / "tenants" / "acme" / "triggers.yaml").write_text(text)


def fail(w, count, tool="pay.honours"):
    """So many failures of a tool; the ids of the requests."""
    w.tool.mood = "refuse"
    told = [w.call(tool, {"amount": 1}, f"fail-{time.monotonic_ns()}") for _ in range(count)]
    w.tool.mood = "ok"
    return [each.json()["request_id"] for each in told]


def until(stands):
    deadline = time.monotonic() + 20
    while not stands():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def call(w, tool="pay.honours"):
    return w.call(tool, {"amount": 1}, f"ok-{time.monotonic_ns()}")


def halts(w):
    return [event for event in w.events(tenant="_system") if event["type"] == "halt"]


def with_app(w, work):
    """`work` on the parts of one more process, which is not served by it."""

    async def run():
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            await app.gate.halts.refresh()
            return await work(app)
        finally:
            await app.gate.store.close()

    return asyncio.run(run())


def lift(w, what):
    halt = Halt(tenant="acme", what=what, mode="halt", reason="mended", by="person:alice")
    assert with_app(w, lambda app: app.gate.halts.lift(halt))


def test_a_spike_halts_once_over_two_gateways_and_again_only_for_fresh_failures(w):
    state(w)
    second = Second(w)
    second.start()
    try:
        requests = fail(w, 4)
        until(lambda: call(w).json().get("rule") == "halted")
        until(lambda: call(second).json().get("rule") == "halted")
        assert call(w, "pay.ask").status_code == 200
        lift(w, "tool:pay.honours")
        until(lambda: call(w).status_code == 200)
        until(lambda: call(second).status_code == 200)
        with_app(w, lambda app: app.trips.turn())  # a process that begins now sees the same failures in its window
        fail(w, 3)
        with_app(w, lambda app: app.trips.turn())
        assert call(w).status_code == 200
        fail(second, 1)
        until(lambda: call(w).json().get("rule") == "halted")
    finally:
        second.stop()
    told = halts(w)
    assert [(each["what"], each["state"], each["by"]) for each in told] == [
        ("tool:pay.honours", "active", "system:triggers"),
        ("tool:pay.honours", "lifted", "person:alice"),
        ("tool:pay.honours", "active", "system:triggers"),
    ]
    evidence = told[0]["evidence"]
    assert (evidence["trigger"], evidence["counts"], evidence["of"]) == ("failing", {"failed": 4}, "tool:pay.honours")
    assert evidence["requests"] == requests[::-1]
    assert "payments fail" in told[0]["reason"]


def test_an_agent_that_is_denied_too_often_is_put_in_safe_mode_and_a_halt_does_not_lead_to_the_next(on_sqlite):
    w = on_sqlite
    with_app(
        w, lambda app: app.gate.halts.set(Halt(tenant="acme", what="tool:pay.ask", mode="halt", reason="x", by="person:alice"))
    )
    until(lambda: call(w, "pay.ask").json().get("rule") == "halted")
    state(w)
    for _ in range(5):
        call(w, "pay.ask")
    with_app(w, lambda app: app.trips.turn())
    assert len(halts(w)) == 1
    for _ in range(4):
        assert w.call("pay.honours", {"amount": 9000}, "much").status_code == 403
    until(lambda: len(halts(w)) == 2)
    assert (halts(w)[1]["what"], halts(w)[1]["mode"]) == ("agent:payer", "safe")


def test_what_a_person_has_halted_stays_as_they_said(on_sqlite):
    w = on_sqlite
    state(w, FAILING.replace("{halt: it}", "{safe: it}"))
    mine = Halt(tenant="acme", what="tool:pay.honours", mode="halt", reason="mine", by="person:alice")
    fail(w, 3)
    with_app(w, lambda app: app.gate.halts.set(mine))
    state(w, FAILING.replace("{halt: it}", "{safe: it}").replace("more_than: 3", "more_than: 1"))
    with_app(w, lambda app: app.trips.turn())
    assert [each["by"] for each in halts(w)] == ["person:alice"]


def test_a_journal_that_was_changed_halts_the_tenant(on_sqlite):
    w = on_sqlite
    state(w)
    assert call(w).status_code == 200
    spoil(w)
    until(lambda: call(w).json().get("rule") == "halted")
    told = halts(w)[-1]
    assert (told["what"], told["by"], told["evidence"]["integrity"]) == ("tenant", "system:triggers", "violated")


def spoil(w):
    """Change the newest event behind the gateway's back, before anybody has signed it."""
    import sqlite3

    for _ in range(20):
        call(w)
        with sqlite3.connect(w.settings.sqlite_path, timeout=10) as base:
            base.execute(
                'UPDATE event SET body = CAST(replace(CAST(body AS TEXT), \'"door":"http"\', \'"door":"ftp"\') AS BLOB)'
                " WHERE tenant = 'acme' AND type = 'decision' AND seq >= (SELECT max(seq) - 1 FROM event WHERE tenant = 'acme')"
            )
        base.close()


def test_a_document_that_became_wrong_leaves_the_one_before_in_force(on_sqlite):
    w = on_sqlite
    state(w)
    fail(w, 4, "pay.ask")
    until(lambda: call(w, "pay.ask").json().get("rule") == "halted")
    state(w, FAILING.replace("more_than: 3", "more_than: many"))
    fail(w, 4)
    until(lambda: call(w).json().get("rule") == "halted")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("more_than: 3", "more_than: -1", "expected an integer from 0"),
        ('of: "tool:*"', 'of: "tools:*"', "expected `tenant`, `tool:NAME`"),
        ("{halt: it}", "{halt: all}", "expected `tenant`, `tool:NAME`"),
        ("{halt: tenant}", "{halt: it}", "a log is not counted"),
        ("id: loops", "id: failing", "is there already"),
        ("{halt: it}", "{halt: it, safe: it}", "expected either `halt` or `safe`"),
        ("integrity: violated", "integrity: violated, more_than: 1", "unknown key `more_than`"),
        ("[failed, unknown]", "[failing]", "did you mean `failed`?"),
        ("tenant: acme", "tenant: globex", "lies below tenant `acme`"),
    ],
)
def test_a_wrong_document_is_refused_with_its_place(tmp_path, old, new, told):
    from aegis.adapters.triggers import load
    from aegis.errors import ConfigError

    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "triggers.yaml").write_text(FAILING.replace(old, new, 1))
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, "acme")
    assert told in str(refused.value)
    assert "triggers.yaml" in str(refused.value)


def test_check_names_a_trigger_that_waits_for_what_is_not_there(on_sqlite):
    w = on_sqlite
    state(w, FAILING.replace('of: "tool:*"', 'of: "tool:pay.honour"'))
    (w.root / "aegis.toml").write_text("")
    ended = aegis(w.root, "--json", "check")
    rows = [row for row in json.loads(ended.stdout)["results"] if row["what"] == "triggers acme"]
    assert [(row["state"], row["text"]) for row in rows] == [
        ("failed", "`failing`: no `tool:pay.honour` here; did you mean `tool:pay.honours`?")
    ]
