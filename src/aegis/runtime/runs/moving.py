"""The unit by which a run moves: as many of the events that arrived as are legal now, and everything that follows from them."""

import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.errors import IllegalTransitionError
from aegis.journal.unit import Delete, Payload, Put, Require, Unit
from aegis.model.call import Call, CallState
from aegis.model.event import Event
from aegis.runtime.known import CALL
from aegis.runtime.runs import journaled
from aegis.runtime.runs.flow import FLOW, WAKE, Flow, Snapshot, drop_task, put_flow, withdrawing
from aegis.runtime.runs.histories import Loaded
from aegis.runtime.runs.placing import Here, Places
from aegis.runtime.runs.principals import road
from aegis.runtime.vault import Vault
from aegis.workflow.graph import step_of
from aegis.workflow.run import FINAL, Act, Command, Failed, Finish, Requeued, RunEvent, Signalled, Sleep, State, Undo, Withdraw
from aegis.workflow.transition import transition

log = logging.getLogger("aegis.runs")

SNAPSHOT_EVERY = 64


class Also(Struct, frozen=True, kw_only=True):
    """What else belongs into the unit of an event."""

    events: tuple[Event, ...] = ()
    payloads: tuple[Payload, ...] = ()
    requires: tuple[Require, ...] = ()
    writes: tuple[Put | Delete, ...] = ()


Told = tuple[RunEvent, Also]


class Moved(Struct, frozen=True, kw_only=True):
    """The unit, and the run as it stands once that is committed. `taken` are the places of its events, with their `ids`."""

    unit: Unit
    after: Loaded
    commands: tuple[Command, ...]
    taken: tuple[int, ...]
    ids: tuple[str, ...]
    here: Here


class Mover:
    """Makes the units of one process."""

    def __init__(self, vault: Vault, places: Places, instance: str) -> None:
        self._vault = vault
        self._places = places
        self._instance = instance

    async def moved(self, loaded: Loaded, batch: Sequence[Told], now: datetime) -> Moved:
        """The unit that takes these events in their order, but for those that are stale or illegal by now."""
        flow, state, at = loaded.flow, loaded.state, max(now, loaded.flow.moved_at or now)
        commands: list[Command] = []
        events: list[Event] = []
        payloads: list[Payload] = []
        requires = [Require(kind=FLOW, id=flow.run, version=loaded.version)]
        writes: list[Put | Delete] = []
        taken: list[int] = []
        for place, (asked, also) in enumerate(batch):
            event = _stamped(asked, loaded, state, at)
            try:
                state, follow = transition(loaded.workflow, state, event)
            except IllegalTransitionError as error:
                log.info("dropped: %s", error, extra={"tenant": loaded.tenant, "run": flow.run})
                continue
            flow = _next(flow, state, event)
            written, sealed = await self._written(loaded.tenant, flow, event, state, follow)
            events += [written, *also.events]
            payloads += [*sealed, *also.payloads]
            requires += also.requires
            writes += [*_answered(flow.run, event), *also.writes]
            commands = [each for each in commands if not _ended_by(each, event)] + list(follow)
            taken.append(place)
        ids = tuple(journaled.event_id(flow.run, batch[place][0], 0) for place in taken)
        flow, shot = await self._shot(loaded.tenant, flow, state, events) if taken else (flow, ())
        after = replace(loaded, flow=flow, state=state, version=loaded.version + 1)
        outs, here = self._places.placed(loaded.tenant, after, commands) if taken else ([], frozenset())
        unit = Unit(
            tenant=loaded.tenant,
            events=tuple(events),
            payloads=(*payloads, *shot),
            requires=tuple(requires),
            writes=(*writes, put_flow(flow), *outs, *_endings(after, commands)),
        )
        return Moved(unit=unit, after=after, commands=tuple(commands), taken=tuple(taken), ids=ids, here=here)

    async def _written(
        self, tenant: str, flow: Flow, event: RunEvent, state: State, follow: tuple[Command, ...]
    ) -> tuple[Event, tuple[Payload, ...]]:
        """The event of the journal, and what is sealed beside it."""
        part = journaled.sealed_part(event)
        name = journaled.event_id(flow.run, event, flow.events)
        sealed = await self._vault.seal(tenant, name, journaled.VALUE, part, flow.sealed_for) if part else None
        written = journaled.written(flow, event, flow.events, state, follow, sealed, self._instance)
        return replace(written, tenant=tenant), (sealed,) if sealed else ()

    async def _shot(self, tenant: str, flow: Flow, state: State, events: Sequence[Event]) -> tuple[Flow, tuple[Payload, ...]]:
        """A snapshot, when it is time for one; it lies beside the newest event of the run itself."""
        since = flow.events - (flow.snapshot.events if flow.snapshot else 0)
        if since < SNAPSHOT_EVERY or flow.status in FINAL:
            return flow, ()
        beside = next(event.id for event in reversed(events) if event.type.startswith(journaled.PREFIX))
        sealed = await self._vault.seal(tenant, beside, journaled.STATE, msgspec.json.encode(state), flow.sealed_for)
        return replace(flow, snapshot=Snapshot(event=beside, events=flow.events, after=flow.seq)), (sealed,)


