"""Runs as they stand: read from the journal, folded, and kept while they are in use.

The journal is the state of a run. What is kept here is its fold up to some event; the version of the row `flow` says whether
that is still all. A cold run is folded from its newest snapshot on, which makes the cost of a long history a bounded one.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError, ErasedError, IllegalTransitionError, StoreError
from aegis.journal.store import Store
from aegis.journal.unit import Put
from aegis.model.event import Stored
from aegis.runtime.runs.flow import DEFINITION, FLOW, Flow, read_flow
from aegis.runtime.runs.journaled import STATE, VALUE, agrees, is_run_event, number_of, read
from aegis.runtime.vault import Vault
from aegis.workflow.graph import Workflow
from aegis.workflow.run import FINAL, Failed, Node, NodeState, RunEvent, RunState, State, Succeeded
from aegis.workflow.transition import begin, transition

KEPT = 4096
PAGE = 500

Parse = Callable[[str, str], Workflow]
"""(text of a definition, its digest) -> the definition."""


class Loaded(Struct, frozen=True, kw_only=True):
    """A run between two events; `version` is that of its row. `erased`: some value could not be opened any more."""

    tenant: str
    flow: Flow
    version: int
    workflow: Workflow
    state: State
    erased: bool = False


class Lived(Struct, frozen=True, kw_only=True):
    """One event of a run with the journal's own account of it; `erased` when its value is gone."""

    stored: Stored
    event: RunEvent
    erased: bool = False


class Histories:
    """Reads and folds runs. What it keeps is the fold of runs that were used last, by (tenant, run)."""

    def __init__(self, store: Store, vault: Vault, parse: Parse) -> None:
        self._store = store
        self._vault = vault
        self._parse = parse
        self._kept: OrderedDict[tuple[str, str], Loaded] = OrderedDict()
        self._definitions: dict[tuple[str, str], Workflow] = {}

    def kept(self, tenant: str, run: str) -> Loaded | None:
        """The run as it was when it was last used here."""
        return self._kept.get((tenant, run))

    def keep(self, loaded: Loaded) -> None:
        """Keep a fold."""
        place = loaded.tenant, loaded.flow.run
        self._kept[place] = loaded
        self._kept.move_to_end(place)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def drop(self, tenant: str, run: str) -> None:
        """Read it again the next time."""
        self._kept.pop((tenant, run), None)

    async def load(self, tenant: str, run: str) -> Loaded | None:
        """The run as it stands now; `None` when there is none of this id."""
        row = (await self._store.rows(tenant, [(FLOW, run)])).get((FLOW, run))
        if row is None:
            return None
        known = self._kept.get((tenant, run))
        if known is not None and known.version == row.version:
            self._kept.move_to_end((tenant, run))
            return known
        flow = read_flow(row)
        workflow = await self.definition(tenant, flow.digest)
        loaded = await self._folded(tenant, flow, row.version, workflow, known)
        self.keep(loaded)
        return loaded

    async def flow(self, tenant: str, run: str) -> Flow | None:
        """What the row of a run says; nothing is opened."""
        row = (await self._store.rows(tenant, [(FLOW, run)])).get((FLOW, run))
        return read_flow(row) if row else None

    async def definition(self, tenant: str, digest: str) -> Workflow:
        """The definition that a run was started on.

        Raises:
            StoreError: The store does not hold it, which an honest store does.
        """
        found = self._definitions.get((tenant, digest))
        if found is None:
            row = (await self._store.rows(tenant, [(DEFINITION, digest)])).get((DEFINITION, digest))
            if row is None:
                raise StoreError("the definition of a run is not in the store; run `aegis fsck`")
            try:
                found = self._parse(msgspec.json.decode(row.body, type=str), digest)
            except ConfigError as error:
                raise StoreError(f"the definition of a run cannot be read by this version: {error}") from None
            self.know(tenant, found)
        return found

    def know(self, tenant: str, workflow: Workflow) -> None:
        """Remember a definition that was read."""
        self._definitions[tenant, workflow.digest] = workflow

    async def lived(self, tenant: str, run: str, *, after: int = -1, skip: int = 0) -> list[Lived]:
        """The events of a run, oldest first, from the first that stands after `after` and is later than number `skip`."""
        found: list[Lived] = []
        while page := await self._store.events(tenant, request_id=run, after=after, limit=PAGE):
            after = page[-1].seq
            found += [await self._opened(tenant, each) for each in page if is_run_event(each) and number_of(each) > skip]
            if len(page) < PAGE:
                break
        return found

    async def _folded(self, tenant: str, flow: Flow, version: int, workflow: Workflow, known: Loaded | None) -> Loaded:
        state, after, erased = await self._base(tenant, flow, known)
        lived = await self.lived(tenant, flow.run, after=after, skip=state.events)
        for each in lived:
            if each.stored.seq > flow.seq and state.events >= flow.events:
                break  # committed after the row was read
            erased = erased or each.erased
            try:
                state, commands = transition(workflow, state, each.event)
            except IllegalTransitionError:
                if not erased:
                    raise
                commands = None
            if erased and (commands is None or not agrees(each.stored, state, commands)):
                state = blank(flow, workflow, lived)
                break
        return Loaded(tenant=tenant, flow=flow, version=version, workflow=workflow, state=state, erased=erased)

    async def _base(self, tenant: str, flow: Flow, known: Loaded | None) -> tuple[State, int, bool]:
        """The state from which the fold begins: what is kept, a snapshot, or nothing."""
        if known is not None and known.flow.events <= flow.events:
            return known.state, known.flow.seq, known.erased
        shot = flow.snapshot
        if shot is not None:
            try:
                plain = await self._vault.read(tenant, shot.event, STATE)
            except ErasedError:
                plain = None
            if plain is not None:
                return msgspec.json.decode(plain, type=State), shot.after, False
        return begin(flow.run), -1, False

    async def _opened(self, tenant: str, stored: Stored) -> Lived:
        try:
            value = await self._vault.read(tenant, stored.id, VALUE) if b'"pii_commit"' in stored.body else None
        except ErasedError:
            return Lived(stored=stored, event=read(stored, None), erased=True)
        return Lived(stored=stored, event=read(stored, value))


