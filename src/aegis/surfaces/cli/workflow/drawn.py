"""A run for people: its steps as a tree with their states, what each waits for, and the commands that move it on.

It is drawn from the same members that `GET /v1/runs/{run}` answers with, whether they came over HTTP or from the store.
"""

import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from aegis.surfaces.cli import output

Step = Mapping[str, Any]
View = Mapping[str, Any]
WIDTH = 80
_STATE = 12
_ENDED_WELL, _ENDED_BADLY = ("succeeded", "skipped", "compensated"), ("failed", "parked", "compensation_failed", "cancelled")
_SHORT = {"compensation_failed": "undo failed", "compensated": "undone"}


def head(view: View) -> list[tuple[str, str]]:
    """The run itself, as names and values."""
    return [
        ("run", view["run"]),
        ("workflow", f"{view['workflow']} {view['version']}"),
        ("state", view["state"] + (", cancelled" if view.get("cancelled") and view["state"] != "cancelled" else "")),
        ("started", f"{_ago(view['started_at'])} by {view['started_by']}" + _for(view)),
        ("ended", _ago(view["ended_at"]) if view.get("ended_at") else ""),
        ("failure", view.get("failure", "") if view.get("failure") != view["state"] else ""),
        ("for", f"step {view['above']['node']} of run {view['above']['run']}" if view.get("above") else ""),
        ("budget", budget(view)),
        ("runbook", view.get("runbook", "") if view["state"] == "stuck" else ""),
    ]


def lines(view: View) -> Iterator[str]:
    """The steps, one or more lines each, at most 80 columns."""
    steps = view.get("steps", ())
    room = min(32, max((len(_name(step)) for step in steps), default=0))
    for step in steps:
        yield from _step(step, room)


def plain(step: Step) -> str:
    """One step on one line, for output that is no terminal."""
    said = detail(step)
    return f"{step['node']}: {_word(step)}" + (f" ({said})" if said else "")


def wrapped(line: str) -> list[str]:
    """A line of at most 80 columns, or more of them, set in."""
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False) or [""]


def detail(step: Step) -> str:
    """What there is to say of a step beside its state."""
    return "; ".join(filter(None, (_attempts(step), waiting(step.get("waits")), _why(step), _child(step))))


def waiting(waits: Mapping[str, Any] | None) -> str:
    """What a step waits for, in words."""
    if not waits:
        return ""
    until = f" until {_at(waits['until'])}" if waits.get("until") else ""
    return {
        "approval": f"waits for a person: {waits.get('approval_id')}{until}",
        "signal": f"waits for the signal {waits.get('signal')}{until}",
        "time": f"waits{until}",
        "attempt": f"tries again at {_at(waits['until'])}" if waits.get("until") else "tries again",
        "worker": f"waits for a worker of queue {waits.get('queue')}",
        "person": "waits for a person to look at it",
    }.get(str(waits["what"]), str(waits["what"]) + until)


def budget(view: View) -> str:
    """What was spent, what is held back, and the limits that there are."""
    spent, held, limits = (view.get(name, {}) for name in ("spent", "reserved", "budget"))
    found = []
    for name, unit in (("calls", "calls"), ("tokens", "tokens"), ("micros", "USD")):
        if spent.get(name) or limits.get(name) is not None:
            say = _money if name == "micros" else str
            reserved = f" (+{say(held[name])} reserved)" if held.get(name) else ""
            limit = f" of {say(limits[name])}" if limits.get(name) is not None else ""
            found.append(f"{say(spent.get(name, 0))}{reserved}{limit} {_unit(unit, limits.get(name) or spent.get(name))}".strip())
    return ", ".join(found)


def _unit(many: str, count: int | None) -> str:
    return many.removesuffix("s") if count == 1 else many


def commands(view: View) -> list[str]:
    """What to run next, for whoever may."""
    run, found = view["run"], []
    if view.get("halted"):
        found.append(f"aegis resume run:{run} --as person:NAME --reason WHY")
    for step in view.get("steps", ()):
        found += _commands(run, step)
    return list(dict.fromkeys(found))


def _commands(run: str, step: Step) -> list[str]:
    waits = step.get("waits") or {}
    what = waits.get("what")
    if what == "approval":
        return [f"aegis approvals approve {waits['approval_id']} --as person:NAME"]
    if what == "signal":
        return [f"aegis workflow signal {run} {waits['signal']} --as WHO -p NAME=VALUE"]
    if what == "person" and step.get("why") == "erased":
        return [f"aegis workflow cancel {run} --as person:NAME"]
    if what == "person":
        return [f"aegis dlq show {run}/{step['node']}", f"aegis workflow retry {run} {step['node']} --as person:NAME"]
    if what == "worker":
        return [f"aegis queue show {waits['queue']}"]
    return [f"aegis workflow show {step['child']}"] if step.get("child") and step["state"] in ("offered", "issued") else []


def _step(step: Step, room: int) -> Iterator[str]:
    name = _name(step)
    label = f"  {name.ljust(room)}  "
    does = f"{step['kind']} {step['name']}".strip()
    state = _SHORT.get(_word(step), _word(step))
    yield (label + output.word(state, _STATE) + " " + output.harmless(does))[: WIDTH + 20].rstrip()
    said = output.harmless(detail(step))
    if said:
        indent = " " * (len(label) + 2)
        yield from textwrap.wrap(said, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _name(step: Step) -> str:
    """Elements and turns are set in below their step."""
    return ("  " if step["node"] != step["step"] else "") + str(step["node"])


def _word(step: Step) -> str:
    if step["state"] in ("issued", "offered") and step.get("waits") is None and not step.get("dispatch"):
        return "running"
    return {"issued": "running", "undoing": "undoing"}.get(str(step["state"]), str(step["state"]))


def _attempts(step: Step) -> str:
    attempt = step.get("undo_attempt") or step.get("attempt", 0)
    of = step.get("attempts", 0)
    return f"attempt {attempt} of {of}" if attempt > 1 else ""


def _why(step: Step) -> str:
    why, text = step.get("why", ""), step.get("text", "")
    if step.get("outcome") in ("rejected", "expired", "timed_out", "denied") and step["outcome"] not in why:
        why = f"{step['outcome']}: {why}" if why else step["outcome"]
    return f"{why}: {text}" if why and text else why or text


def _child(step: Step) -> str:
    return f"run {step['child']}" if step.get("child") else ""


def _for(view: View) -> str:
    return f" for {view['subject']}" if view.get("subject") and view["subject"] != view["started_by"] else ""


def _money(micros: int) -> str:
    return f"{micros // 1_000_000}.{micros % 1_000_000:06d}".rstrip("0").rstrip(".")


def _ago(time: Any) -> str:
    return output.ago(_moment(time)) if time else ""


def _at(time: Any) -> str:
    return f"{_moment(time):%Y-%m-%d %H:%M:%S}Z"


def _moment(time: Any) -> datetime:
    return time if isinstance(time, datetime) else datetime.fromisoformat(str(time))
