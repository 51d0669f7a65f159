"""What travels when a worker leases a task, says that it is at it, and says how it ended."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from aegis.model.event import instant
from aegis.runtime.runs.leases import Beat, Leased
from aegis.runtime.runs.reported import MAX_MICROS, MAX_TOKENS

MAX_WAIT_SECONDS = 20
_Name = Annotated[str, Meta(min_length=1, max_length=128)]
_Kind = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$")]
_Short = Annotated[str, Meta(max_length=128)]


class TaskLeaseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/queues/{queue}/lease`. `worker` is a name for people; `wait_seconds` is how long to wait for a task."""

    wait_seconds: Annotated[int, Meta(ge=0, le=MAX_WAIT_SECONDS)] = 0
    worker: Annotated[str, Meta(max_length=64)] = ""


class CredentialView(Struct, frozen=True, kw_only=True):
    """A token for just this task. Calls that are made with it name the parent."""

    token: str
    expires_at: str
    parent_agent_id: str
    parent_request_id: str


class TaskView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task in the hands of a worker until `lease_until`: a heartbeat well within `lease_seconds` makes it last.

    The keys of its effects begin with `key_prefix`.
    """

    task_id: str
    lease: str
    lease_until: str
    lease_seconds: int
    queue: str
    run: str
    workflow: str
    step: str
    node: str
    dispatch: int
    attempt: int
    agent_id: str
    key_prefix: str
    input: Any
    credential: CredentialView
    deadline: str = ""


class TaskLeaseView(Struct, frozen=True, kw_only=True):
    """The next task; null when none came."""

    task: TaskView | None


class UsageBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the agent says that the task took. `micros` are millionths of the tenant's unit of money."""

    tokens: Annotated[int, Meta(ge=0, le=MAX_TOKENS)] = 0
    micros: Annotated[int, Meta(ge=0, le=MAX_MICROS)] = 0


class ModelBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """By which model the output was made: of the prompt, only its digest."""

    id: _Short = ""
    version: _Short = ""
    prompt_sha256: _Short = ""
    seed: _Short = ""


class HeartbeatBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/tasks/{task_id}/heartbeat`. The parent members are required exactly when the token is the task's credential."""

    lease: _Name
    parent_agent_id: str = ""
    parent_request_id: str = ""


class CompleteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/tasks/{task_id}/complete`."""

    lease: _Name
    output: Any
    usage: UsageBody = UsageBody()
    model: ModelBody = ModelBody()
    parent_agent_id: str = ""
    parent_request_id: str = ""


class FailBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/tasks/{task_id}/fail`. `kind` is a stable word, `text` is recorded: no data of the task belongs there.

    `again` says that another attempt makes sense. The kind `unknown` says that nobody knows what took effect: a person looks.
    """

    lease: _Name
    kind: _Kind
    text: Annotated[str, Meta(max_length=256)] = ""
    again: bool = False
    usage: UsageBody = UsageBody()
    model: ModelBody = ModelBody()
    parent_agent_id: str = ""
    parent_request_id: str = ""


class HeartbeatView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The lease lasts until `lease_until`; `credential` is there when it was time for a new one."""

    task_id: str
    lease_until: str
    credential: CredentialView | None = None


class TaskEndView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the task ended: `succeeded`, or the kind of failure. An output that does not fit its contract is a failure `contract`."""

    task_id: str
    outcome: str
    detail: str = ""


TYPES = (TaskLeaseBody, TaskLeaseView, HeartbeatBody, HeartbeatView, CompleteBody, FailBody, TaskEndView)


def task_view(found: Leased) -> TaskView:
    """A task as its worker gets it."""
    task, made = found.task, found.credential
    assert task.due is not None
    return TaskView(
        task_id=task.id, lease=task.lease, lease_until=instant(task.due), lease_seconds=found.seconds,
        queue=task.queue, run=task.run, workflow=task.workflow,
        step=task.step, node=task.node, dispatch=task.dispatch, attempt=task.attempt, agent_id=task.agent_id,
        key_prefix=f"{task.run}/{task.node}/", input=found.input,
        credential=CredentialView(
            token=made.token, expires_at=instant(made.expires_at), parent_agent_id=made.parent[0], parent_request_id=made.parent[1]
        ),
        deadline=instant(task.deadline) if task.deadline else "",
    )  # fmt: skip


def beat_view(task_id: str, beat: Beat) -> HeartbeatView:
    """The answer to a heartbeat."""
    made = beat.credential
    shown = (
        CredentialView(
            token=made.token, expires_at=instant(made.expires_at), parent_agent_id=made.parent[0], parent_request_id=made.parent[1]
        )
        if made
        else None
    )
    return HeartbeatView(task_id=task_id, lease_until=instant(beat.until), credential=shown)
