"""Definitions made by hand, and runs that are played: pick something outstanding, answer it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from aegis.workflow.graph import Action, Ref, Retry, Step, Workflow
from aegis.workflow.run import (
    Command,
    Failed,
    RunEvent,
    Started,
    Succeeded,
    Waited,
)
from aegis.workflow.transition import begin, transition

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ONCE = Retry(attempts=1)


def ref(text: str) -> Ref:
    return Ref(tuple(text.removeprefix("$").split(".")))


def tool(name: str, needs: Iterable[str] = (), *, args: Any = None, undo: bool = False, **more: Any) -> Step:
    back = Action(kind="tool", name=f"undo.{name}", arguments={"of": ref("$output.id")}) if undo else None
    act = Action(kind="tool", name=f"do.{name}", arguments=args or {})
    base = Step(id=name, kind="tool", role="executor", act=act, needs=tuple(sorted(needs)), undo=back, retry=ONCE)
    return replace(base, **more)


def flow(*steps: Step, **more: Any) -> Workflow:
    base = Workflow(name="w", version="1.0.0", tenant="acme", owner="team", run_as="bot", steps=steps, digest="sha256:0")
    return replace(base, **more)


class Run:
    """A run that is played. `log` holds every event, `issued` the commands that followed each."""

    def __init__(self, definition: Workflow, value: Any = None) -> None:
        self.definition, self.state = definition, begin("run_1")
        self.log: list[RunEvent] = []
        self.issued: list[tuple[Command, ...]] = []
        self.take(Started(at=T0, input=value if value is not None else {}))

    @property
    def now(self) -> datetime:
        return T0 + timedelta(seconds=len(self.log))

    def take(self, event: RunEvent) -> tuple[Command, ...]:
        self.state, commands = transition(self.definition, self.state, event)
        self.log.append(event)
        self.issued.append(commands)
        return commands

    def ok(self, node: str, output: Any = None, **more: Any) -> tuple[Command, ...]:
        given = output if output is not None else {"id": f"{node}-made"}
        return self.take(Succeeded(at=self.now, node=node, dispatch=self.dispatch(node), output=given, **more))

    def fail(self, node: str, kind: str = "upstream_error", **more: Any) -> tuple[Command, ...]:
        return self.take(Failed(at=self.now, node=node, dispatch=self.dispatch(node), kind=kind, **more))

    def wake(self, node: str) -> tuple[Command, ...]:
        return self.take(Waited(at=self.now, node=node, dispatch=self.dispatch(node)))

    def of(self, kind: type[RunEvent], node: str, **more: Any) -> tuple[Command, ...]:
        return self.take(kind(at=self.now, node=node, dispatch=self.dispatch(node), **more))

    def by(self, kind: type[RunEvent], node: str | None = None, **more: Any) -> tuple[Command, ...]:
        about = {"node": node} if node else {}
        return self.take(kind(at=self.now, by="person:ada", **about, **more))

    def dispatch(self, node: str) -> int:
        return self.state.nodes[node].dispatch

    def word(self, node: str) -> str:
        return str(self.state.nodes[node].state)


def said(commands: Iterable[Command]) -> list[str]:
    """Commands as words: `act a#1`, `undo a#2`, `sleep a#2`, `withdraw a#1`, `finish succeeded`."""
    found = []
    for command in commands:
        tag = str(command.__struct_config__.tag)
        found.append(f"finish {command.state}" if tag == "finish" else f"{tag} {command.node}#{command.dispatch}")
    return found
