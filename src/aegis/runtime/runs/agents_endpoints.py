"""Agents that are services: a task goes to the agent's address, and its output is the answer.

    POST URL   {task, input, credential, gateway}       bearer: the credential, which is good for just this task
    2xx        {output, usage, model}
    4xx        the agent does not want the task: failed
    else       nobody knows how far it came: tried again, since everything that it did is keyed by run and node

The credential is what the agent acts with, and everything that it does stands on the task. The task ends with the answer, and the
credential with the task.
"""

from typing import Any, Protocol

import msgspec
from msgspec import Struct

from aegis.crypto import ijson
from aegis.errors import IdentityError, InputError, UpstreamError
from aegis.identity.directory import AgentEntry
from aegis.model.event import instant
from aegis.model.queue import Endpoint
from aegis.model.upstream import UpstreamResponse
from aegis.runtime.clock import Clock
from aegis.runtime.runs.agents import NOW, Handed, failed
from aegis.runtime.runs.credentials import Credential, TaskCredentials
from aegis.runtime.runs.queued import task_id
from aegis.runtime.runs.reported import usage
from aegis.workflow.run import RunEvent, Succeeded

MAX_DEPTH = 64


class AgentHttp(Protocol):
    """Speaks to agents' endpoints. It repeats nothing by itself and follows no redirect."""

    async def post(self, url: str, body: bytes, token: str, timeout_seconds: float) -> UpstreamResponse:
        """The answer.

        Raises:
            UpstreamError: There is none. Reasons: `connect_failed`, `timeout`, `reset`, `too_large`.
        """


class UsageBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent says that it used."""

    tokens: int = 0
    micros: int = 0


class _Said(Struct, frozen=True, kw_only=True):
    output: Any
    usage: UsageBody = UsageBody()
    model: dict[str, str | int] = {}


class Endpoints:
    """Hands tasks to services. `gateway_url` is where they reach this gateway."""

    def __init__(self, http: AgentHttp, credentials: TaskCredentials, clock: Clock, gateway_url: str) -> None:
        self._http = http
        self._credentials = credentials
        self._clock = clock
        self._gateway_url = gateway_url

    async def work(self, handed: Handed) -> RunEvent:
        """What came of it."""
        task = handed.task
        server = handed.queue.agents[task.agent_id]
        assert isinstance(server, Endpoint)
        if why := _lacks(task.tenant.directory.agents.get(task.agent_id)):
            return failed(task, "denied", why, outcome="denied")
        seconds = min(server.timeout_seconds, task.step.timeout.total_seconds() if task.step.timeout else server.timeout_seconds)
        try:
            found = self._credentials.issue(task.tenant, handed.stand, self._clock.now())
            reply = await self._http.post(server.url, self._asked(handed, found), found.token, seconds)
        except IdentityError as error:
            return failed(task, "denied", f"no credential for `{task.agent_id}`: {error.reason}", outcome="denied")
        except UpstreamError as error:
            late = error.reason == "timeout"
            return failed(
                task,
                error.reason,
                f"the agent did not answer: {error.reason}",
                again=True,
                outcome="timed_out" if late else "failed",
            )
        return _answered(handed, reply)

    def _asked(self, handed: Handed, found: Credential) -> bytes:
        task = handed.task
        said = {
            "task": {
                "id": task_id(task.run, task.node), "run": task.run, "workflow": task.definition.name, "step": task.step.id,
                "node": task.node, "dispatch": task.dispatch, "attempt": task.attempt, "agent": task.agent_id,
            },
            "input": task.arguments,
            "credential": {
                "token": found.token, "expires_at": instant(found.expires_at), "parent_agent_id": found.parent[0],
                "parent_request_id": found.parent[1],
            },
            "gateway": self._gateway_url,
        }  # fmt: skip
        return msgspec.json.encode(said)


def _lacks(entry: AgentEntry | None) -> str:
    """What an endpoint cannot show and the directory wants; empty when it wants nothing."""
    if entry is not None and entry.proof_required:
        return "the directory wants tokens of this agent bound to a key: let it lease its tasks (`remote: true`)"
    if entry is not None and entry.prompt:
        return "the directory wants this agent to show its instructions: let it lease its tasks (`remote: true`)"
    return ""


def _answered(handed: Handed, reply: UpstreamResponse) -> RunEvent:
    task, status = handed.task, reply.status
    if 400 <= status < 500 and status not in (408, 425, 429):
        return failed(task, "refused", f"the agent answered {status}")
    if not 200 <= status < 300:
        return failed(task, "agent_error", f"the agent answered {status}", again=True)
    try:
        said = msgspec.convert(ijson.parse(reply.body, max_size_bytes=len(reply.body), max_depth=MAX_DEPTH), _Said)
    except InputError:
        return failed(task, "contract", "the agent's answer is not JSON", again=True)
    except msgspec.ValidationError as error:
        return failed(task, "contract", f"the agent's answer is not `{{output, usage, model}}`: {error}", again=True)
    model = {name: str(value) for name, value in said.model.items()}
    used = usage(tokens=said.usage.tokens, micros=said.usage.micros, model={**task.step.model, **model})
    return Succeeded(at=NOW, node=task.node, dispatch=task.dispatch, output=said.output, usage=used)
