"""The rows of tasks that lie in queues for workers.

    task         one for each node whose agent works remotely: waiting, ready, leased or ended; looked up by its queue
    task-ready   where workers look: its id says queue, agent, priority and instant, so the most urgent and oldest comes first
    task-due     its id begins with the instant at which something is to happen to the task
    queue-slot   one for each task at work in a queue with `concurrency`: there are never more slots than the queue has
    queue-start  one for each start that a queue with a `rate` still counts; it is taken over when its period has passed
    queue-depth  written by every task that comes into a queue with `max_depth`, so that two that count at once do not both come in
    queue        whether a queue is open, paused or draining

A node has one task at a time, under its newest dispatch number. The input is sealed beside the event `task_offered`.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec import Struct

from aegis.crypto.digest import sha256
from aegis.journal.unit import Delete, Put, Row
from aegis.model.event import instant

TASK, READY, DUE, SLOT, START = "task", "task-ready", "task-due", "queue-slot", "queue-start"
QUEUE, DEPTH = "queue", "queue-depth"
INPUT = "input"
_SEP = "\x1f"


class TaskState(StrEnum):
    """Where a task stands."""

    WAITING = "waiting"
    """Its queue is full, paused or draining: it is tried again, and nobody can take it."""
    READY = "ready"
    LEASED = "leased"
    LAPSED = "lapsed"
    """Its lease ran out; the run has issued it anew, and whoever offers it next writes it over."""
    ENDED = "ended"
    """It is answered. It is kept for a while, so that a worker that says so again is told the same."""


class Gate(StrEnum):
    """What a queue lets happen. A paused one takes tasks in and hands none out, a draining one the other way round."""

    OPEN = "open"
    PAUSED = "paused"
    DRAINING = "draining"


class Stand(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the credential of a task stands on: for whom, through whom (`chain`, nearest first) and on which live requests.

    `token_id` is one for all credentials of a task, so that they share an allowance and are taken back together.
    """

    agent_id: str
    subject: str
    run: str
    node: str
    token_id: str
    parent: tuple[str, str]
    chain: tuple[str, ...] = ()
    requests: tuple[tuple[str, str], ...] = ()
    budget_micros: int | None = None


class Queued(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task. `enqueue` is the call that handed it out, by the agent `by`; `event` the one beside which the input is sealed.

    While it is leased, `worker` has it under `lease` until `due`, and its credential is `good_until`. `slot` is its place among
    those at work; `lapses` counts leases of this attempt that ran out. `outcome` is how it ended; `told`: its call was reported.
    `spent_micros` is what calls under lapsed leases of this attempt cost.
    """

    id: str
    queue: str
    run: str
    workflow: str
    step: str
    node: str
    dispatch: int
    attempt: int
    agent_id: str
    state: TaskState
    offered_at: datetime
    by: str = ""
    enqueue: str = ""
    event: str = ""
    stand: Stand | None = None
    priority: int = 0
    deadline: datetime | None = None
    lease: str = ""
    worker: str = ""
    due: datetime | None = None
    good_until: datetime | None = None
    slot: int = -1
    lapses: int = 0
    outcome: str = ""
    why: str = ""
    told: bool = False
    traceparent: str = ""
    spent_micros: int = 0


def task_id(run: str, node: str) -> str:
    """The name of a node's task: it is part of paths, so it holds nothing but letters and digits."""
    return "tsk_" + sha256(f"{run}{_SEP}{node}".encode()).removeprefix("sha256:")[:32]


def place(queue: str, agent_id: str) -> str:
    """Where the workers of an agent look."""
    return f"{queue}{_SEP}{agent_id}"


def put(task: Queued) -> tuple[Put, ...]:
    """The rows of a task as it stands now."""
    rows = [Put(kind=TASK, id=task.id, body=msgspec.json.encode(task), state=str(task.state), lookup=task.queue, due=task.due)]
    if task.state is TaskState.READY:
        rows.append(Put(kind=READY, id=ready_id(task), body=b"{}", lookup=place(task.queue, task.agent_id)))
    if task.due is not None:
        rows.append(Put(kind=DUE, id=due_id(task), body=b"{}"))
    if task.slot >= 0 and task.state is TaskState.LEASED:
        rows.append(Put(kind=SLOT, id=slot_id(task.queue, task.slot), body=msgspec.json.encode(task.id), lookup=task.queue))
    return tuple(rows)


def off(task: Queued) -> tuple[Delete, ...]:
    """What goes when the task stands otherwise than it did: everything but its own row."""
    rows = []
    if task.state is TaskState.READY:
        rows.append(Delete(kind=READY, id=ready_id(task)))
    if task.due is not None:
        rows.append(Delete(kind=DUE, id=due_id(task)))
    if task.slot >= 0 and task.state is TaskState.LEASED:
        rows.append(Delete(kind=SLOT, id=slot_id(task.queue, task.slot)))
    return tuple(rows)


def moved(old: Queued | None, new: Queued | None) -> tuple[Put | Delete, ...]:
    """The writes that bring a task from one standing to another; `None` is no task."""
    fresh = put(new) if new else ()
    kept = {(row.kind, row.id) for row in fresh}
    gone: list[Delete] = [*(off(old) if old else ()), *([Delete(kind=TASK, id=old.id)] if old and not new else [])]
    return (*(row for row in gone if (row.kind, row.id) not in kept), *fresh)


def ready_id(task: Queued) -> str:
    """The order in which workers find tasks."""
    return _SEP.join((task.queue, task.agent_id, f"{task.priority:04d}", instant(task.offered_at), task.id))


def due_id(task: Queued) -> str:
    """The row that says when something is to happen to the task."""
    assert task.due is not None
    return f"{instant(task.due)}{_SEP}{task.id}"


def of_due(row_id: str) -> tuple[str, str]:
    """(instant, task) of such a row."""
    at, _, task = row_id.partition(_SEP)
    return at, task


def of_ready(row_id: str) -> str:
    """The task that a worker finds."""
    return row_id.rpartition(_SEP)[2]


def slot_id(queue: str, number: int) -> str:
    """One place among those at work, or one start that counts."""
    return f"{queue}{_SEP}{number:04d}"


def number_of(row_id: str) -> int:
    """The place that a row stands for."""
    return int(row_id.rpartition(_SEP)[2])


def read(row: Row) -> Queued:
    """The task that a row tells of."""
    return msgspec.json.decode(row.body, type=Queued)


class Standing(Struct, frozen=True, kw_only=True):
    """Whether a queue is open; by whom, why and when it was last changed."""

    gate: Gate = Gate.OPEN
    by: str = ""
    reason: str = ""
    at: datetime | None = None


def standing(rows: Mapping[tuple[str, str], Row], queue: str) -> tuple[Standing, int]:
    """How a queue stands among rows that were read, and the version of that."""
    row = rows.get((QUEUE, queue))
    return (msgspec.json.decode(row.body, type=Standing), row.version) if row else (Standing(), 0)
