"""Where the spans of runs stand: one for a whole run, one below it for each attempt of each step, below that whatever the step did.

Ids of these spans follow from the run, the node and the dispatch, so that every process names the same, whoever carries a step out
and whoever hears of its end. The trace is that of the call that began the run. The event that ends an attempt carries the ids of
its span.
"""

from aegis.crypto.digest import sha256
from aegis.runtime.runs.flow import Flow
from aegis.runtime.trace import Trace, parsed
from aegis.workflow.run import Failed, RunEvent, Succeeded


def of_run(flow: Flow) -> Trace:
    """The span of a run, below the call that began it."""
    above = parsed(flow.traceparent)
    trace_id, parent, flags = above or (_id(f"trace:{flow.run}", 32), "", "01")
    return Trace(trace_id=trace_id, span_id=_id(f"run:{flow.run}", 16), parent_id=parent, flags=flags)


def of_step(flow: Flow, node: str, dispatch: int) -> Trace:
    """The span of one attempt of a node, below its run."""
    run = of_run(flow)
    span_id = _id(f"step:{flow.run}:{node}:{dispatch}", 16)
    return Trace(trace_id=run.trace_id, span_id=span_id, parent_id=run.span_id, flags=run.flags)


def told(flow: Flow, event: RunEvent) -> dict[str, str]:
    """What the event of an attempt's end says of its span; nothing for every other event."""
    return of_step(flow, event.node, event.dispatch).told if isinstance(event, Succeeded | Failed) else {}


def _id(of: str, digits: int) -> str:
    return sha256(b"aegis-span\0" + of.encode()).removeprefix("sha256:")[:digits]
