"""What workers say to the gateway and what a handler says to its worker, without any I/O: both workers share it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from aegis.crypto.digest import sha256
from aegis.errors import ApprovalPending, GatewayError, PolicyViolation
from aegis.sdk import exchange
from aegis.sdk.exchange import Message

_OVER = frozenset({"task-lost", "not-found"})
MOST_BEATS = 3
"""How many heartbeats fit into a lease."""


class TaskFailed(Exception):  # noqa: N818 - what a handler says, not what went wrong in here
    """Raise it in a handler: the task came to nothing. `kind` is a stable word, `text` holds no data of the task.

    `again`: another attempt makes sense. The kind `unknown` says that nobody knows what took effect: a person looks.
    """

    def __init__(self, kind: str, text: str = "", *, again: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.text = text
        self.again = again


class Given(Struct, frozen=True, kw_only=True):
    """A task as the gateway handed it out. `prefix` begins the keys of its effects."""

    id: str
    lease: str
    seconds: int
    queue: str
    run: str
    workflow: str
    step: str
    node: str
    attempt: int
    agent_id: str
    input: Any
    prefix: str
    token: str
    parent: tuple[str, str]


class Used:
    """What a handler says that it has used, and by which model."""

    def __init__(self) -> None:
        self.tokens = 0
        self.micros = 0
        self.said: dict[str, str] = {}

    def model(
        self,
        model_id: str,
        *,
        version: str = "",
        prompt: str | bytes = b"",
        prompt_sha256: str = "",
        seed: int | str = "",
        tokens: int = 0,
        micros: int = 0,
    ) -> None:
        """Record by which model the output is made: of the prompt, only its digest leaves."""
        raw = prompt.encode() if isinstance(prompt, str) else prompt
        digest = prompt_sha256 or (sha256(raw) if raw else "")
        found = {"id": model_id, "version": version, "prompt_sha256": digest, "seed": str(seed)}
        self.said |= {name: value for name, value in found.items() if value}
        self.tokens += tokens
        self.micros += micros

    @property
    def body(self) -> dict[str, Any]:
        """As the gateway takes it."""
        return {"usage": {"tokens": self.tokens, "micros": self.micros}, "model": self.said}


def lease(queue: str, worker: str, wait_seconds: int) -> Message:
    """Ask for the next task."""
    return exchange.ask(f"/v1/queues/{quote(queue, safe='')}/lease", {"worker": worker, "wait_seconds": wait_seconds})


def given(value: Mapping[str, Any]) -> Given | None:
    """The task in the answer."""
    found = value["task"]
    if found is None:
        return None
    credential = found["credential"]
    return Given(
        id=found["task_id"], lease=found["lease"], seconds=found["lease_seconds"], queue=found["queue"], run=found["run"],
        workflow=found["workflow"], step=found["step"], node=found["node"], attempt=found["attempt"], agent_id=found["agent_id"],
        input=found["input"], prefix=found["key_prefix"], token=credential["token"],
        parent=(credential["parent_agent_id"], credential["parent_request_id"]),
    )  # fmt: skip


def say(task: Given, word: str, body: Mapping[str, Any] | None = None) -> Message:
    """Heartbeat, complete or fail."""
    return exchange.ask(f"/v1/tasks/{task.id}/{word}", {"lease": task.lease, **(body or {})})


def fresh_token(value: Mapping[str, Any]) -> str:
    """The new credential in the answer to a heartbeat; empty when it was not time for one."""
    return str((value.get("credential") or {}).get("token", ""))


def is_over(error: GatewayError) -> bool:
    """Whether the task is not this worker's any more."""
    return error.reason in _OVER


def may_pass(error: GatewayError) -> bool:
    """Whether the same words may be taken a moment later: too much at once, or nobody answered."""
    return error.retryable or not error.problem


def failure(error: Exception) -> dict[str, Any]:
    """What is told of an exception that a handler let out: of a foreign one, only its type."""
    if isinstance(error, TaskFailed):
        return {"kind": error.kind, "text": error.text[:256], "again": error.again}
    if isinstance(error, PolicyViolation):
        return {"kind": "denied", "text": str(error)[:256], "again": False}
    if isinstance(error, ApprovalPending):
        return {"kind": "approval_pending", "text": f"a person must answer {error.approval_id}", "again": True}
    return {"kind": "agent_error", "text": f"the agent raised {type(error).__name__}", "again": True}
