"""What a check looks at, and what it says: a workflow and its tenant in, findings out."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from aegis.identity.directory import Directory
from aegis.model.contract import Contract
from aegis.policy.ir import Policy
from aegis.workflow.data import fits
from aegis.workflow.definitions import NONE, Definitions
from aegis.workflow.gates.known import tool_of
from aegis.workflow.graph import Action, Step, Workflow

Level = Literal["error", "warning"]


class Finding(Struct, frozen=True, kw_only=True):
    """One fault: `code` is stable, `place` is `file:line:column`, `text` says what is wrong and what would be right.

    An `error` keeps the workflow from doing what it says; a `warning` may be meant so.
    """

    code: str
    place: str
    text: str
    step: str = ""
    level: Level = "error"


class View(Struct, frozen=True, kw_only=True):
    """The tenant as checks see it. `policy` is `None` where there is none to read; then nothing is said about it."""

    contracts: Mapping[str, tuple[Contract, ...]]
    directory: Directory
    definitions: Definitions = NONE
    policy: Policy | None = None
    tenant_data: Mapping[str, Any] = {}

    def contract(self, name: str, version: str = "") -> Contract | None:
        """The newest contract of a tool that is of the version that is wanted."""
        fitting = [each for each in self.contracts.get(name, ()) if fits(version, each.version)]
        return max(fitting, key=lambda each: each.numbers, default=None)

    def called(self, action: Action) -> Contract | None:
        """The contract of what an action calls; `None` for a task of an agent, and for what there is not."""
        tool = tool_of(action)
        return self.contract(tool, action.version) if tool else None


def of_step(step: Step, code: str, text: str, level: Level = "error") -> Finding:
    """A finding at a step."""
    return Finding(code=code, place=step.place, text=f"step `{step.id}`: {text}", step=step.id, level=level)


def of_all(workflow: Workflow, code: str, text: str, level: Level = "error") -> Finding:
    """A finding about the workflow as a whole."""
    return Finding(code=code, place=f"{workflow.source}:1:1", text=text, level=level)


def actions(step: Step) -> Iterator[tuple[str, Action]]:
    """What a step does and what undoes it, each with the words that introduce it."""
    if step.act is not None:
        yield "", step.act
    if step.undo is not None:
        yield "its compensation: ", step.undo