def blank(flow: Flow, workflow: Workflow, lived: Sequence[Lived]) -> State:
    """A run that cannot be folded any more, because values on which it turned were erased.

    One that has ended is told by the words of its events. Of one that has not, every step waits for a person: nothing is done anew
    and nothing can be undone; whoever cancels it ends it.
    """
    ended = flow.status in FINAL
    lost = Node() if ended else Node(state=NodeState.PARKED, why="erased", text="values of this run were erased")
    nodes = {step.id: lost for step in workflow.steps}
    return State(
        run=flow.run, status=flow.status if ended else RunState.WAITING, started=flow.started_at, failure=flow.failure,
        events=flow.events, nodes=nodes | (_by_words(lived) if ended else {}),
    )  # fmt: skip


def _by_words(lived: Sequence[Lived]) -> dict[str, Node]:
    """How nodes stood at the end, as far as the events say it: what answers a node that had succeeded is about its compensation."""
    states: dict[str, NodeState] = {}
    for each in lived:
        event = each.event
        if isinstance(event, Succeeded):
            again = event.node in states and states[event.node] is not NodeState.FAILED
            states[event.node] = NodeState.COMPENSATED if again else NodeState.SUCCEEDED
        elif isinstance(event, Failed):
            undone = states.get(event.node) in (NodeState.SUCCEEDED, NodeState.UNDO_FAILED)
            states[event.node] = NodeState.UNDO_FAILED if undone else NodeState.FAILED
    return {name: Node(state=state) for name, state in states.items()}


def put_definition(digest: str, text: str) -> Put:
    """The row of a definition, which is written again by every run that is started on it: its content is its name."""
    return Put(kind=DEFINITION, id=digest, body=msgspec.json.encode(text))
