"""A workflow as a value: steps, what they need, what they do, and what undoes them.

`workflow.reading` makes it from a document, `workflow.checks` finds what is wrong with it, `workflow.transition` runs it. Nothing
here is code: values are literals and references, conditions are those of the policy language.

A step is expanded into *nodes* while it runs: one, or one for each element of `for_each` (`score[2]`), or one for each turn of a
`repeat` (`refine~1`). A node's id is part of the idempotency key of its effect, so it never holds an attempt or a dispatch.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct

from aegis.policy.ir import Condition

Role = Literal["planner", "retriever", "executor", "validator", "approver"]
StepKind = Literal["agent", "tool", "approval", "workflow", "wait", "emit"]
OnFailure = Literal["unwind", "park", "skip"]

MAX_STEPS = 500
MAX_ELEMENTS = 1000
MAX_TURNS = 100
MAX_ATTEMPTS = 5


class Amount(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What work costs: calls, tokens, and money in millionths of the tenant's unit."""

    calls: int = 0
    tokens: int = 0
    micros: int = 0

    def plus(self, other: "Amount") -> "Amount":
        """Both together."""
        return Amount(calls=self.calls + other.calls, tokens=self.tokens + other.tokens, micros=self.micros + other.micros)

    def minus(self, other: "Amount") -> "Amount":
        """What is left of this when that is taken away."""
        return Amount(calls=self.calls - other.calls, tokens=self.tokens - other.tokens, micros=self.micros - other.micros)


class Budget(Struct, frozen=True, kw_only=True):
    """Hard limits of a run, `None` where there is none; `soft_percent` of any of them is told once."""

    calls: int | None = None
    tokens: int | None = None
    micros: int | None = None
    soft_percent: int = 80

    def allows(self, amount: Amount) -> bool:
        """Whether so much stays within every limit."""
        pairs = ((self.calls, amount.calls), (self.tokens, amount.tokens), (self.micros, amount.micros))
        return all(limit is None or used <= limit for limit, used in pairs)

    def warns(self, amount: Amount) -> bool:
        """Whether so much reaches the soft share of some limit."""
        pairs = ((self.calls, amount.calls), (self.tokens, amount.tokens), (self.micros, amount.micros))
        return any(limit is not None and used * 100 >= limit * self.soft_percent for limit, used in pairs)


class Ref(Struct, frozen=True, tag="ref"):
    """A place whose value is put in when the step is taken: `$input.a`, `$steps.id.output.c`, `$item`, `$run.id`, `$output.c`.

    `path` is without the `$`, split at the dots: `("steps", "plan", "output", "c")`.
    """

    path: tuple[str, ...]

    @property
    def text(self) -> str:
        """As it is written in the document."""
        return "$" + ".".join(self.path)


Template = Any
"""JSON in which a `Ref` may stand in place of any value: mappings, lists, scalars and `Ref`."""


class Retry(Struct, frozen=True, kw_only=True):
    """`attempts` in all (3 unless set, at most 5). The pause before attempt n+1 is drawn from 0 to `backoff * factor**(n-1)`.

    It never exceeds `longest`. `on` names the kinds of failure that are tried again; empty for every one that may be.
    """

    attempts: int = 3
    backoff: timedelta = timedelta(seconds=1)
    factor: int = 2
    longest: timedelta = timedelta(minutes=5)
    jitter: Literal["full", "none"] = "full"
    on: tuple[str, ...] = ()


class Repeat(Struct, frozen=True, kw_only=True):
    """Take the step again until the condition holds over its last output (`steps.ID.output.*`), at most `most` times."""

    until: Condition
    most: int


class Escalation(Struct, frozen=True, kw_only=True):
    """When nobody has answered after `after`, these may answer too."""

    after: timedelta
    approvers: tuple[str, ...]


