"""Puts the spans of runs down: of an attempt when it ends, of a run when it has ended. Metrics are read off them."""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

from aegis.model import conventions as names
from aegis.model.span import Span, Value, Work
from aegis.runtime.record import text
from aegis.runtime.runs.flow import Flow
from aegis.runtime.runs.histories import Loaded
from aegis.runtime.runs.journaled import event_id
from aegis.runtime.runs.traced import of_run, of_step
from aegis.runtime.spanning import micros
from aegis.runtime.spans import Spans
from aegis.runtime.trace import Trace
from aegis.workflow.graph import step_of
from aegis.workflow.run import Act, Command, Failed, Finish, NodeState, RunEvent, Succeeded, Undo

KEPT = 65_536
PLAN = "plan"
_ENDED = {
    NodeState.PARKED: "parked",
    NodeState.PAUSED: "retried",
    NodeState.COMPENSATED: "undone",
    NodeState.UNDO_FAILED: "undo_failed",
}


class Tracing:
    """Puts the spans down. It knows when an attempt began only where its command was issued by this process."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._begun: OrderedDict[tuple[str, str, str, int], datetime] = OrderedDict()

    def issued(self, loaded: Loaded, commands: Sequence[Command]) -> None:
        """Commands went out; one of them may be that the run has ended."""
        at = _now(loaded.flow)
        for command in commands:
            if isinstance(command, Finish):
                self._spans.put(_run(loaded))
            elif isinstance(command, Act | Undo):
                self._begun[loaded.tenant, loaded.flow.run, command.node, command.dispatch] = at
        while len(self._begun) > KEPT:
            self._begun.popitem(last=False)

    def moved(self, loaded: Loaded, event: RunEvent) -> None:
        """An event was committed; `loaded` is the run after it."""
        if isinstance(event, Succeeded | Failed):
            self._spans.put(self._step(loaded, event))

    def _step(self, loaded: Loaded, event: Succeeded | Failed) -> Span:
        now, name = _now(loaded.flow), event_id(loaded.flow.run, event, 0)
        flow, step = loaded.flow, loaded.workflow.step(step_of(event.node))
        node = loaded.state.nodes.get(event.node)
        began = self._begun.pop((loaded.tenant, flow.run, event.node, event.dispatch), now)
        result = _ENDED.get(node.state, event.outcome) if node is not None else event.outcome
        attributes: dict[str, Value] = {
            names.TENANT: loaded.tenant,
            names.RUN_ID: flow.run,
            names.REQUEST_ID: flow.run,
            names.AGENT_ID: flow.starter.agent_id,
            names.WORKFLOW: flow.workflow,
            names.WORKFLOW_VERSION: flow.version,
            names.STEP: event.node,
            names.OUTCOME: event.outcome,
            names.AUDIT_EVENT: name,
        }
        if node is not None:
            attributes[names.ATTEMPT] = node.undo_attempt or node.attempt
        return _made(
            Work.STEP, f"{names.TAKE_STEP} {step.id}", loaded, of_step(flow, event.node, event.dispatch), began, now, attributes,
            result=result, error=text(event.kind, 64) if isinstance(event, Failed) else "",
        )  # fmt: skip


def _run(loaded: Loaded) -> Span:
    flow = loaded.flow
    attributes: dict[str, Value] = {
        names.TENANT: loaded.tenant,
        names.RUN_ID: flow.run,
        names.AGENT_ID: flow.starter.agent_id,
        names.WORKFLOW: flow.workflow,
        names.WORKFLOW_VERSION: flow.version,
        names.OUTCOME: str(loaded.state.status),
        names.COST: loaded.state.spent.micros,
    }
    failed = str(loaded.state.status) if loaded.state.failure else ""
    return _made(
        Work.RUN, f"{names.RUN_WORKFLOW} {_named(flow)}", loaded, of_run(flow), flow.started_at, flow.ended_at or flow.started_at,
        attributes, result=str(loaded.state.status), error=failed,
    )  # fmt: skip


def _made(
    work: Work, name: str, loaded: Loaded, trace: Trace, start: datetime, end: datetime, attributes: dict[str, Value], *,
    result: str, error: str,
) -> Span:  # fmt: skip
    return Span(
        work=work, name=name, tenant=loaded.tenant, trace_id=trace.trace_id, span_id=trace.span_id, parent_id=trace.parent_id,
        flags=trace.flags, start_us=min(micros(start), micros(end)), end_us=micros(end), attributes=attributes,
        tool=_named(loaded.flow), agent=loaded.flow.starter.agent_id, result=result, error=error,
    )  # fmt: skip


def _now(flow: Flow) -> datetime:
    """The time of the newest event: an event that is told here was stamped when it was committed."""
    return flow.moved_at or flow.started_at


def _named(flow: Flow) -> str:
    """The name of the workflow for labels; plans have names of agents' own making, of which there is no end."""
    return PLAN if flow.plan else flow.workflow
