"""What people and agents do to runs: cancel, signal, give a dead letter new attempts, give it up, or settle it by hand.

    retry, requeue   new attempts for a parked step, or for a compensation that failed, with the values that it had
    edit             the same with other arguments
    discard          its failure leaves the graph now
    settle           somebody has undone by hand what a failed compensation should have undone, or found that there was no effect
    cancel           nothing moves forward any more, and what was done is undone
    signal           what a step waits for has happened

Who may is decided before: an agent's request by policy, as the action of the step's queue; a person signs exactly what is asked
(`Wanted.asked`). The event of the run names who it was. Beside it, in the same unit, stands `run_operated` with the evidence: the
statement that the person signed, or the request under which the agent was permitted.
"""

import asyncio
from datetime import datetime
from typing import Any, Literal, get_args
from weakref import WeakValueDictionary

from msgspec import Struct

from aegis.crypto.digest import sha256
from aegis.errors import IllegalTransitionError, StoreBusyError
from aegis.journal.unit import Payload
from aegis.model.event import Event
from aegis.model.proposal import canon_arguments
from aegis.runtime import ids
from aegis.runtime.record import commitment, text
from aegis.runtime.runs.histories import Loaded
from aegis.runtime.runs.moving import Also
from aegis.runtime.runs.orchestrator import Orchestrator
from aegis.workflow.graph import step_of
from aegis.workflow.run import ENDED, FINAL, CancelAsked, Discarded, Requeued, RunEvent, SettledByHand, Signalled
from aegis.workflow.transition import transition

DOMAIN = b"aegis-run-operation-v1\0"
ASKED = "asked"
NONCE = 16
"""The fewest characters of a nonce where there are values to hide."""
Action = Literal["cancel", "signal", "retry", "requeue", "edit", "discard", "settle"]
ACTIONS: tuple[Action, ...] = get_args(Action)
OF_STEPS = frozenset({"retry", "requeue", "edit", "discard", "settle"})


class Wanted(Struct, frozen=True, kw_only=True):
    """What is asked for. `node` for what is done to a step; `signal`, `key` and `payload` for a signal.

    `nonce` is drawn by the person who signs, so that the digest says nothing of the values to whoever does not know them.
    """

    action: Action
    run: str
    node: str = ""
    reason: str = ""
    arguments: Any = None
    signal: str = ""
    key: str = ""
    payload: Any = None
    nonce: str = ""

    @property
    def plain(self) -> bytes:
        """All of it, in one canonical form."""
        return canon_arguments({name: getattr(self, name) for name in self.__struct_fields__})

    @property
    def asked(self) -> str:
        """What a person signs: the digest of exactly this."""
        return sha256(DOMAIN, self.plain)

    def audience(self, gateways: str) -> str:
        """To whom a person's statement is made out: to whoever does exactly this, and no gateway takes it for the person."""
        return f"{gateways}#operation:{self.asked.removeprefix('sha256:')}"


class By(Struct, frozen=True, kw_only=True):
    """Who it is, and what shows it: a person's `statement`, or the `request` under which an agent was permitted."""

    name: str
    statement: str = ""
    request: str = ""


class Impossible(Struct, frozen=True, kw_only=True):
    """Why it cannot be done: there is no such thing, or it stands otherwise."""

    code: Literal["absent", "conflict"]
    text: str


