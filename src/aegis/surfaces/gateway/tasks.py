"""Tasks for workers of remote agents: lease the next one, keep it, say how it ended.

A worker shows itself as the agent that it works for, by the agent's own token. What it then does for the task it does with the
credential that came with it, which is good for nothing else; with that it may also say how the task ended. Whoever is not the
agent, or has another task's credential, learns nothing: 404.
"""

from datetime import timedelta
from typing import Any

import msgspec

from aegis.model.principal import Principal
from aegis.runtime.runs.leases import Shown
from aegis.runtime.runs.queued import task_id as name_of
from aegis.runtime.runs.settling import Ended, Report
from aegis.surfaces.gateway import http
from aegis.surfaces.gateway.asking import OK, shaped
from aegis.surfaces.gateway.caller import Caller, agent
from aegis.surfaces.gateway.problems import problem
from aegis.surfaces.gateway.taskwire import (
    CompleteBody,
    FailBody,
    HeartbeatBody,
    TaskEndView,
    TaskLeaseBody,
    TaskLeaseView,
    beat_view,
    task_view,
)


async def lease(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/queues/{queue}/lease`."""
    who = agent(caller)
    asked = shaped(gateway, body, TaskLeaseBody)
    if who.chain or who.txn:
        raise http.refuse("forbidden", "a task is leased by the agent itself: its token comes from nobody and belongs to no run")
    app = gateway.app
    tenant = app.gate.tenant(who.tenant)
    queue = app.tasks.leases.served(tenant, who, parts[0])
    if queue is None:
        raise http.refuse("not-found", "no queue of this name has tasks for this agent")
    app.require_fresh()
    if (decision := await app.tasks.leases.barred(tenant, who, queue)) is not None:
        first = decision.reasons[0] if decision.reasons else None
        rule = first.rule if first else ""
        detail = f"rule `{rule}`: {first.text}" if first else "denied"
        raise http.RefusedError(problem("policy-violation", detail=detail, rule=rule, rules=decision.rules))
    wait = timedelta(seconds=min(asked.wait_seconds, app.settings.gateway.drain_seconds - 1))
    found = await app.tasks.leases.lease(tenant, _shown(caller, asked.worker), queue, wait)
    return OK, TaskLeaseView(task=task_view(found) if found else None)


async def heartbeat(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/tasks/{task_id}/heartbeat`."""
    asked = shaped(gateway, body, HeartbeatBody)
    who = _of_task(caller, parts[0], asked)
    gateway.app.require_fresh()
    beat = await gateway.app.tasks.leases.heartbeat(gateway.app.gate.tenant(who.tenant), _shown(caller), parts[0], asked.lease)
    if beat is None:
        raise await _gone(gateway, who, parts[0])
    return OK, beat_view(parts[0], beat)


async def complete(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/tasks/{task_id}/complete`."""
    asked = shaped(gateway, body, CompleteBody)
    return await _end(gateway, caller, parts[0], asked, Report(output=asked.output))


async def fail(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/tasks/{task_id}/fail`."""
    asked = shaped(gateway, body, FailBody)
    return await _end(gateway, caller, parts[0], asked, Report(kind=asked.kind, text=asked.text, again=asked.again))


async def _end(gateway: Any, caller: Caller, task_id: str, asked: CompleteBody | FailBody, report: Report) -> tuple[int, Any]:
    who = _of_task(caller, task_id, asked)
    model = {name: value for name, value in msgspec.to_builtins(asked.model).items() if value}
    report = msgspec.structs.replace(report, tokens=asked.usage.tokens, micros=asked.usage.micros, model=model)
    ended: Ended | None = await gateway.app.tasks.settling.end(who.tenant, who, task_id, asked.lease, report)
    if ended is None:
        raise await _gone(gateway, who, task_id)
    return OK, TaskEndView(task_id=task_id, outcome=ended.outcome, detail=ended.why)


def _of_task(caller: Caller, task_id: str, asked: HeartbeatBody | CompleteBody | FailBody) -> Principal:
    """The agent, by its own token or by the credential of this very task."""
    who = agent(caller)
    caller.agrees(asked.parent_agent_id, asked.parent_request_id)
    if (who.chain or who.txn) and name_of(who.txn, who.task) != task_id:
        raise http.refuse("not-found", "no such task is leased to this agent")
    return who


async def _gone(gateway: Any, who: Principal, task_id: str) -> http.RefusedError:
    """What a worker is told whose lease is over, and what everybody else is."""
    if await gateway.app.tasks.leases.knows(who.tenant, who, task_id):
        return http.refuse("task-lost")
    return http.refuse("not-found", "no such task is leased to this agent")


def _shown(caller: Caller, worker: str = "") -> Shown:
    access = caller.access
    return Shown(
        who=agent(caller), jkt=access.jkt if access else "", prompt=access.prompt if access else "", worker=worker
    )  # fmt: skip


ROUTES: dict[tuple[str, tuple[str, ...]], Any] = {
    ("POST", ("v1", "queues", "{queue}", "lease")): lease,
    ("POST", ("v1", "tasks", "{task_id}", "heartbeat")): heartbeat,
    ("POST", ("v1", "tasks", "{task_id}", "complete")): complete,
    ("POST", ("v1", "tasks", "{task_id}", "fail")): fail,
}
