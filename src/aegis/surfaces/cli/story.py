"""Events as a person reads them: one line for a list, a paragraph for a request."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click

from aegis.surfaces.cli import output


def one_line(body: Mapping[str, Any]) -> str:
    """An event in one line: place, time, what, who, which tool, why. On a terminal that is too narrow the end hangs below."""
    told, who = _WHAT.get(body["type"], _by)(body), body.get("agent_id", "")
    head = f"{body['seq']:>6}  {body['time'][11:23]}  {body['type']:<19} {output.word(told, 18)}"
    width, room = _HEAD + max(18, len(told)), output.columns(unknown=10_000)
    parts = [part for part in (_tail(body), body.get("request_id", "")) if part]
    end = f" {_joined(parts, body)}" if parts else ""
    for agent in (f" {who:<16}", f" {who}" if who else ""):
        if width + len(agent) + len(click.unstyle(end)) <= room:
            return f"{head}{agent}{end}".rstrip()
    if width + 1 + len(who) <= room:
        head = f"{head} {who}"
    else:
        parts = [who, *parts]
    return "\n".join([head.rstrip(), *(f"{'':8}{_joined(each, body)}" for each in _rows(parts, room - 8))])


def _rows(parts: Sequence[str], room: int) -> Iterator[list[str]]:
    """As many parts in a line as there is room for; one at least."""
    row: list[str] = []
    for part in parts:
        if row and len("  ".join((*row, part))) > room:
            yield row
            row = []
        row.append(part)
    if row:
        yield row


def _joined(parts: Sequence[str], body: Mapping[str, Any]) -> str:
    return "  ".join(click.style(part, dim=True) if part == body.get("request_id") else part for part in parts)


_HEAD = 43


def _by(body: Mapping[str, Any]) -> str:
    return f"by {body['by']}" if body.get("by") else ""


def _changes(body: Mapping[str, Any]) -> str:
    count = len(body.get("changes", ()))
    return f"{count} change{'' if count == 1 else 's'}"


def _asked(body: Mapping[str, Any]) -> str:
    return "of " + " and ".join(" or ".join(group) for group in body.get("approver_sets", ()))


_WHAT: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "decision": lambda body: str(body.get("decision", "")),
    "outcome": lambda body: str(body.get("outcome", "")),
    "approval": lambda body: f"{body.get('answer', '')} by {body.get('approver', '')}",
    "override_used": lambda body: "approval used",  # noqa: ARG005 - one shape for all
    **dict.fromkeys(("approval_asked", "approval_escalated"), _asked),
    "policy_pushed": lambda body: f"version {body.get('number', '')} by {body.get('author', '')}",
    "policy_activated": lambda body: f"{body.get('mode', '')} by {body.get('by', '')}",
    "policy_refused": lambda body: str(body.get("what", "")),
    "permissions_changed": _changes,
    "keys_changed": _changes,
    "delegation": lambda body: "deny" if body.get("decision") == "deny" else f"to {body.get('to', '')}",
    "token_issued": lambda body: str(body.get("grant", "")).replace("_", " "),
    "repeat": lambda body: str(body.get("result", "")),
    **dict.fromkeys(("refusal", "dead_letter", "directory_refused"), lambda body: str(body.get("reason", ""))),
}
_REASON_LAST = ("outcome", "policy_refused", "tool_quarantined", "tool_approved", "revoked", "halt", "contracts_refused")


def _tail(body: Mapping[str, Any]) -> str:
    """Which tool or tenant, by which rules, why."""
    tool = body["tool"] if isinstance(body.get("tool"), Mapping) else {}
    what = f"{tool.get('name', '')}@{tool.get('version', '')}" if body["type"].startswith("tool_") else tool.get("name", "")
    about = {"revoked": ("who", "token", "key"), "halt": ("what", "mode"), "token_issued": ("token_jti",)}.get(body["type"], ())
    whom = " ".join(str(body[name]) for name in about if body.get(name))
    rules = ", ".join(body.get("rules", ())) or (body.get("rule", "") if body["type"] == "false_positive" else "")
    reason = body.get("reason", "") if body["type"] in _REASON_LAST else ""
    of = f"of {body['of']}" if body["type"] == "repeat" and body.get("of") else ""
    parts = (body.get("on_tenant", ""), whom, what, of, rules and f"[{rules}]", reason and f"({reason})")
    return " ".join(part for part in parts if part)


def sentence(events: Sequence[Mapping[str, Any]]) -> str:
    """What became of a request, in one sentence."""
    decision = decided(events)
    if decision is not None and decision["type"] == "delegation":
        return _handed(decision, events)
    if decision is None:
        last = events[-1]
        if last["type"] == "refusal":
            return f"{last.get('agent_id', 'The caller')} was refused before anything was decided: {last.get('what', '')}."
        return f"The request was a repetition of {last.get('of', 'another one')}: {last.get('result', '')}."
    who, tool = decision["agent_id"], decision["tool"]["name"]
    reason = decision["reasons"][0] if decision["reasons"] else {}
    outcome = next((body for body in reversed(events) if body["type"] == "outcome"), None)
    if decision["decision"] == "deny":
        return f"{who} may not call {tool}: {_because(reason) or ', '.join(decision['rules'])}."
    if decision["decision"] == "approval_needed":
        return f"{who} asked for {tool}, which waits for a person ({decision['approval_id']}): {_because(reason)}."
    verb = "was allowed to call" if decision["decision"] == "allow" else "was allowed, redacted, to call"
    by = f" with approval {decision['approval_id']}" if decision.get("approval_id") else ""
    end = (
        f"; the call is {outcome['outcome']}" + (f" ({outcome['reason']})" if outcome.get("reason") else "")
        if outcome
        else ("; no outcome is recorded yet")
    )
    return f"{who} {verb} {tool} by rule {', '.join(decision['rules'])}{by}{end}."


def decided(events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The newest decision about a request."""
    return next((body for body in reversed(events) if body["type"] in ("decision", "delegation", "plan_submitted")), None)


def _handed(made: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """What was handed down, and whether it stands."""
    if made["decision"] == "deny":
        reason = made["reasons"][0] if made["reasons"] else {}
        return f"{made['agent_id']} may not hand this task down: {_because(reason) or ', '.join(made['rules'])}."
    tools = ", ".join(_tool(each) for each in made["tools"]) or ", ".join(made["scopes"])
    task = f" for task {made['task']}" if made.get("task") else ""
    ended = any(body["type"] == "outcome" for body in events)
    stands = "it has ended" if ended else f"it ends by {made['expires_at'][11:19]} at the latest"
    return f"{made['agent_id']} handed {tools} to {made['to']}{task}; {stands}."


def _tool(handed: Mapping[str, Any]) -> str:
    limited = f"within limits on {', '.join(handed['limited'])}" if handed["limited"] else ""
    count = handed.get("calls")
    calls = "" if count is None else "once" if count == 1 else f"{count} times"
    more = ", ".join(part for part in (calls, limited) if part)
    return f"{handed['tool']} ({more})" if more else str(handed["tool"])


def _because(reason: Mapping[str, Any]) -> str:
    if not reason:
        return ""
    limit = f" (limit {output.limit(reason['limit'])})" if "limit" in reason else ""
    field = f" on {reason['field']}{limit}" if reason.get("field") else limit
    text = f": {reason['text']}" if reason.get("text") else ""
    return f"rule {reason['rule']}{field}{text}"
