"""Runs of workflows over HTTP: the list, one run, its events; cancel, signal, and what is done to its steps.

An agent sees the runs that it started or takes part in, a person those of the tenant. Values (inputs, outputs) are shown only to
who asks for them and may see them: people, and the agent that started the run, for the same subject; that they looked is recorded.
What an agent wants done is decided as the tool `queue.QUEUE` of the step's queue; a person sends a statement that is signed for
exactly this.
"""

from collections.abc import Callable
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from aegis.crypto import jws
from aegis.crypto.digest import sha256
from aegis.errors import IdentityError, InputError
from aegis.identity.token import verify_person
from aegis.journal.unit import Unit
from aegis.model.event import Event
from aegis.model.principal import Principal
from aegis.model.queue import PREFIX
from aegis.runtime import ids
from aegis.runtime.ask import Kind
from aegis.runtime.runs.flow import Flow
from aegis.runtime.runs.histories import Loaded
from aegis.runtime.runs.journaled import PREFIX as PREFIX_OF_RUNS
from aegis.runtime.runs.operating import NONCE, OF_STEPS, Action, By, Impossible, Wanted, queues
from aegis.runtime.runs.reading_runs import takes_part
from aegis.surfaces.gateway import http
from aegis.surfaces.gateway.asking import OK, ask_of, shaped, told
from aegis.surfaces.gateway.caller import Caller
from aegis.surfaces.gateway.runwire import OneRun, OperateBody, Operated, RunLine, RunsView, SignalBody
from aegis.workflow.graph import Workflow
from aegis.workflow.run import FINAL, RunState

LIMIT, MOST = 50, 200
LAST = 10


