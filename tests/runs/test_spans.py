"""A run is one tree of spans that agree with the journal, and metrics are read off them."""

import time

import msgspec
import pytest

from aegis.model.span import Work
from aegis.runtime.spancheck import differences
from runs.operated import Wanted, go, operated


@pytest.fixture
def o(tmp_path):
    with operated(tmp_path) as made:
        yield made


def watched(o):
    """The spans that this gateway puts down from now on."""
    found = []
    o.app.gate.spans.watch(found.append)
    return found


def until(there, seconds=10):
    """Spans are put down right behind the commit that tells of the end."""
    deadline = time.monotonic() + seconds
    while not there() and time.monotonic() < deadline:
        time.sleep(0.01)


def of(spans, work):
    return [span for span in spans if span.work is work]


def metric(o, line):
    return next((float(each.split()[-1]) for each in o.watch("/metrics").text.splitlines() if each.startswith(line)), None)


def test_a_run_is_a_tree_of_spans_below_the_call_that_began_it(o):
    spans = watched(o)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    begun = o.call("workflow.risky", {"amount": 7}, "k1", traceparent=f"00-{trace}-00f067aa0ba902b7-01").json()["result"]["run"]
    o.until(begun, "waiting")
    o.by_agent(go(begun))
    o.until(begun, "succeeded")

    until(lambda: of(spans, Work.RUN))
    [run] = of(spans, Work.RUN)
    steps = of(spans, Work.STEP)
    assert (run.name, run.trace_id, run.result, run.attributes["aegis.run.id"]) == ("run_workflow risky", trace, "succeeded", begun)
    assert run.parent_id in {span.span_id for span in spans if span.trace_id == trace}
    assert [(span.name, span.parent_id, span.result) for span in steps] == [
        ("take_step first", run.span_id, "succeeded"), ("take_step second", run.span_id, "succeeded"),
    ]  # fmt: skip
    decided = [span for span in of(spans, Work.DECISION) if span.attributes.get("gen_ai.tool.name") == "pay.honours"]
    above = {span.span_id: span for span in spans}
    for span in decided:
        parents = [span.parent_id]
        while parents[-1] in above:
            parents.append(above[parents[-1]].parent_id)
        assert {step.span_id for step in steps} & set(parents)
        assert run.span_id in parents


def test_step_spans_tell_what_the_journal_tells(o):
    spans = watched(o)
    run = o.parked()
    o.by_person(Wanted(action="discard", run=run, node="second"))
    o.until(run, "compensated")
    until(lambda: of(spans, Work.RUN))

    steps = of(spans, Work.STEP)
    assert [span.result for span in steps] == ["succeeded", "parked", "undone"]
    for span in steps:
        stored = o.inside(lambda app, span=span: app.gate.store.event("acme", span.attributes["aegis.audit.event"]))
        ids = {"trace_id": span.trace_id, "span_id": span.span_id, "parent_span_id": span.parent_id}
        assert differences(span.attributes, ids, msgspec.json.decode(stored.body)) == ()
    assert [span.error for span in of(spans, Work.RUN)] == ["compensated"]


def test_metrics_tell_of_runs_steps_and_dead_letters(o):
    run = o.parked()
    o.waiting(key="k2")
    until(lambda: metric(o, 'aegis_steps_total{result="succeeded",tenant="acme",workflow="risky"}') == 2)

    assert metric(o, 'aegis_steps_total{result="parked",tenant="acme",workflow="risky"}') == 1
    assert metric(o, 'aegis_steps_total{result="succeeded",tenant="acme",workflow="risky"}') == 2
    assert metric(o, 'aegis_runs_open{state="waiting",tenant="acme"}') == 2
    o.by_person(Wanted(action="edit", run=run, node="second", arguments={"amount": 9}))
    o.until(run, "succeeded")
    until(lambda: metric(o, 'aegis_run_seconds_count{result="succeeded"}'))
    assert metric(o, 'aegis_runs_total{result="succeeded",tenant="acme",workflow="risky"}') == 1
    assert metric(o, 'aegis_run_seconds_count{result="succeeded"}') == 1
    assert metric(o, 'aegis_step_seconds_count{result="parked"}') == 1
    assert metric(o, 'aegis_runs_open{state="waiting",tenant="acme"}') == 1
