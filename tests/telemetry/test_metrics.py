"""Metrics are read off spans, have few series, and tell what an operator asks."""

from datetime import UTC, datetime

from prometheus_client import generate_latest

from aegis.model import conventions as names
from aegis.model.span import Span, Work
from aegis.surfaces.cli.main import main
from aegis.surfaces.gateway import metrics as module
from aegis.surfaces.gateway.metrics import Metrics
from telemetry.test_every_door import through_every_door, watched

NOW_US = int(datetime(2026, 1, 7, tzinfo=UTC).timestamp() * 1_000_000)


def span(work, **more):
    made = {
        "name": "x",
        "tenant": "acme",
        "tool": "pay",
        "agent": "agent:a",
        "attributes": {},
        "start_us": NOW_US,
        "end_us": NOW_US + 2500,
    }
    return Span(work=work, trace_id="1" * 32, span_id="2" * 16, parent_id="", **{**made, **more})


def shown(found):
    return generate_latest(found.tenants).decode()


def value(w, line):
    text = w.watch("/metrics").text
    return next((float(each.split()[-1]) for each in text.splitlines() if each.startswith(line)), None)


def test_what_a_day_of_calls_tells_an_operator(quiet):
    assert quiet.call("pay.costly", {"amount": 5}, "c1").status_code == 200
    through_every_door(quiet)
    assert value(quiet, 'aegis_calls_total{agent="agent:payer",result="done",tenant="acme",tool="pay.honours"}') == 3
    assert value(quiet, 'aegis_calls_total{agent="agent:payer",result="unknown",tenant="acme",tool="pay.neither"}') == 1
    assert value(quiet, 'aegis_cost_micros_total{agent="agent:payer",tenant="acme",tool="pay.costly"}') == 10
    assert value(quiet, 'aegis_repeats_total{tenant="acme",told="idempotency_payload_differs",tool="pay.honours"}') == 1
    assert value(quiet, 'aegis_errors_total{cause="reset",tenant="acme"}') == 2
    assert value(quiet, 'aegis_errors_total{cause="policy-violation",tenant="acme"}') >= 2
    assert value(quiet, 'aegis_approval_wait_seconds_count{result="approved"}') == 1
    assert value(quiet, 'aegis_approvals_pending{tenant="acme"}') == 0
    assert value(quiet, 'aegis_policy_rules_hit{tenant="acme"}') >= 3
    assert value(quiet, 'aegis_policy_rules{tenant="acme"}') > value(quiet, 'aegis_policy_rules_hit{tenant="acme"}')
    assert quiet.call("pay.honours", {"amount": 1600}, "waits").status_code == 403
    assert quiet.send().status_code == 202
    assert value(quiet, 'aegis_approvals_pending{tenant="acme"}') == 1
    assert value(quiet, 'aegis_mailbox_messages{state="ready",tenant="acme"}') == 1
    assert value(quiet, 'aegis_dead_letters{tenant="acme"}') == 1  # the message of no type


def test_what_names_somebody_is_for_the_operator_only(quiet):
    import httpx

    through_every_door(quiet)
    text = httpx.get(quiet.url + "/metrics").text
    assert "aegis_spans_total" in text
    for name in ("acme", "pay.", "agent:", "records"):
        assert name not in text, name


def test_beyond_many_series_everything_is_other(monkeypatch):
    monkeypatch.setattr(module, "MAX_SERIES", 3)
    found = Metrics()
    for number in range(10):
        found.observe(span(Work.UPSTREAM, agent=f"agent:{number}", result="done"))
    found.observe(span(Work.UPSTREAM, agent="agent:1", result="done"))
    text = shown(found)
    assert 'agent="agent:1",result="done",tenant="acme",tool="pay"} 2.0' in text
    assert 'agent="agent:7"' not in text
    assert 'agent="other",result="other",tenant="acme",tool="other"} 7.0' in text


def test_a_made_up_tool_is_unknown(quiet):
    spans = watched(quiet)
    for number in range(3):
        quiet.post("/v1/decide", {"tool": f"evil.number{number}", "arguments": {}})
    assert {each.tool for each in spans} == {"unknown"}
    assert "evil" not in quiet.watch("/metrics").text


def test_a_rule_of_no_policy_is_not_counted_as_hit():
    found = Metrics()
    found.observe(span(Work.DECISION, attributes={names.RULE: ("made#up", "pay.allow")}, result="deny"))
    assert found._hit["acme"] == set()


def test_an_answer_by_command_is_exported_too(traced, collector, capsys):
    import pytest

    held = traced.call("pay.honours", {"amount": 1500}, "k5").json()["approval_id"]
    (traced.root / "aegis.toml").write_text(f'[telemetry]\notlp_url = "{collector.url}"\n')
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "--dir",
                str(traced.root),
                "approvals",
                "approve",
                held,
                "--tenant",
                "acme",
                "--as",
                "person:alice",
                "--reason",
                "looked",
            ]
        )
    assert ended.value.code == 0, capsys.readouterr().err
    collector.wait(lambda c: any(each.name == "await_approval" for each in c.spans))
