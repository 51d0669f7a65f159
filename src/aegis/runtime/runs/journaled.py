"""A run's events as events of the journal, and back.

What is public stands in the event, in the words of `workflow.run`; values (inputs, outputs, payloads, arguments) are sealed beside
it. Text that came from outside is cleaned before anything is made of it, so that what was live and what is read again are equal.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from aegis.crypto import ijson
from aegis.errors import InputError
from aegis.journal.unit import Payload
from aegis.model.event import Event, Stored
from aegis.model.proposal import canon_arguments
from aegis.runtime.record import commitment, text
from aegis.runtime.runs import traced
from aegis.runtime.runs.flow import Flow
from aegis.workflow.run import Act, Command, Finish, RunEvent, Sleep, State, Undo, Withdraw

PREFIX = "workflow_"
VALUE, STATE = "value", "state"
_VALUES = ("input", "output", "payload", "arguments")
_TEXTS = {"text": 512, "why": 256, "reason": 256, "kind": 64, "name": 128, "key": 128, "by": 128}
_COUNTED = frozenset({"cancel", "timed_out", "halted", "resumed", "requeued", "discarded", "settled", "escalated"})
MAX_COMMANDS = 64


def cleaned(event: RunEvent) -> RunEvent:
    """The event as it will be read again: text that came from outside is cut and stripped, values are plain JSON."""
    changed: dict[str, Any] = {}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name in _TEXTS:
            changed[name] = text(value, _TEXTS[name])
        elif name in _VALUES and value is not None:
            changed[name] = _plain(value)
    return replace(event, **changed)


def event_id(run: str, event: RunEvent, number: int) -> str:
    """Deterministic: the same answer under the same dispatch number is the same event, whoever commits it."""
    tag = str(event.__struct_config__.tag)
    if tag == "started":
        return f"{run}:started"
    if tag == "signalled":
        return f"{run}:signal:{getattr(event, 'name', '')}:{getattr(event, 'key', '')}"
    if tag in _COUNTED:
        return f"{run}:{number}:{tag}"
    return f"{run}:{getattr(event, 'node', '')}:{getattr(event, 'dispatch', 0)}:{tag}"


def sealed_part(event: RunEvent) -> bytes | None:
    """The canonical bytes of what must not stand in the event; `None` when there is nothing."""
    found = {name: getattr(event, name) for name in _VALUES if getattr(event, name, None) is not None}
    return canon_arguments(found) if found else None


def written(
    flow: Flow, event: RunEvent, number: int, state: State, commands: tuple[Command, ...], sealed: Payload | None, instance: str
) -> Event:
    """The journal's event: what happened, where the run stands after it, and which commands followed."""
    tag = str(event.__struct_config__.tag)
    public = {key: value for key, value in msgspec.to_builtins(event).items() if key not in (*_VALUES, "at", "type")}
    data: dict[str, Any] = {
        "txn": flow.run,
        "workflow": {"name": flow.workflow, "version": flow.version, "digest": flow.digest},
        "agent_id": flow.starter.agent_id,
        "n": number,
        "status": str(state.status),
        "event": public,
        "commands": [told(command) for command in commands[:MAX_COMMANDS]],
        "gateway": instance,
    }
    if len(commands) > MAX_COMMANDS:
        data["more_commands"] = len(commands) - MAX_COMMANDS
    for name in ("node", "by", "approval_id", "outcome", "kind"):
        if value := getattr(event, name, ""):
            data[{"node": "step", "kind": "reason"}.get(name, name)] = value
    data |= traced.told(flow, event)
    if sealed is not None:
        data["value"] = {"pii_commit": commitment(sealed)}
    return Event(id=event_id(flow.run, event, number), type=PREFIX + tag, tenant="", time=event.at, request_id=flow.run, data=data)


def told(command: Command) -> str:
    """A command in a word, its node and its numbers: what replay compares."""
    if isinstance(command, Act | Undo):
        return f"{'act' if isinstance(command, Act) else 'undo'} {command.node} {command.dispatch}.{command.attempt}"
    if isinstance(command, Finish):
        return f"finish {command.state}"
    word = "sleep" if isinstance(command, Sleep) else "withdraw"
    assert isinstance(command, Sleep | Withdraw)
    return f"{word} {command.node} {command.dispatch}"


def is_run_event(stored: Stored) -> bool:
    """Whether an event of the journal is one of a run."""
    return stored.type.startswith(PREFIX)


def read(stored: Stored, value: bytes | None) -> RunEvent:
    """The run's event that a stored one tells of; `value` is what was sealed beside it."""
    body = msgspec.json.decode(stored.body)
    fields: dict[str, Any] = {**body["event"], "type": stored.type.removeprefix(PREFIX), "at": body["time"]}
    if value is not None:
        fields |= ijson.parse(value, max_size_bytes=len(value))
    found: RunEvent = msgspec.convert(fields, RunEvent)
    return found


def number_of(stored: Stored) -> int:
    """Which event of its run it is, from 1."""
    return int(msgspec.json.decode(stored.body)["n"])


def commands_of(stored: Stored) -> tuple[str, ...]:
    """The commands that followed, as they were recorded."""
    return tuple(msgspec.json.decode(stored.body)["commands"])


def agrees(stored: Stored, state: State, commands: tuple[Command, ...]) -> bool:
    """Whether a fold goes the way that was recorded: the same commands followed, and the run stands the same."""
    body = msgspec.json.decode(stored.body)
    kept = [told(command) for command in commands[:MAX_COMMANDS]]
    return bool(kept == body["commands"] and str(state.status) == body["status"])


def unkept(value: Any) -> str:
    """Why a value cannot be recorded as it is; empty when it can. What cannot would be read again as nothing."""
    return "the output is not JSON, or nested too deep" if value is not None and _plain(value) is None else ""


def _plain(value: Any) -> Any:
    try:
        made = canon_arguments({"v": value})
        return ijson.parse(made, max_size_bytes=len(made))["v"]
    except InputError:
        return None
