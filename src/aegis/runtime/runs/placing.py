"""Where a command is carried out: by this process, by whoever the engine finds, or by those who serve when this one only looks in.

It is done here while there is room and the queue of its step has no limits. Everything else goes through the engine, in the lane of
its queue. The rows that say so are part of the unit by which the command is issued.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from aegis.journal.unit import Put
from aegis.runtime.clock import Clock
from aegis.runtime.engine import Task
from aegis.runtime.runs.flow import NOBODY, Due, Out, put_due, put_task
from aegis.runtime.runs.histories import Loaded
from aegis.runtime.runs.lanes import OPEN
from aegis.workflow.graph import step_of
from aegis.workflow.run import Act, Command, Sleep, Undo

TIMED = frozenset({"agent", "workflow"})
"""Kinds of steps whose `timeout` is kept here. A tool's own contract bounds its calls."""

Here = frozenset[tuple[str, int]]
"""Commands that this process does, by node and dispatch number."""


class Places:
    """The room of one process. `lanes` are those of limited queues, by (tenant, queue); `serving` says that this process stays."""

    def __init__(self, clock: Clock, instance: str, most: int) -> None:
        self.lanes: Mapping[tuple[str, str], str] = {}
        self.serving = False
        self._clock = clock
        self._instance = instance
        self._most = most
        self._taken = 0

    def placed(self, tenant: str, loaded: Loaded, commands: Sequence[Command]) -> tuple[list[Put], Here]:
        """The rows of commands that go out, and which of them are done here."""
        writes: list[Put] = []
        here: set[tuple[str, int]] = set()
        for command in commands:
            if isinstance(command, Act | Undo):
                out = self._place(tenant, loaded, command)
                if out.holder == self._instance:
                    here.add((command.node, command.dispatch))
                writes.append(put_task(out))
                writes += self._deadline(loaded, command)
            elif isinstance(command, Sleep):
                writes.append(put_due(command.until, Due(run=loaded.flow.run, node=command.node, dispatch=command.dispatch)))
        return writes, frozenset(here)

    def _deadline(self, loaded: Loaded, command: Act | Undo) -> list[Put]:
        """When somebody looks whether an agent or another run has taken too long. A tool's own contract bounds its calls."""
        step = loaded.workflow.step(step_of(command.node))
        if step.timeout is None or step.kind not in TIMED or isinstance(command, Undo):
            return []
        until = self._clock.now() + step.timeout
        return [put_due(until, Due(run=loaded.flow.run, node=command.node, dispatch=command.dispatch))]

    def _place(self, tenant: str, loaded: Loaded, command: Act | Undo) -> Out:
        """Here, if there is room and the queue has no limits; else the engine says when and where."""
        out = out_of(loaded, command, self._instance)
        if not self.serving:  # a command that looks in for a moment leaves the work to those who stay
            return replace(out, holder=NOBODY)
        if (tenant, out.queue) in self.lanes or not self.take():
            return replace(out, holder="")
        return out

    def take(self) -> bool:
        """Take room for one command, if there is any; `give_back` when it is done."""
        if self._taken >= self._most:
            return False
        self._taken += 1
        return True

    def task(self, tenant: str, out: Out) -> Task:
        """A command as the engine takes it: in the lane of its queue."""
        return Task(
            tenant=tenant, run=out.run, node=out.node, dispatch=out.dispatch, queue=self.lanes.get((tenant, out.queue), OPEN),
            priority=out.priority,
        )  # fmt: skip

    def give_back(self, here: Here) -> None:
        """These were done, or never issued: there is room again."""
        self._taken -= len(here)


def out_of(loaded: Loaded, command: Act | Undo, holder: str) -> Out:
    """The row of a command that is out, in the hands of `holder`."""
    step = loaded.workflow.step(step_of(command.node))
    return Out(
        run=loaded.flow.run, node=command.node, dispatch=command.dispatch, queue=step.queue, priority=step.priority,
        holder=holder, undo=isinstance(command, Undo),
    )  # fmt: skip
