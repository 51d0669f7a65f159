"""The events of a run in words, for the story that `aegis audit show` tells."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Body = Mapping[str, Any]
PREFIX = "workflow_"


def title(events: Sequence[Body]) -> str:
    """Who started which workflow, and how the run stands; empty when these are no events of a run."""
    mine = [body for body in events if body["type"].startswith(PREFIX)]
    if not mine:
        return ""
    flow = mine[0]["workflow"]
    return f"{mine[0]['agent_id']} runs {flow['name']} {flow['version']}: {mine[-1]['status']}"


def _failed(body: Body, event: Body) -> str:
    text = f": {event['text']}" if event.get("text") else ""
    again = f"; again after {event.get('pause_ms', 0) / 1000:.1f} s" if event.get("again") and body["status"] != "unwinding" else ""
    return f"{body['step']} failed, {body.get('reason', '')}{text}{again}"


def _succeeded(body: Body, event: Body) -> str:
    outcome = event.get("outcome", "succeeded")
    model = event.get("usage", {}).get("model", {})
    by = f", by model {model['id']} {model.get('version', '')}".rstrip() if model.get("id") else ""
    return f"{body['step']} {outcome}{by}"


def _by(words: str) -> Callable[[Body, Body], str]:
    def tell(body: Body, event: Body) -> str:
        reason = f": {event['reason']}" if event.get("reason") else ""
        return f"{words.format(step=body.get('step', ''))} by {body.get('by', '')}{reason}"

    return tell


_WORDS: Mapping[str, Callable[[Body, Body], str]] = {
    "started": lambda body, event: "started",  # noqa: ARG005 - all have one shape
    "succeeded": _succeeded,
    "failed": _failed,
    "offered": lambda body, event: f"{body['step']} waits for a worker",  # noqa: ARG005
    "held": lambda body, event: f"{body['step']} waits for approval {event.get('approval_id', '')}",
    "escalated": lambda body, event: f"{body['step']}: more people may answer {event.get('approval_id', '')}",
    "released": lambda body, event: f"{body['step']} was approved",  # noqa: ARG005
    "redispatched": lambda body, event: f"{body['step']} is given out again: {event.get('why', '')}",
    "waited": lambda body, event: f"{body['step']} is tried again",  # noqa: ARG005
    "signalled": lambda body, event: f"signal {event.get('name', '')} came",  # noqa: ARG005
    "cancel": _by("cancelled"),
    "timed_out": lambda body, event: "the time of the run is over",  # noqa: ARG005
    "halted": _by("halted"),
    "resumed": _by("resumed"),
    "requeued": _by("{step} given new attempts"),
    "discarded": _by("{step} given up"),
    "settled": _by("{step} settled by hand"),
}


def told(body: Body, events: Sequence[Body]) -> str:  # noqa: ARG001 - the shape of every telling
    """One event of a run."""
    event = body.get("event", {})
    tell = _WORDS.get(body["type"].removeprefix(PREFIX))
    return tell(body, event) if tell is not None else body["type"].replace("_", " ")


def operated(body: Body, events: Sequence[Body]) -> str:  # noqa: ARG001 - the shape of every telling
    """The evidence beside what somebody did to a run."""
    step = f" {body['step']}" if body.get("step") else ""
    shown = "signed" if body.get("statement") else f"permitted by {body.get('decision_request', '')}"
    reason = f": {body['reason']}" if body.get("reason") else ""
    return f"{body['action']}{step} asked for by {body.get('by', '')}, {shown}{reason}"


TOLD: Mapping[str, Callable[[Body, Sequence[Body]], str]] = {
    **{PREFIX + word: told for word in _WORDS},
    "run_operated": operated,
}
