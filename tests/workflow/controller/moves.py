"""Everything that can happen next to a run: for each node and for the run, the events that the table lets through, made concrete."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from aegis.workflow.graph import Amount, Step, Workflow, step_of
from aegis.workflow.run import (
    CancelAsked,
    Discarded,
    Escalated,
    Failed,
    Halted,
    Held,
    Node,
    Offered,
    Redispatched,
    Released,
    Requeued,
    Resumed,
    RunEvent,
    SettledByHand,
    Signalled,
    State,
    Succeeded,
    TimedOut,
    Usage,
    Waited,
)
from aegis.workflow.table import NODE, RUN, of_node, of_run, tag
from workflow.controller.play import T0

GOOD = frozenset({"succeeded", "waited", "released", "resumed", "discarded", "settled", "signalled"})


def moves(definition: Workflow, state: State, at: Any = T0) -> list[RunEvent]:
    """Every event that the table allows, in a fixed order; a few of each where values matter."""
    found = list(_of_run(definition, state, at))
    for name, node in state.nodes.items():
        step = definition.step(step_of(name))
        for word in sorted(NODE[of_node(node, step, unwinding=state.unwinding)]):
            found += _of_node(word, name, node, step, at)
    return [event for event in found if tag(event) in RUN[of_run(state)] and _allowed(state, event)]


def _allowed(state: State, event: RunEvent) -> bool:
    """Beside the table: while a run unwinds a parked node is asked for again only as it was, and not while halted."""
    if not isinstance(event, Requeued) or not state.unwinding or str(state.nodes[event.node].state) != "parked":
        return True
    return not event.edited and not state.halted


def _of_run(definition: Workflow, state: State, at: Any) -> Iterator[RunEvent]:
    yield CancelAsked(at=at, by="person:ada")
    yield TimedOut(at=at)
    yield Halted(at=at, by="person:ada")
    yield Resumed(at=at, by="person:ada")
    for step in definition.steps:
        if step.wait is not None and step.wait.signal and f"{step.wait.signal}/k" not in state.keys:
            yield Signalled(at=at, name=step.wait.signal, key="k", payload={"id": "from-outside"})


def _of_node(word: str, name: str, node: Node, step: Step, at: Any) -> list[RunEvent]:
    on: dict[str, Any] = {"at": at, "node": name, "dispatch": node.dispatch}
    hand: dict[str, Any] = {"at": at, "node": name, "by": "person:ada"}
    used = Usage(amount=Amount(calls=2))
    made: dict[str, list[RunEvent]] = {
        "succeeded": [
            Succeeded(**on, output=_output(name, step), outcome="approved" if step.kind == "approval" else "succeeded", usage=used)
        ],
        "failed": [
            Failed(**on, kind="flaky", again=True),
            Failed(**on, kind="broken"),
            Failed(**on, kind="unknown", again=True),
            Failed(**on, kind="timed_out", outcome="timed_out", again=True),
        ],
        "offered": [Offered(**on)] if step.kind in {"agent", "workflow"} else [],
        "held": [Held(**on, approval_id="apr_1", expires_at=at + timedelta(days=1))] if step.kind in {"tool", "approval"} else [],
        "escalated": [],
        "released": [Released(**on)],
        "redispatched": [Redispatched(**on, why="gone")],
        "waited": [Waited(**on)],
        "requeued": [Requeued(**hand), Requeued(**hand, edited=True, arguments={"edited": True})],
        "discarded": [Discarded(**hand)],
        "settled": [SettledByHand(**hand)],
    }
    if str(node.state) in {"held", "waiting"} or node.approval_id:
        made["failed"] = [Failed(**on, kind="refused", outcome="rejected")]
    if step.kind == "approval":
        made["failed"] = made["failed"][-1:] if str(node.state) == "held" else made["failed"]
    made["escalated"] = [Escalated(**on, approval_id=node.approval_id)] if node.approval_id else []
    return made[word]


def _output(name: str, step: Step) -> Any:
    return {"id": f"{name}-made", "list": [{"n": 1}, {"n": 2}], "ok": "~" in name, "kind": step.kind}
