"""Laws of the encoding: whatever a span holds, the official messages read it, and it is harmless."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from aegis.adapters.otlp import encode, measures
from aegis.model.span import Kind, Span, Work
from aegis.runtime.trace import Trace, parsed
from telemetry.collector import attributes
from telemetry.collector import parsed as official

texts = st.text(st.characters(), max_size=400)  # surrogates too
values = st.one_of(texts, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.lists(texts, max_size=80).map(tuple))


def one(**more):
    made = {
        "work": Work.DECISION, "name": "n", "tenant": "acme", "trace_id": "1" * 32, "span_id": "2" * 16, "parent_id": "",
        "start_us": 1_700_000_000_000_000, "end_us": 1_700_000_000_000_001, "attributes": {},
    }  # fmt: skip
    return Span(**made | more)


def harmless(value):
    return isinstance(value, bool | int) or (isinstance(value, str) and value.isprintable() and len(value) <= 256)


@given(name=texts, told=st.dictionaries(st.sampled_from(["a", "b", "c"]), values), error=texts, kind=st.sampled_from(Kind))
def test_whatever_a_span_holds_is_read_back_harmless(name, told, error, kind):
    span = one(name=name, attributes=told, error=error, kind=kind, parent_id="3" * 16, links=(("4" * 32, "5" * 16),))
    found = official("/v1/traces", encode.traces([span], {"service.name": name[:5]})).resource_spans[0].scope_spans[0].spans[0]
    read = attributes(found.attributes)
    assert harmless(found.name)
    assert harmless(found.status.message)
    assert set(read) == set(told) | ({"error.type"} if error else set())
    for key, value in read.items():
        assert all(map(harmless, value)) if isinstance(value, list) else harmless(value)
        if isinstance(value, int):
            assert value == told[key]
    assert found.end_time_unix_nano - found.start_time_unix_nano == 1000
    assert found.links[0].span_id.hex() == "5" * 16


@given(st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=50))
def test_a_histogram_says_the_same_to_both(seen):
    registry = CollectorRegistry()
    found = Histogram("aegis_decision_seconds", "x", registry=registry, buckets=(0.5, 1, 10))
    for each in seen:
        found.observe(each)
    body = measures.metrics(registry.collect(), {}, start_ns=1, now_ns=2)
    point = official("/v1/metrics", body).resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0]
    bounds = [0, 0.5, 1, 10, float("inf")]
    wanted = [sum(1 for each in seen if (low < each or low == 0) and each <= high) for low, high in pairwise(bounds)]
    assert (list(point.bucket_counts), point.count) == (wanted, len(seen))
    assert abs(point.sum - sum(seen)) < 1e-6


@given(st.text(max_size=80))
def test_what_we_pass_on_is_always_a_valid_header_in_which_we_are_found(header):
    trace = Trace.continued(header)
    for each in (trace, trace.child(), trace.beside()):
        assert parsed(each.traceparent) == (trace.trace_id, each.span_id, trace.flags)
    assert trace.child().parent_id == trace.span_id
    assert trace.beside().parent_id == (trace.parent_id or trace.span_id)
