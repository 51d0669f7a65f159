"""The exporter in a thread of its own: it never blocks the gate, tries again, and counts what is lost."""

import logging
import time

import pytest

from aegis.adapters.otlp import Exporter, exporter, target
from aegis.adapters.otlp.target import Target
from aegis.errors import ConfigError
from aegis.model.span import Span, Work
from aegis.runtime.spans import Spans


def span(number=0, **more):
    now = time.time_ns() // 1000
    made = {
        "work": Work.CALL,
        "name": f"n{number}",
        "tenant": "acme",
        "trace_id": f"{number + 1:032x}",
        "span_id": f"{number + 1:016x}",
    }
    return Span(**made, parent_id="", start_us=now, end_us=now, attributes={}, **more)


@pytest.fixture
def sending(collector, monkeypatch):
    """An exporter to the collector that hurries, and its spans."""
    monkeypatch.setattr(exporter, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(exporter, "FIRST_PAUSE", 0.02)
    made = []

    def start(limit=100, **more):
        spans = Spans(limit)
        made.append(Exporter(Target(url=collector.url, headers=more.pop("headers", {}), resource={}), spans, **more))
        made[-1].start()
        return spans, made[-1]

    yield start
    collector.gate.set()
    for each in made:
        each.stop()


def test_a_busy_collector_is_asked_again_until_it_takes_the_batch(sending, collector):
    collector.answers = [503, 429, 502]
    spans, sender = sending()
    spans.put(span(1))
    assert [each.name for each in collector.wait(lambda c: c.spans)] == ["n1"]
    assert (collector.seen, sender.lost) == (4, 0)


def test_what_a_collector_refuses_is_not_sent_again_and_is_counted(sending, collector):
    collector.answers = [400]
    spans, sender = sending()
    spans.put(span(1))
    collector.wait(lambda _: sender.lost == 1)
    spans.put(span(2))
    assert [each.name for each in collector.wait(lambda c: c.spans)] == ["n2"]


def test_what_a_collector_leaves_out_of_a_batch_is_counted(sending, collector):
    collector.answers = [(200, {}, b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "too old"}}')]
    spans, sender = sending()
    for number in range(3):
        spans.put(span(number))
    collector.wait(lambda _: sender.lost == 2)


@pytest.mark.parametrize(
    "told", [b"", b"[]", b"{", b'{"partialSuccess": 7}', b'{"partialSuccess": {"rejectedSpans": "x"}}', b"\xff"]
)
def test_an_odd_answer_of_a_collector_is_harmless(sending, collector, told):
    collector.answers = [(200, {}, told)]
    spans, sender = sending()
    spans.put(span(1))
    collector.wait(lambda c: c.spans)
    spans.put(span(2))
    collector.wait(lambda c: len(c.spans) == 2)
    assert sender.lost == 0


def test_a_hanging_collector_costs_spans_and_no_time(sending, collector):
    collector.gate.clear()
    spans, sender = sending(limit=10)
    spans.put(span(0))
    collector.wait(lambda c: c.seen == 1)
    for number in range(1, 31):
        spans.put(span(number))
    assert (len(spans), spans.dropped) == (10, 20)
    assert sender.lag_seconds > 0
    collector.gate.set()
    found = collector.wait(lambda c: len(c.spans) == 11 and c.spans)
    assert [each.name for each in found] == [f"n{number}" for number in range(11)]  # the newest were dropped
    collector.wait(lambda _: sender.lag_seconds == 0)


def test_what_waits_at_the_end_is_still_sent(sending, collector):
    spans, sender = sending()
    for number in range(50):
        spans.put(span(number))
    sender.stop()
    assert len(collector.spans) == 50
    spans.put(span(99))
    assert len(spans) == 0


def test_trouble_is_told_once_and_its_end_once(sending, collector, caplog):
    caplog.set_level(logging.WARNING, "aegis.telemetry")
    collector.answers = [503, 503, 503]
    spans, _ = sending(headers={"authorization": "Bearer very-secret"})
    spans.put(span(1))
    collector.wait(lambda c: c.spans)
    collector.wait(lambda _: len(caplog.messages) == 2)
    assert "status 503" in caplog.messages[0]
    assert "again" in caplog.messages[1]
    assert "very-secret" not in caplog.text
    assert collector.headers[0]["authorization"] == "Bearer very-secret"


def test_the_variables_of_opentelemetry_are_honoured():
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/base/",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc,x-team=core, =no,odd",
        "OTEL_SERVICE_NAME": "gateway-7",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,deployment.environment.name=prod",
    }
    found = target("", environ, "host-1")
    assert found.url == "http://collector:4318/base"
    assert found.headers == {"authorization": "Bearer abc", "x-team": "core"}
    assert (found.resource["service.name"], found.resource["deployment.environment.name"]) == ("gateway-7", "prod")
    assert found.resource["service.instance.id"] == "host-1"
    assert target("https://mine:4318", environ, "").url == "https://mine:4318"
    assert target("https://mine:4318", environ | {"OTEL_SDK_DISABLED": "True"}, "") is None
    assert target("", {}, "") is None
    assert "abc" not in repr(found)


@pytest.mark.parametrize(
    "url", ["collector:4318", "grpc://collector:4317", "http://", "http://u:p@collector", "http://c:4318?x=1", "http://c:0"]
)
def test_a_setting_that_is_no_address_is_told_and_a_variable_of_the_cluster_only_logged(url, caplog):
    with pytest.raises(ConfigError, match=r"telemetry\.otlp_url"):
        target(url, {}, "")
    assert target("", {"OTEL_EXPORTER_OTLP_ENDPOINT": url}, "") is None
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in caplog.text
    assert "u:p" not in caplog.text


def test_a_cluster_that_speaks_grpc_gets_nothing_and_the_log_says_so(caplog):
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert target("", environ, "") is None
    assert "grpc" in caplog.text
