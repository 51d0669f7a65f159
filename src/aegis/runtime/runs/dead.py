"""Dead letters of runs: what a person has to look at, and what failed for good.

    parked   a step that waits for a person: its attempts are used up (`on_failure: park`), or nobody knows whether it took effect
    stuck    a compensation that failed: the run waits until somebody has it tried again, or settles it
    failed   a step whose failure left the graph, and with it the run: for the record

They are no store of their own: a dead letter is how a node of a run stands. Runs that wait for somebody are `waiting`, `stuck` or
`halted`, or still at work elsewhere, so all runs that did not end are looked through; of those that ended, the newest.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Literal

from msgspec import Struct

from aegis.journal.store import Store
from aegis.runtime.runs.flow import FLOW
from aegis.runtime.runs.histories import Histories, Loaded
from aegis.runtime.runs.newest import LATEST, newest
from aegis.workflow.draft import names
from aegis.workflow.graph import step_of
from aegis.workflow.run import FINAL, NodeState, RunState

Kind = Literal["parked", "stuck", "failed"]
WAITING: tuple[Kind, ...] = ("parked", "stuck")
OPEN = tuple(str(state) for state in RunState if state not in FINAL)
ENDED_BADLY = (str(RunState.FAILED), str(RunState.COMPENSATED), str(RunState.CANCELLED))
PAGE = 200
MOST_ENDED = 1000


class Letter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One dead letter. `why` is a stable word, `text` says more; `unknown`: it may have taken effect, so look at the tool first."""

    kind: Kind
    run: str
    node: str
    workflow: str
    version: str
    step: str
    queue: str
    tool: str
    why: str
    text: str = ""
    attempts: int = 0
    unknown: bool = False
    run_state: RunState = RunState.WAITING
    started_by: str = ""
    since: datetime | None = None
    runbook: str = ""

    @property
    def group(self) -> str:
        """What is alike: the same step of the same workflow, for the same reason."""
        return f"{self.workflow}/{self.step}: {self.why}"


class Sieve(Struct, frozen=True, kw_only=True):
    """Which dead letters are meant; empty parts mean any."""

    kind: str = ""
    workflow: str = ""
    step: str = ""
    why: str = ""
    queue: str = ""
    tool: str = ""
    run: str = ""

    def fits(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        pairs = (
            (self.kind, letter.kind), (self.workflow, letter.workflow), (self.step, letter.step), (self.why, letter.why),
            (self.queue, letter.queue), (self.tool, letter.tool), (self.run, letter.run),
        )  # fmt: skip
        return all(not wanted or wanted == found for wanted, found in pairs)


class DeadLetters:
    """Reads them; what is done about one is done to its run (`runtime.runs.operating`)."""

    def __init__(self, store: Store, histories: Histories) -> None:
        self._store = store
        self._histories = histories

    async def listed(self, tenant: str, now: datetime, sieve: Sieve, *, limit: int) -> tuple[Letter, ...]:
        """Those that are meant: what waits, in order of the runs, then what failed for good, newest first, if that is asked for."""
        found: list[Letter] = []
        async for letter in self._all(tenant, now, sieve):
            if sieve.fits(letter):
                found.append(letter)
                if len(found) >= limit:
                    break
        return tuple(found)

    async def of_run(self, tenant: str, run: str) -> tuple[Letter, ...]:
        """The dead letters of one run."""
        loaded = await self._histories.load(tenant, run)
        return tuple(letters(loaded)) if loaded is not None else ()

    async def _all(self, tenant: str, now: datetime, sieve: Sieve) -> AsyncIterator[Letter]:
        if sieve.run:
            for letter in await self.of_run(tenant, sieve.run):
                yield letter
            return
        async for run in self._runs(tenant, now, sieve):
            for letter in await self.of_run(tenant, run):
                yield letter

    async def _runs(self, tenant: str, now: datetime, sieve: Sieve) -> AsyncIterator[str]:
        workflow = sieve.workflow or None
        for state in OPEN if sieve.kind != "failed" else ():
            after = ""
            while rows := await self._store.find(tenant, FLOW, state=state, lookup=workflow, after=after, limit=PAGE):
                after = rows[-1].id
                for row in rows:
                    yield row.id
        for state in ENDED_BADLY if sieve.kind == "failed" else ():
            looked = 0
            async for row in newest(
                lambda below, most, state=state: self._store.find(  # type: ignore[misc]  # a default argument binds the state
                    tenant, FLOW, state=state, lookup=workflow, after=below, limit=most
                ),
                now,
                LATEST,
            ):
                yield row.id
                looked += 1
                if looked >= MOST_ENDED:
                    break


def letters(loaded: Loaded) -> Iterator[Letter]:
    """The dead letters among the nodes of a run, in canonical order."""
    flow, state, workflow = loaded.flow, loaded.state, loaded.workflow
    for name in names(workflow, state.counts, state.turns):
        node = state.nodes.get(name)
        kind = _KINDS.get(node.state) if node is not None else None
        if node is None or kind is None or (kind == "failed" and state.status not in FINAL):
            continue
        step = workflow.step(step_of(name))
        action = step.undo if kind == "stuck" else step.act
        yield Letter(
            kind=kind, run=flow.run, node=name, workflow=flow.workflow, version=flow.version, step=step.id, queue=step.queue,
            tool=action.name if action is not None else "", why=node.why, text=node.text,
            attempts=node.undo_attempt if kind == "stuck" else node.attempt, unknown=node.why == "unknown", run_state=state.status,
            started_by=flow.starter.agent_id, since=flow.moved_at, runbook=workflow.runbook,
        )  # fmt: skip


def grouped(found: tuple[Letter, ...]) -> tuple[tuple[str, str, int], ...]:
    """(group, kind, how many), the most first."""
    counts = Counter((letter.group, str(letter.kind)) for letter in found)
    return tuple((group, kind, many) for (group, kind), many in sorted(counts.items(), key=lambda each: (-each[1], each[0])))


_KINDS: dict[NodeState, Kind] = {NodeState.PARKED: "parked", NodeState.UNDO_FAILED: "stuck", NodeState.FAILED: "failed"}