class ApprovalSpec(Struct, frozen=True, kw_only=True):
    """Who must agree: the terms of `model.approval`. `shows` are references whose values an approver is shown and is bound to.

    `of` says what is approved: `step` binds the values shown, `plan` binds the digest of the whole definition as well.
    """

    approver_sets: tuple[tuple[str, ...], ...]
    quorum: int = 1
    not_requester: bool = True
    expires: timedelta = timedelta(days=2)
    escalate: Escalation | None = None
    shows: Mapping[str, Template] = {}
    of: Literal["step", "plan"] = "step"


class WaitSpec(Struct, frozen=True, kw_only=True):
    """Exactly one of: a duration, an instant (or a reference to one in RFC 3339), or the name of a signal with a `timeout`."""

    lasts: timedelta | None = None
    until: datetime | Ref | None = None
    signal: str = ""
    timeout: timedelta | None = None


class Action(Struct, frozen=True, kw_only=True):
    """One thing that is done: a tool is called, or an agent is given a task. `name` is that of the tool, agent or workflow.

    `version` is the major version of a contract that is wanted, or an exact one, or empty.
    """

    kind: StepKind
    name: str
    version: str = ""
    arguments: Template = {}


class Collect(Struct, frozen=True, kw_only=True):
    """What becomes of the outputs of a `for_each`: the list, or, under `name`, that with the greatest or least `path`."""

    name: str = ""
    pick: Literal["list", "max_by", "min_by"] = "list"
    path: tuple[str, ...] = ()


class Step(Struct, frozen=True, kw_only=True):
    """One step. `needs` holds every step that must have ended before, also those that it only refers to; it is sorted.

    `undo` is its compensation; `irrevocable` says why there is none. `estimate` is what one node is reserved before it starts.
    `place` is `file:line:column`. `accepts` and `output` name the contracts of what an agent is given and of what the step gives.
    `max_elements` bounds a `for_each`; 0 for the bound of all, `MAX_ELEMENTS`.
    """

    id: str
    kind: StepKind
    role: Role
    act: Action | None = None
    needs: tuple[str, ...] = ()
    when: Condition | None = None
    for_each: Ref | tuple[Any, ...] | None = None
    max_parallel: int = 0
    collect: tuple[Collect, ...] = ()
    repeat: Repeat | None = None
    queue: str = "default"
    priority: int = 0
    retry: Retry = Retry()
    timeout: timedelta | None = None
    on_failure: OnFailure = "unwind"
    undo: Action | None = None
    irrevocable: str = ""
    approval: ApprovalSpec | None = None
    wait: WaitSpec | None = None
    estimate: Amount = Amount(calls=1)
    budget: Budget = Budget()
    output: str = ""
    model: Mapping[str, str] = {}
    default: Any = None
    run_as: str = ""
    place: str = ""
    accepts: str = ""
    max_elements: int = 0


class Workflow(Struct, frozen=True, kw_only=True):
    """One version of a definition. `steps` are in an order in which every step comes after those that it needs; ties by name.

    `digest` is over its meaning. `run_as` is the agent of the directory in whose name its tool steps act and its tasks are handed
    out. `input` and `output` name contracts of data (`name@major`); `schemas` holds those that the edges name.
    """

    name: str
    version: str
    tenant: str
    owner: str
    run_as: str
    steps: tuple[Step, ...]
    digest: str
    runbook: str = ""
    labels: Mapping[str, str] = {}
    input: str = ""
    output: str = ""
    returns: Template = None
    budget: Budget = Budget()
    timeout: timedelta | None = None
    max_parallel: int = 16
    risk_limit: int | None = None
    source: str = ""
    description: str = ""

    def step(self, name: str) -> Step:
        """The step of this id; `KeyError` when there is none."""
        for each in self.steps:
            if each.id == name:
                return each
        raise KeyError(name)


def step_of(node: str) -> str:
    """The step that a node belongs to: `score[2]` and `score~1` are nodes of `score`."""
    return node.partition("[")[0].partition("~")[0]


def element(step: str, index: int) -> str:
    """The node of one element of a `for_each`."""
    return f"{step}[{index}]"


def turn(step: str, number: int) -> str:
    """The node of one turn of a `repeat`, from 1; the first turn is the step itself."""
    return step if number == 1 else f"{step}~{number}"
