"""The rows of a run, written by the unit that appends its events and never otherwise.

    flow        one for each run: what it is a run of, who started it, where it stands; its version fences every change
    flow-task   one for each command that is out: who has it
    flow-due    one for each wait, its id begins with the instant: whoever looks for what is due reads exactly that
    wake        something that a run waits for has happened in a way that its own process may not have seen, or what a node had
                out is to be taken back
    flow-start  the key under which a run was started: it is started once
    flow-child  the run that was started for a node of another one
    definition  the document of a definition that some run was started on, under its digest

They hold ids, states and digests. What a run works with is sealed beside its events.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from aegis.journal.unit import Delete, Put, Row
from aegis.model.event import instant
from aegis.workflow.run import RunState

FLOW, TASK, DUE, WAKE, DEFINITION = "flow", "flow-task", "flow-due", "wake", "definition"
START, CHILD = "flow-start", "flow-child"
_SEP = "\x1f"
OUT = "out"
NOBODY = "nobody"
"""Holder of a command that no serving process has taken yet."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """A folded state, sealed beside `event`. It holds the first `events` events; all later ones stand after the place `after`."""

    event: str
    events: int
    after: int


class Above(Struct, frozen=True, kw_only=True):
    """The node of another run that this run was started for."""

    run: str
    node: str


class Starter(Struct, frozen=True, kw_only=True):
    """Who started the run, and through whom they were asked to, nearest first."""

    agent_id: str
    subject: str
    chain: tuple[str, ...] = ()


class Flow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a run without opening anything.

    `digest` names its definition, `transition` the version of the controller that folds it. `request_id` is the call that started
    it; `sealed_for` the keys of its data subject. `events` counts its events; `seq` is the place of one of the newest. `hands` are
    the people who gave values to the run after it was started, so that none of them approves what they are used for.
    """

    run: str
    workflow: str
    version: str
    digest: str
    transition: int
    starter: Starter
    started_at: datetime
    request_id: str = ""
    sealed_for: str = ""
    traceparent: str = ""
    status: RunState = RunState.PENDING
    events: int = 0
    seq: int = -1
    moved_at: datetime | None = None
    ended_at: datetime | None = None
    snapshot: Snapshot | None = None
    above: Above | None = None
    waits: tuple[str, ...] = ()
    failure: str = ""
    plan: str = ""
    hands: tuple[str, ...] = ()


def put_flow(flow: Flow) -> Put:
    """The row of a run: found by its workflow, and by its state."""
    return Put(kind=FLOW, id=flow.run, body=msgspec.json.encode(flow), state=str(flow.status), lookup=flow.workflow)


def read_flow(row: Row) -> Flow:
    """The run that a row tells of."""
    return msgspec.json.decode(row.body, type=Flow)


class Out(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command that is out. `holder` is the process that has it; empty while it lies in a queue of the engine."""

    run: str
    node: str
    dispatch: int
    queue: str = "default"
    priority: int = 0
    holder: str = ""
    undo: bool = False


def task_id(run: str, node: str, dispatch: int) -> str:
    """The row of one command."""
    return f"{run}{_SEP}{node}{_SEP}{dispatch}"


def put_task(out: Out, state: str = OUT) -> Put:
    """The row of a command that is out."""
    body = msgspec.json.encode(out)
    return Put(kind=TASK, id=task_id(out.run, out.node, out.dispatch), body=body, state=state, lookup=out.holder)


def read_task(row: Row) -> Out:
    """The command that a row tells of."""
    return msgspec.json.decode(row.body, type=Out)


class Due(Struct, frozen=True, kw_only=True):
    """Something is to be looked at: a node, under its dispatch number, or the time of a whole run (no node)."""

    run: str
    node: str = ""
    dispatch: int = 0


def put_due(at: datetime, due: Due) -> Put:
    """The row of a wait."""
    place = _SEP.join((instant(at), due.run, due.node, str(due.dispatch)))
    return Put(kind=DUE, id=place, body=msgspec.json.encode(due))


def drop_task(run: str, node: str, dispatch: int) -> Delete:
    """The command is not out any more."""
    return Delete(kind=TASK, id=task_id(run, node, dispatch))


def withdrawing(run: str, node: str, dispatch: int) -> Put:
    """What a node had out under this number is still to be taken back."""
    return Put(kind=WAKE, id=_SEP.join(("withdraw", run, node, str(dispatch))), body=b"{}")


def to_withdraw(name: str) -> Due | None:
    """What such a row names; `None` for another one."""
    parts = name.split(_SEP)
    return Due(run=parts[1], node=parts[2], dispatch=int(parts[3])) if parts[0] == "withdraw" else None


def child_id(run: str, node: str) -> str:
    """The row that names the run that was started for a node."""
    return f"{run}{_SEP}{node}"