def live_call(flow: Flow, state: CallState) -> Put:
    """The call that stands for a run: under way from its start to its end, and what its steps stand on."""
    call = Call(
        request_id=flow.run,
        agent_id=road(flow),
        tool=f"workflow.{flow.workflow}",
        state=state,
        request_hash="",
        at=flow.started_at,
        txn=flow.run,
        sealed_for=flow.sealed_for,
        traceparent=flow.traceparent,
        note="run",
    )
    return Put(kind=CALL, id=flow.run, body=msgspec.json.encode(call), state=str(state), lookup=call.agent_id)


def _stamped(event: RunEvent, loaded: Loaded, state: State, now: datetime) -> RunEvent:
    """The event with the time of its commit, and the pause before another attempt drawn."""
    event = journaled.cleaned(replace(event, at=now))
    if isinstance(event, Failed) and event.again and event.pause_ms == 0:
        return replace(event, pause_ms=_drawn(loaded, state, event.node))
    return event


def _next(flow: Flow, state: State, event: RunEvent) -> Flow:
    ended = event.at if state.status in FINAL else None
    return replace(
        flow, status=state.status, events=flow.events + 1, moved_at=event.at, ended_at=ended, failure=state.failure[:256],
        hands=_hands(flow, event),
    )  # fmt: skip


def _answered(run: str, event: RunEvent) -> list[Delete]:
    """The command that the event answers is out no more."""
    node, dispatch = getattr(event, "node", ""), getattr(event, "dispatch", 0)
    return [drop_task(run, node, dispatch)] if node else []


def _hands(flow: Flow, event: RunEvent) -> tuple[str, ...]:
    """Who has given the run a value by now: whoever signalled it, or put other arguments in place of a step's."""
    gave = event.by if isinstance(event, Signalled) or (isinstance(event, Requeued) and event.edited) else ""
    return (*flow.hands, gave) if gave.startswith("person:") and gave not in flow.hands else flow.hands


def _ended_by(command: Command, event: RunEvent) -> bool:
    """Whether a command of this very unit was answered by a later event of it."""
    node, dispatch = getattr(event, "node", None), getattr(event, "dispatch", None)
    return isinstance(command, Act | Undo | Sleep) and (command.node, command.dispatch) == (node, dispatch)


def _endings(loaded: Loaded, commands: Sequence[Command]) -> list[Put | Delete]:
    """What is taken back is remembered until it is; when the run ends, its call ends with it, and whoever waits for it is woken."""
    flow = loaded.flow
    found: list[Put | Delete] = [withdrawing(flow.run, each.node, each.dispatch) for each in commands if isinstance(each, Withdraw)]
    if not any(isinstance(command, Finish) for command in commands):
        return found
    found.append(live_call(flow, CallState.DONE))
    if flow.above is not None:
        found.append(Put(kind=WAKE, id=f"run:{flow.run}", body=msgspec.json.encode(flow.run)))
    return found


def _drawn(loaded: Loaded, state: State, name: str) -> int:
    """The pause before the next attempt: full jitter over an exponential back-off.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    retry = loaded.workflow.step(step_of(name)).retry
    node = state.nodes.get(name)
    made = max(1, (node.undo_attempt or node.attempt) if node else 1)
    ceiling: timedelta = min(retry.longest, retry.backoff * retry.factor ** (made - 1))
    millis = int(ceiling.total_seconds() * 1000)
    return max(1, random.randint(0, millis) if retry.jitter == "full" else millis)  # noqa: S311 - spreads load, hides nothing