class Operating:
    """Does it. One for each process."""

    def __init__(self, runs: Orchestrator) -> None:
        self._runs = runs
        self._signalling: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def possible(self, tenant: str, wanted: Wanted) -> Loaded | Impossible:
        """The run, if this could be done to it now, or has been done already."""
        loaded = await self._runs.histories.load(tenant, wanted.run)
        if loaded is None:
            return Impossible(code="absent", text="no such run")
        return _refused(loaded, wanted, self._runs.clock.now()) or loaded

    async def do(self, tenant: str, wanted: Wanted, by: By) -> Loaded | Impossible:
        """The run after it, durably; to ask twice is as good as once.

        Raises:
            StoreError: It could not be recorded; it may be asked again.
        """
        lock = self._signalling.setdefault((tenant, wanted.run), asyncio.Lock())
        async with lock:  # two of the same in one unit would be one event twice
            found = await self.possible(tenant, wanted)
            if isinstance(found, Impossible) or _already(found, wanted):
                return found
            try:
                moved = await self._runs.advance(
                    tenant, wanted.run, event_of(wanted, by, self._now), also=await self._also(found, wanted, by)
                )
            except StoreBusyError:
                moved = None
                if not await self._done_meanwhile(tenant, wanted):
                    raise
        return moved or await self._after(tenant, wanted)

    @property
    def _now(self) -> datetime:
        return self._runs.clock.now()

    async def _sealed(self, loaded: Loaded, wanted: Wanted, name: str) -> Payload:
        """What was signed, so that it can be shown what the digest is of, until the person for whom the run works is erased."""
        return await self._runs.vault.seal(loaded.tenant, name, ASKED, wanted.plain, loaded.flow.sealed_for)

    async def _done_meanwhile(self, tenant: str, wanted: Wanted) -> bool:
        found = await self._runs.histories.load(tenant, wanted.run)
        return found is not None and _already(found, wanted)

    async def _after(self, tenant: str, wanted: Wanted) -> Loaded | Impossible:
        """Somebody else was first."""
        found = await self.possible(tenant, wanted)
        if isinstance(found, Impossible) or _already(found, wanted):
            return found
        return Impossible(code="conflict", text="somebody else has moved the run at this moment: look at it again")

    async def _also(self, loaded: Loaded, wanted: Wanted, by: By) -> Also:
        now = self._now
        name = f"run_operated:{ids.uuid7(now)}"
        sealed = (await self._sealed(loaded, wanted, name),) if by.statement else ()
        data: dict[str, Any] = {
            "txn": wanted.run,
            "agent_id": loaded.flow.starter.agent_id,
            "action": wanted.action,
            "step": text(wanted.node, 256),
            "by": by.name,
            "reason": text(wanted.reason, 256),
            "asked": wanted.asked if by.statement else "",
            "statement": by.statement,
            "decision_request": by.request,
        }
        if sealed:
            data["value"] = {"pii_commit": commitment(sealed[0])}
        told = Event(id=name, type="run_operated", tenant=loaded.tenant, time=now, request_id=wanted.run, data=data)
        return Also(events=(told,), payloads=sealed)


def queues(loaded: Loaded, wanted: Wanted) -> tuple[str, ...]:
    """The queues whose policy says whether an agent may do this: that of the step, or of all that did not end."""
    workflow, nodes = loaded.workflow, loaded.state.nodes
    if wanted.node:
        return (workflow.step(step_of(wanted.node)).queue,)
    left = {step_of(name) for name, node in nodes.items() if node.state not in ENDED}
    return tuple(sorted({step.queue for step in workflow.steps if step.id in left and step.act is not None} or {"default"}))


def event_of(wanted: Wanted, by: By, now: datetime) -> RunEvent:
    """What the run is told."""
    if wanted.action == "cancel":
        return CancelAsked(at=now, by=by.name, reason=wanted.reason)
    if wanted.action == "signal":
        return Signalled(at=now, name=wanted.signal, key=wanted.key, payload=wanted.payload, by=by.name)
    if wanted.action == "discard":
        return Discarded(at=now, node=wanted.node, by=by.name, reason=wanted.reason)
    if wanted.action == "settle":
        return SettledByHand(at=now, node=wanted.node, by=by.name, reason=wanted.reason)
    edited = wanted.action == "edit"
    return Requeued(at=now, node=wanted.node, by=by.name, arguments=wanted.arguments if edited else None, edited=edited)


def _already(loaded: Loaded, wanted: Wanted) -> bool:
    """Whether it was done before; what is done to steps is never done twice, since they stand otherwise after it."""
    if wanted.action == "cancel":
        return loaded.state.cancelled
    return wanted.action == "signal" and f"{wanted.signal}/{wanted.key}" in loaded.state.keys


def _refused(loaded: Loaded, wanted: Wanted, now: datetime) -> Impossible | None:
    state = loaded.state
    if _already(loaded, wanted):
        return None
    if wanted.node and wanted.node not in state.nodes:
        return Impossible(
            code="absent", text=f"run `{wanted.run}` has no step `{text(wanted.node, 64)}`: there are {_names(loaded)}"
        )
    if wanted.action == "signal" and wanted.signal not in _signals(loaded):
        return Impossible(code="absent", text=_no_signal(loaded, wanted))
    if state.status in FINAL:
        return Impossible(code="conflict", text=f"run `{wanted.run}` has ended: it is {state.status}")
    try:
        transition(loaded.workflow, state, event_of(wanted, By(name="nobody"), now))
    except IllegalTransitionError as error:
        return Impossible(code="conflict", text=str(error))
    return None


def _names(loaded: Loaded) -> str:
    return ", ".join(f"`{name}`" for name in list(loaded.state.nodes)[:16])


def _signals(loaded: Loaded) -> list[str]:
    return sorted({step.wait.signal for step in loaded.workflow.steps if step.wait is not None and step.wait.signal})


def _no_signal(loaded: Loaded, wanted: Wanted) -> str:
    named = ", ".join(f"`{name}`" for name in _signals(loaded)) or "none"
    return f"no step of workflow `{loaded.flow.workflow}` waits for the signal `{text(wanted.signal, 64)}`; it knows {named}"
