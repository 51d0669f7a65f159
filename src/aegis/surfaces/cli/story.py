"""Events as a person reads them: one line for a list, a paragraph for a request."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from aegis.surfaces.cli import output


def one_line(body: Mapping[str, Any]) -> str:
    """An event in one line: place, time, what, who, which tool, why."""
    what = {
        "decision": body.get("decision", ""),
        "outcome": body.get("outcome", ""),
        "approval": f"{body.get('answer', '')} by {body.get('approver', '')}",
        "override_used": "approval used",
        "refusal": body.get("reason", ""),
        "dead_letter": body.get("reason", ""),
        "false_positive": f"by {body.get('by', '')}",
        "policy_pushed": f"version {body.get('number', '')} by {body.get('author', '')}",
        "policy_activated": f"{body.get('mode', '')} by {body.get('by', '')}",
        "policy_refused": body.get("what", ""),
        "permissions_changed": f"{len(body.get('changes', ()))} changes",
        "directory_refused": body.get("reason", ""),
        "delegation": body.get("decision", "") if body.get("decision") == "deny" else f"to {body.get('to', '')}",
        "token_issued": str(body.get("grant", "")).replace("_", " "),
        "keys_changed": f"{len(body.get('changes', ()))} changes",
        "repeat": f"repeat of {body.get('of', '')}: {body.get('result', '')}",
    }.get(body["type"], "")
    tool = body.get("tool", {}).get("name", "") if isinstance(body.get("tool"), Mapping) else ""
    rules = ", ".join(body.get("rules", ())) or (body.get("rule", "") if body["type"] == "false_positive" else "")
    reason = body.get("reason", "") if body["type"] in ("outcome", "policy_refused") else ""
    tool = body["on_tenant"] if body["type"] in ("policy_activated", "policy_refused") else tool
    tail = " ".join(part for part in (tool, rules and f"[{rules}]", reason and f"({reason})") if part)
    head = (
        f"{body['seq']:>6}  {body['time'][11:23]}  {body['type']:<19} {output.word(what, 16)} {body.get('agent_id', ''):<18} {tail}"
    )
    return f"{head}  {click.style(body.get('request_id', ''), dim=True)}"


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
    return next((body for body in reversed(events) if body["type"] in ("decision", "delegation")), None)


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
