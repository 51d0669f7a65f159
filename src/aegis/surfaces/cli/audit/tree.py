"""A story as a tree in 80 columns: each request below the one on whose behalf it was made, what happened to it in order."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from aegis.surfaces.cli import output
from aegis.surfaces.cli.audit import flows

WIDTH = 80
Body = Mapping[str, Any]
Requests = Mapping[str, Sequence[Body]]


def drawn(requests: Requests) -> Iterator[str]:
    """The lines of the tree."""
    below: dict[str, list[str]] = {}
    for name, events in requests.items():
        above = parent(events)
        below.setdefault(above if above in requests and above != name else "", []).append(name)
    for name in below.get("", ()):
        yield from _node(requests, below, name, "", "")


def parent(events: Sequence[Body]) -> str:
    """The request on whose behalf this one was made."""
    return next((body["parent_request_id"] for body in events if body.get("parent_request_id")), "")


def _node(requests: Requests, below: Mapping[str, list[str]], name: str, first: str, rest: str) -> Iterator[str]:
    events, children = requests[name], below.get(name, [])
    yield from _wrapped(f"{_time(events[0])}  {title(events)}", first, rest + "  ")
    inner = rest + ("│ " if children else "  ")
    for line in (name, *details(events)):
        yield from _wrapped(line, inner, inner + "  ")
    for child in children:
        last = child is children[-1]
        yield from _node(requests, below, child, rest + ("└ " if last else "├ "), rest + ("  " if last else "│ "))


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def title(events: Sequence[Body]) -> str:
    """Who wanted what, and what the newest decision is."""
    made = next((body for body in reversed(events) if body["type"] in ("decision", "delegation", "plan_submitted")), None)
    if made is None and (run := flows.title(events)):
        return run
    if made is None:
        return f"{events[0].get('agent_id') or events[0].get('by') or 'somebody'}: {_plain(events[0])}"
    if made["type"] == "delegation" and made.get("to"):
        tools = ", ".join(each["tool"] for each in made.get("tools", ())) or ", ".join(made.get("scopes", ()))
        wanted = f"hands {tools} to {made['to']}"
    elif made["type"] == "plan_submitted":
        wanted = f"submits the plan {made['plan']['name']}"
    else:
        wanted = "hands a task down" if made["type"] == "delegation" else f"calls {made['tool']['name']}"
    return f"{made['agent_id']} {wanted}: {made['decision']}"


def details(events: Sequence[Body]) -> Iterator[str]:
    """What happened to a request, in order. The first decision needs no time: it is in the title."""
    decisions = 0
    for body in events:
        if body["type"] in ("decision", "delegation", "plan_submitted"):
            decisions += 1
            yield from _decided(body, again=decisions > 1)
        else:
            tell = _TOLD.get(body["type"])
            yield f"{_time(body)}  {tell(body, events) if tell else _plain(body)}"


def _decided(body: Body, *, again: bool) -> Iterator[str]:
    if again:
        yield f"{_time(body)}  decided again: {body['decision']}"
    if body["type"] == "delegation" and body.get("expires_at"):
        yield f"task {body.get('task') or 'without a name'}, until {body['expires_at'][11:19]}"
    told = {reason["rule"]: because(reason) for reason in body.get("reasons", ())}
    for rule in dict.fromkeys([*body.get("rules", ()), *told]):
        yield f"by rule {told.get(rule, rule)}"
    if body.get("cost_micros"):
        yield f"costs {money(body['cost_micros'])}"


def because(reason: Body) -> str:
    """A rule with the field and the limit that it turned on, and the words of the policy."""
    limit = f" (limit {output.limit(reason['limit'])})" if "limit" in reason else ""
    field = f" on {reason['field']}" if reason.get("field") else ""
    return f"{reason['rule']}{field}{limit}" + (f": {reason['text']}" if reason.get("text") else "")


def money(micros: int) -> str:
    """Millionths in the tenant's unit of money."""
    return f"{micros // 1_000_000}.{micros % 1_000_000:06}".rstrip("0").rstrip(".")


def lasted(start: str, end: str) -> str:
    """How long it was between two times."""
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _answered(body: Body, events: Sequence[Body]) -> str:
    asked = next((each for each in events if each.get("decision") == "approval_needed"), None)
    after = f" after {lasted(asked['time'], body['time'])}" if asked else ""
    said = "approved" if body.get("answer") == "approve" else "denied"
    state = " (more answers are needed)" if body.get("state") == "pending" else ""
    reason = f": {body['reason']}" if body.get("reason") else ""
    return f"{said} by {body.get('approver', '')}{after}{state}{reason}"


def _used(body: Body, _: Sequence[Body]) -> str:
    by = ", ".join(body.get("approvers", ()))
    asked = body.get("held_request_id", "")
    held = f", which {asked} asked for" if asked not in ("", body["request_id"]) else ""
    return f"used approval {body.get('approval_id', '')} of {by}{held}"


def _ended(body: Body, _: Sequence[Body]) -> str:
    status = f", the tool answered {body['upstream_status']}" if body.get("upstream_status") else ""
    took = f" after {body['duration_us'] / 1000:.0f} ms" if body.get("duration_us") else ""
    by = f", by {body['by']}" if body.get("by") else ""
    late = "late: " if body["type"] == "late_outcome" else ""
    return f"{late}{body.get('outcome', '')}{status}{took}{by}" + (f" ({body['reason']})" if body.get("reason") else "")


def _token(body: Body, _: Sequence[Body]) -> str:
    return f"token {body.get('token_jti', '')} for {body.get('agent_id', '')}, until {body.get('expires_at', '')[11:19]}"


def _message(body: Body, _: Sequence[Body]) -> str:
    to = ", ".join(each["to"] for each in body.get("messages", ()))
    return f"message {body.get('message', {}).get('type', '')} to {to}"


_TOLD: Mapping[str, Callable[[Body, Sequence[Body]], str]] = {
    "approval": _answered,
    "override_used": _used,
    "outcome": _ended,
    "late_outcome": _ended,
    "token_issued": _token,
    "message": _message,
    **flows.TOLD,
}


def _plain(body: Body) -> str:
    """An event of which nothing more is known than what it says itself."""
    parts = [
        body["type"].replace("_", " "),
        *(str(body[name]) for name in ("of", "result", "by", "reason", "what") if body.get(name)),
    ]
    return ", ".join(parts)


def _time(body: Body) -> str:
    return str(body["time"][11:23])
