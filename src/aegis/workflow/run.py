"""A run as a value: its events, the commands that follow, and its state.

    transition(definition, state, event) -> (state, commands)      workflow.transition
    outstanding(state)                   -> commands               what was issued and not answered yet

An event says what has happened, and when (`at`: the time of the journal's event). A command says what is to be done and carries the
*dispatch number* of its node: an answer counts only under the number that is outstanding, so a process that was thought dead and
comes back cannot answer for the one that took over. Nothing here reads a clock or draws a number: a pause before another attempt
is drawn by whoever commits the failure, and stands in the event.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

from aegis.workflow.graph import Amount

TRANSITION_VERSION = 1


class NodeState(StrEnum):
    """Where a node stands. The second group has ended for good unless the run unwinds; the third belongs to unwinding."""

    PENDING = "pending"
    """Known, and not issued: it waits for its needs, for a share of the parallel limit, or of the budget."""
    ISSUED = "issued"
    """Its command is out."""
    OFFERED = "offered"
    """Its task lies in a queue for a remote worker, or is leased by one; nobody here holds anything."""
    HELD = "held"
    """The gateway wants a person to approve its call, or its approval step is open."""
    WAITING = "waiting"
    """For a time or a signal."""
    PAUSED = "paused"
    """For its next attempt."""
    PARKED = "parked"
    """In the dead letters; a person requeues or discards it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    UNDOING = "undoing"
    """The command of its compensation is out, or pauses for its next attempt."""
    COMPENSATED = "compensated"
    UNDO_FAILED = "compensation_failed"


ENDED = frozenset({NodeState.SUCCEEDED, NodeState.FAILED, NodeState.SKIPPED, NodeState.CANCELLED})


class RunState(StrEnum):
    """Where a run stands; the last six are ends, though a person can move a `stuck` run on."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    UNWINDING = "unwinding"
    HALTED = "halted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    COMPENSATED = "compensated"
    CANCELLED = "cancelled"
    STUCK = "stuck"


FINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.COMPENSATED, RunState.CANCELLED})


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node has used. `self_reported` when only the agent says so; `model` names id, version, prompt hash and seed."""

    amount: Amount = Amount(calls=1)
    self_reported: bool = False
    model: Mapping[str, str] = {}


class Started(Struct, frozen=True, kw_only=True, tag="started"):
    """The first event of a run."""

    at: datetime
    input: Any = None


class Succeeded(Struct, frozen=True, kw_only=True, tag="succeeded"):
    """The command of a node was carried out. Also for compensations, approvals (`outcome` approved), timers and signals."""

    at: datetime
    node: str
    dispatch: int
    output: Any = None
    outcome: str = "succeeded"
    usage: Usage = Usage()


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """It was not, surely. `again` says that another attempt makes sense; `pause_ms` was drawn for it by whoever commits.

    `outcome` is `failed`, or `rejected`, `expired`, `timed_out`, `denied`. `kind` is a stable word (`upstream_error`,
    `budget_exhausted`, `unknown` when nobody knows whether it took effect, which only a person can clear up).
    """

    at: datetime
    node: str
    dispatch: int
    kind: str
    text: str = ""
    again: bool = False
    pause_ms: int = 0
    outcome: str = "failed"
    usage: Usage = Usage()


class Offered(Struct, frozen=True, kw_only=True, tag="offered"):
    """The task lies in its queue for remote workers."""

    at: datetime
    node: str
    dispatch: int


class Held(Struct, frozen=True, kw_only=True, tag="held"):
    """A person must look first: the approval is open."""

    at: datetime
    node: str
    dispatch: int
    approval_id: str
    expires_at: datetime


class Escalated(Struct, frozen=True, kw_only=True, tag="escalated"):
    """Nobody has answered in time: more people may answer now."""

    at: datetime
    node: str
    dispatch: int
    approval_id: str


class Released(Struct, frozen=True, kw_only=True, tag="released"):
    """The held call of a tool step may go on: it is issued again under the next dispatch number, with the approval it has now."""

    at: datetime
    node: str
    dispatch: int


class Redispatched(Struct, frozen=True, kw_only=True, tag="redispatched"):
    """Whoever had the command is gone, or its lease lapsed; `dispatch` is the outstanding number, and the next one is issued."""

    at: datetime
    node: str
    dispatch: int
    why: str


class Waited(Struct, frozen=True, kw_only=True, tag="waited"):
    """A pause before another attempt is over."""

    at: datetime
    node: str
    dispatch: int


class Signalled(Struct, frozen=True, kw_only=True, tag="signalled"):
    """A signal arrived; it is kept until a node waits for it. `key` tells one signal from its repetition."""

    at: datetime
    name: str
    key: str
    payload: Any = None
    by: str = ""


class CancelAsked(Struct, frozen=True, kw_only=True, tag="cancel"):
    """Somebody wants the run to end: nothing moves forward any more, and what was done is undone."""

    at: datetime
    by: str
    reason: str = ""


