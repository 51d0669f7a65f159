"""What telemetry costs on the way of a call, and in the thread beside it, for each span.

A call has three spans: the whole, its decision, its conversation with the tool. "Made" is what the loop pays for building one with its
ids and putting it down while nobody takes it; "counted" adds the metrics that are read off it, "queued" the bounded queue. "Encoded"
is paid by the exporter's thread. The SDK of OpenTelemetry with its own batch processor does the same work for comparison.
"""

import statistics
from datetime import UTC, datetime
from time import thread_time_ns
from typing import Any

from aegis.adapters.otlp import encode
from aegis.model import conventions as names
from aegis.model.decision import Decision, Outcome, PolicyRef
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.runtime.spanning import call_span, decision_span
from aegis.runtime.spans import Spans
from aegis.runtime.tenant import Tenant
from aegis.runtime.trace import Trace
from aegis.surfaces.gateway.metrics import Metrics

ROUNDS, EACH = 30, 2000
CALLER = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
NOW = datetime(2026, 1, 7, 11, 0, tzinfo=UTC)


def run() -> list[dict[str, Any]]:
    """Rows: microseconds of CPU for one span, the median of many rounds."""
    return [
        {"what": "made, telemetry off", "us": _timed(_work(Spans()))},
        {"what": "counted, telemetry off", "us": _timed(_work(_watched(Spans())))},
        {"what": "counted and queued, telemetry on", "us": _timed(_work(_wanted(_watched(Spans(limit=10**9)))))},
        {"what": "counted and dropped, queue full", "us": _timed(_work(_wanted(_watched(Spans(limit=1)))))},
        {"what": "encoded, in the thread", "us": _encoded()},
        {"what": "the SDK with its batch processor", "us": _sdk()},
    ]


def _watched(spans: Spans) -> Spans:
    spans.watch(Metrics().observe)
    return spans


def _wanted(spans: Spans) -> Spans:
    spans.wanted = True
    return spans


def _timed(work: Any) -> float:
    found = []
    for _ in range(ROUNDS):
        started = thread_time_ns()
        for _ in range(EACH):
            work()
        found.append((thread_time_ns() - started) / EACH / 1000)
    return round(statistics.median(found), 2)


def _work(spans: Spans) -> Any:
    tenant, proposal, decision = _parts()

    def once() -> None:
        trace = Trace.continued(CALLER)
        spans.put(
            decision_span(
                trace, tenant, proposal, decision, now=NOW, latency_us=900, door="http", event_id="decision:req_1:0", seq=7
            )
        )  # fmt: skip

    return once


def _parts() -> tuple[Tenant, Proposal, Decision]:
    who = Principal(tenant="acme", agent_id="agent:bench", subject="user:nora", roles=("treasury",), scopes=("*",), trust=3)
    proposal = Proposal(
        principal=who, tool="pay.transfer", arguments={}, environment="dev", request_id="req_1", request_hash="sha256:0"
    )
    ref = PolicyRef(name="core", version="25e510691f76", digest="sha256:0")
    tenant = Tenant(
        name="acme", directory=None, contracts={}, by_digest={}, guards=(), policy=ref, environment="dev", redaction_key=b""  # type: ignore[arg-type]
    )  # fmt: skip
    return tenant, proposal, Decision(outcome=Outcome.ALLOW, rules=("allow",), matched=("allow",), policy=ref)


def _encoded() -> float:
    spans = [
        call_span(
            Trace.continued(CALLER), now=NOW, duration_us=2000, tenant="acme", agent="agent:bench", tool="pay.transfer", known=True,
            method="POST", route="/v1/tools/{tool}/call", status=200, request_id="req_1", outcome="allow",
        )
        for _ in range(512)
    ]  # fmt: skip
    found = []
    for _ in range(ROUNDS):
        started = thread_time_ns()
        encode.traces(spans, {names.SERVICE_NAME: "aegis"})
        found.append((thread_time_ns() - started) / len(spans) / 1000)
    return round(statistics.median(found), 2)


def _sdk() -> float | None:
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    except ImportError:
        return None

    class Nowhere(SpanExporter):
        def export(self, spans):  # noqa: ARG002 - the SDK's shape
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("bench")
    told = dict.fromkeys(names.OURS[:14], "value")

    def once() -> None:
        with tracer.start_as_current_span("apply_guardrail aegis", attributes=told):
            pass

    found = _timed(once)
    provider.shutdown()
    return found


if __name__ == "__main__":
    for row in run():
        print(f"{row['us']:>8} us  {row['what']}")