async def listed(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`GET /v1/runs?workflow=&state=&limit=&after=`."""
    query = exchange.request.query
    state, limit = query.get("state", ""), query.get("limit", str(LIMIT))
    if state and state not in set(RunState):
        raise http.refuse("malformed", f"state: expected {', '.join(RunState)}", field="state")
    if not limit.isdecimal() or not limit.isascii() or not 1 <= int(limit) <= MOST:
        raise http.refuse("malformed", f"limit: expected a number from 1 to {MOST}", field="limit")
    page = await gateway.app.workflows.reading.listed(
        caller.tenant, gateway.app.gate.clock.now(), workflow=query.get("workflow", ""), state=state,
        after=query.get("after", ""), limit=int(limit), sees=_sees(caller),
    )  # fmt: skip
    return OK, RunsView(runs=tuple(_line(flow) for flow in page.runs), after=page.after)


async def one(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`GET /v1/runs/{run}?values=true`."""
    flow = await _seen(gateway, caller, parts[0])
    values = exchange.request.query.get("values", "false")
    if values not in ("true", "false"):
        raise http.refuse("malformed", "values: expected `true` or `false`", field="values")
    if values == "true":
        await _look(gateway, caller, flow)
    reading = gateway.app.workflows.reading
    view = await reading.one(caller.tenant, flow.run, values=values == "true")
    return OK, OneRun(run=view, last_events=await reading.newest_events(caller.tenant, flow.run, LAST))


async def events(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`GET /v1/runs/{run}/events?after=SEQ`; what people signed, and what else stands beside them, is for people."""
    flow = await _seen(gateway, caller, parts[0])
    after = exchange.request.query.get("after", "-1")
    if after != "-1" and not (after.isdecimal() and after.isascii() and len(after) < 16):
        raise http.refuse("malformed", "after: expected the `seq` of an event", field="after")
    found = await gateway.app.workflows.reading.events(caller.tenant, flow.run, after=int(after))
    mine = found if caller.agent is None else tuple(body for body in found if body["type"].startswith(PREFIX_OF_RUNS))
    return OK, {"run": flow.run, "events": mine}


async def cancel(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:
    """`POST /v1/runs/{run}/cancel`."""
    said = shaped(gateway, body, OperateBody)
    if said.arguments is not UNSET:
        raise InputError("only `edit` takes arguments", "/arguments")
    return await _operate(
        gateway, exchange, caller, said, Wanted(action="cancel", run=parts[0], reason=said.reason, nonce=said.nonce)
    )


async def signal(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:
    """`POST /v1/runs/{run}/signal`."""
    said = shaped(gateway, body, SignalBody)
    wanted = Wanted(action="signal", run=parts[0], signal=said.name, key=said.key, payload=said.payload, nonce=said.nonce)
    return await _operate(gateway, exchange, caller, said, wanted)


def of_step(action: Action) -> Any:
    """`POST /v1/runs/{run}/steps/{node}/ACTION`."""

    async def work(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:
        said = shaped(gateway, body, OperateBody)
        if (said.arguments is not UNSET) is not (action == "edit"):
            word = "expected the new arguments" if action == "edit" else "only `edit` takes arguments"
            raise InputError(word, "/arguments")
        arguments = None if said.arguments is UNSET else said.arguments
        wanted = Wanted(action=action, run=parts[0], node=parts[1], reason=said.reason, arguments=arguments, nonce=said.nonce)
        return await _operate(gateway, exchange, caller, said, wanted)

    return work


async def _operate(gateway: Any, exchange: Any, caller: Caller, said: OperateBody | SignalBody, wanted: Wanted) -> tuple[int, Any]:
    operating = gateway.app.workflows.operating
    if caller.agent is not None:
        caller.agrees(said.parent_agent_id, said.parent_request_id, said.txn, said.task)
    else:
        gateway.app.require_fresh()
        _signed(gateway, caller, said.statement, wanted)
    loaded = _possible(await operating.possible(caller.tenant, wanted))
    if caller.agent is None:
        moved = _possible(await operating.do(caller.tenant, wanted, By(name=caller.person, statement=said.statement)))
        return OK, _operated(moved, wanted)
    if loaded.state.status in FINAL:
        await _seen(gateway, caller, wanted.run)
    return await _by_agent(gateway, exchange, caller.agent, loaded, wanted)


async def _by_agent(gateway: Any, exchange: Any, who: Principal, loaded: Loaded, wanted: Wanted) -> tuple[int, Any]:
    """Decide it in the name of every queue that it touches; then do it, and report each of those calls ended."""
    if wanted.action == "settle":
        raise http.refuse("forbidden", "only a person can say that something was undone by hand")
    if loaded.state.status in FINAL:  # what is asked was done before, else it would have been refused
        return OK, _operated(loaded, wanted)
    by = By(name=who.agent_id, request=exchange.request_id)
    asked: list[str] = []
    if not (wanted.action == "signal" and _starter(who, loaded.flow) and not _halted(gateway, who, loaded)):
        for queue in queues(loaded, wanted):
            said = await gateway.app.gate.decide(_ask(gateway, exchange, who, loaded, wanted, queue, len(asked)))
            if said.kind not in (Kind.DECIDED, Kind.DONE):
                await _report(gateway, who, asked, done=False)
                return told(gateway, exchange, said, enforced=False)
            asked.append(said.repeat_of or said.request_id)
    done = False
    try:
        found = await gateway.app.workflows.operating.do(who.tenant, wanted, by)
        done = not isinstance(found, Impossible)
    finally:
        await _report(gateway, who, asked, done=done)
    return OK, _operated(_possible(found), wanted)


def _ask(gateway: Any, exchange: Any, who: Principal, loaded: Loaded, wanted: Wanted, queue: str, place: int) -> Any:
    """The request as a call of the queue; without a key of its own it has one that is good while the step stands so."""
    arguments = {"action": wanted.action, "workflow": loaded.flow.workflow, "run": wanted.run}
    if wanted.node:
        arguments["step"] = wanted.node
    made = ask_of(gateway, exchange, who, PREFIX + queue, arguments, "")
    node = loaded.state.nodes.get(wanted.node)
    stands = node.dispatch if node is not None else 0
    about = "\0".join((wanted.action, wanted.run, wanted.node, wanted.signal, wanted.key, str(stands)))
    same = sha256(about.encode()).removeprefix("sha256:")[:48]
    suffix = f".{place}" if place else ""
    return replace(made, idempotency_key=(made.idempotency_key or same)[:120] + suffix, request_id=made.request_id + suffix)


async def _report(gateway: Any, who: Principal, asked: list[str], *, done: bool) -> None:
    for request_id in asked:
        await gateway.app.gate.report(who.tenant, who.agent_id, request_id, done=done, result=({"state": "done"},) if done else ())


def _signed(gateway: Any, caller: Caller, statement: str, wanted: Wanted) -> None:
    """Refuse a person's request without their statement about exactly this."""
    if not statement:
        raise http.refuse("forbidden", "a person signs what they want done to a run: `aegis workflow` and `aegis dlq` do so")
    if (wanted.arguments is not None or wanted.payload is not None) and len(wanted.nonce) < NONCE:
        raise InputError(
            f"expected at least {NONCE} characters that were drawn for this, which hide the values in what is signed", "/nonce"
        )
    audience = wanted.audience(gateway.app.settings.gateway.audience)
    now = gateway.app.gate.clock.now()
    try:
        found = verify_person(jws.parse(statement), gateway.app.keyring.keys, audience=audience, now=now)
    except IdentityError as error:
        raise http.refuse("forbidden", f"the statement was refused: {error.reason}", reason=error.reason) from None
    if (found.tenant, found.person) != (caller.tenant, caller.person):
        raise http.refuse("forbidden", "the statement is another person's")


def _possible(found: Loaded | Impossible) -> Loaded:
    if isinstance(found, Impossible):
        raise http.refuse("not-found" if found.code == "absent" else "run-conflict", found.text)
    return found


def _operated(loaded: Loaded, wanted: Wanted) -> Operated:
    node = loaded.state.nodes.get(wanted.node)
    return Operated(
        run=wanted.run, state=str(loaded.flow.status), step=wanted.node, step_state=str(node.state) if node is not None else ""
    )


def _halted(gateway: Any, who: Principal, loaded: Loaded) -> bool:
    names = (who.agent_id, f"run:{loaded.flow.run}", f"workflow:{loaded.flow.workflow}")
    return bool(gateway.app.gate.halts.stale or gateway.app.gate.halts.stands(who.tenant, names))


def _sees(caller: Caller) -> Callable[[Flow, Workflow], bool] | None:
    """Which runs an agent sees; a person sees all."""
    if caller.agent is None:
        return None
    name = caller.agent.agent_id
    return lambda flow, workflow: name in (flow.starter.agent_id, *flow.starter.chain) or takes_part(workflow, name)


async def _seen(gateway: Any, caller: Caller, run: str) -> Flow:
    """The run, if there is one that the caller sees."""
    histories = gateway.app.workflows.histories
    flow: Flow | None = await histories.flow(caller.tenant, run)
    sees = _sees(caller)
    if flow is None or (sees is not None and not sees(flow, await histories.definition(caller.tenant, flow.digest))):
        raise http.refuse("not-found", "no such run")
    return flow


async def _look(gateway: Any, caller: Caller, flow: Flow) -> None:
    """Record that somebody looks at what a run works with, or refuse."""
    if caller.agent is not None and not _starter(caller.agent, flow):
        raise http.refuse("forbidden", "values of a run are shown to people and to the agent that started it")
    now = gateway.app.gate.clock.now()
    data = {"txn": flow.run, "agent_id": flow.starter.agent_id, "by": caller.name}
    event = Event(
        id=f"run_read:{ids.uuid7(now)}", type="run_read", tenant=caller.tenant, time=now, request_id=flow.run, data=data
    )  # fmt: skip
    await gateway.app.gate.store.commit(Unit(tenant=caller.tenant, events=(event,)))


def _starter(who: Principal, flow: Flow) -> bool:
    return (who.agent_id, who.subject) == (flow.starter.agent_id, flow.starter.subject)


def _line(flow: Flow) -> RunLine:
    return RunLine(
        run=flow.run, workflow=flow.workflow, version=flow.version, state=str(flow.status), started_by=flow.starter.agent_id,
        started_at=flow.started_at, moved_at=flow.moved_at, ended_at=flow.ended_at, failure=flow.failure, events=flow.events,
    )  # fmt: skip


ROUTES: dict[tuple[str, tuple[str, ...]], Any] = {
    ("GET", ("v1", "runs")): listed,
    ("GET", ("v1", "runs", "{run}")): one,
    ("GET", ("v1", "runs", "{run}", "events")): events,
    ("POST", ("v1", "runs", "{run}", "cancel")): cancel,
    ("POST", ("v1", "runs", "{run}", "signal")): signal,
    **{("POST", ("v1", "runs", "{run}", "steps", "{node}", name)): of_step(name) for name in sorted(OF_STEPS)},  # type: ignore[arg-type]
}