class TimedOut(Struct, frozen=True, kw_only=True, tag="timed_out"):
    """The time of the whole run is over."""

    at: datetime


class Halted(Struct, frozen=True, kw_only=True, tag="halted"):
    """Nothing is issued until `Resumed`; answers of what is under way are taken."""

    at: datetime
    by: str
    reason: str = ""


class Resumed(Struct, frozen=True, kw_only=True, tag="resumed"):
    """A halted run goes on."""

    at: datetime
    by: str


class Requeued(Struct, frozen=True, kw_only=True, tag="requeued"):
    """A person gives a parked node, or a compensation that failed, new attempts; if `edited`, with these `arguments`."""

    at: datetime
    node: str
    by: str
    arguments: Any = None
    edited: bool = False


class Discarded(Struct, frozen=True, kw_only=True, tag="discarded"):
    """A person gives a parked node up: its failure leaves the graph now."""

    at: datetime
    node: str
    by: str
    reason: str = ""


class SettledByHand(Struct, frozen=True, kw_only=True, tag="settled"):
    """A person has undone by hand what a failed compensation should have undone; a stuck run goes on unwinding."""

    at: datetime
    node: str
    by: str
    reason: str = ""


RunEvent = (
    Started
    | Succeeded
    | Failed
    | Offered
    | Held
    | Escalated
    | Released
    | Redispatched
    | Waited
    | Signalled
    | CancelAsked
    | TimedOut
    | Halted
    | Resumed
    | Requeued
    | Discarded
    | SettledByHand
)


class Act(Struct, frozen=True, kw_only=True, tag="act"):
    """Carry out a node: call its tool, give its agent the task, start its run, open its approval, send its message.

    `arguments` are resolved: no reference is left in them.
    """

    node: str
    dispatch: int
    attempt: int
    arguments: Any = None


class Undo(Struct, frozen=True, kw_only=True, tag="undo"):
    """Carry out the compensation of a node."""

    node: str
    dispatch: int
    attempt: int
    arguments: Any = None


class Sleep(Struct, frozen=True, kw_only=True, tag="sleep"):
    """Wake the node at `until`: a `Waited` for a pause, a `Succeeded` for a wait, a `Failed` (`timed_out`) for a signal."""

    node: str
    dispatch: int
    until: datetime


class Withdraw(Struct, frozen=True, kw_only=True, tag="withdraw"):
    """The node is not wanted any more (the run unwinds): close its approval, take its task out of its queue, end its child run."""

    node: str
    dispatch: int


class Finish(Struct, frozen=True, kw_only=True, tag="finish"):
    """The run has ended so."""

    state: RunState
    output: Any = None


Command = Act | Undo | Sleep | Withdraw | Finish


class Node(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node of a run. `dispatch` is the number under which its last command was issued; 0 before the first.

    `done` is its place in the order of completion, from 1; compensations run from the greatest down. `why` says why it failed, was
    skipped, or waits. `until` is what a `Sleep` waits for. `arguments` are those of its last `Act`, resolved, or (`edited`) those
    that a person put in their place; `undo_arguments` the same of its last `Undo`. An entry of a `for_each` step that is `issued`
    with dispatch 0 has its elements under way. `spent` is what its attempts used so far. `lost`: whoever had its command is gone,
    and it is issued again when the run is resumed; until then an answer under its number is still taken.
    """

    state: NodeState = NodeState.PENDING
    dispatch: int = 0
    attempt: int = 0
    outcome: str = ""
    output: Any = None
    arguments: Any = None
    edited: bool = False
    why: str = ""
    text: str = ""
    done: int = 0
    until: datetime | None = None
    approval_id: str = ""
    reserved: Amount | None = None
    spent: Amount = Amount()
    undo_attempt: int = 0
    undo_paused: bool = False
    undo_arguments: Any = None
    undo_edited: bool = False
    lost: bool = False


class Share(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all nodes of one step, one with a budget of its own, have used and hold reserved."""

    spent: Amount = Amount()
    reserved: Amount = Amount()


class State(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run between two events. `nodes` by node id; a `for_each` step has an entry of its own beside those of its elements.

    `counts` says how many elements a `for_each` step has, `turns` in which turn a `repeat` stands. `signals` (name,
    key, payload) are those that came and that no node has taken yet, oldest first; `keys` are those of every signal that came, as
    `NAME/KEY`. `failure` is `NODE: KIND` of what made the run unwind, or `timed_out`, or `cancelled`.
    """

    run: str
    status: RunState = RunState.PENDING
    started: datetime | None = None
    input: Any = None
    nodes: Mapping[str, Node] = {}
    counts: Mapping[str, int] = {}
    turns: Mapping[str, int] = {}
    done: int = 0
    failure: str = ""
    unwinding: bool = False
    cancelled: bool = False
    halted: bool = False
    spent: Amount = Amount()
    reserved: Amount = Amount()
    shares: Mapping[str, Share] = {}
    warned: bool = False
    signals: tuple[tuple[str, str, Any], ...] = ()
    keys: tuple[str, ...] = ()
    output: Any = None
    events: int = 0
