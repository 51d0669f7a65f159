"""Agents that are functions of this program, and the hands that they work with.

    async def score(task: Task) -> Any | Output

Only functions of modules that the settings name can be agents: whoever writes a queue's document does not choose what is imported.
A function acts through `task.call`: each call is decided with the agent's own principal, which stands on the task, under a key that
begins with run and node. So a function that is run again meets what it has done before.

What it answers is its output; `Output` says also what it has used, and by which model it came to it.
"""

import asyncio
import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.crypto.digest import sha256
from aegis.errors import AegisError, ApprovalPending, GatewayError, IdentityError, InputError, PolicyViolation
from aegis.model.approval import Approval
from aegis.model.principal import Principal
from aegis.model.proposal import canon_arguments
from aegis.model.queue import Callable as Named
from aegis.runtime.ask import Answer, Ask, Kind
from aegis.runtime.enforce import Gate
from aegis.runtime.runs.agents import NOW, Handed, failed
from aegis.runtime.runs.credentials import holder
from aegis.runtime.runs.reported import MAX_TOKENS, usage
from aegis.workflow.graph import Amount
from aegis.workflow.run import Failed, Held, RunEvent, Succeeded, Usage

LONGEST_SECONDS = 3600.0
_AGAIN = frozenset({Kind.FAILED, Kind.INTERRUPTED, Kind.IN_FLIGHT, Kind.SETTLING, Kind.BUSY})


class Output(Struct, frozen=True, kw_only=True):
    """An output with what it took: `tokens`, `micros` (millionths of the tenant's unit of money)."""

    value: Any
    tokens: int = 0
    micros: int = 0


class RefusedCallError(GatewayError):
    """A call of a task ended otherwise than done: `kind` says how; `again` that another attempt of the task makes sense."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"`{answer.tool}`: {answer.kind} ({answer.reason})")
        self.kind = answer.kind
        self.again = answer.kind in _AGAIN or answer.passing


class _HeldError(ApprovalPending):
    """A call of a task waits for a person, and with it the task."""

    def __init__(self, approval: Approval) -> None:
        super().__init__("a person must approve this call", approval.approval_id, 1.0)
        self.approval = approval


class Task:
    """What a function is given: its input, where it works, and its hands."""

    def __init__(self, gate: Gate, handed: Handed, who: Principal) -> None:
        task = handed.task
        self.input = task.arguments
        self.tenant = task.tenant.name
        self.workflow = task.definition.name
        self.run = task.run
        self.step = task.step.id
        self.node = task.node
        self.attempt = task.attempt
        self.agent_id = task.agent_id
        self.used = Amount()
        self.said: Mapping[str, str] = dict(task.step.model)
        self._gate = gate
        self._who = who
        self._dispatch = task.dispatch
        self._turn = 0

    async def call(self, tool: str, arguments: Mapping[str, Any], *, key: str = "") -> Any:
        """The result of a tool, called as the agent.

        `key` names the effect within the task; without one, calls are counted, and the function must make them in the same order
        whenever it is run again.

        Raises:
            PolicyViolation: Denied.
            ApprovalPending: A person must look: let it through, and the task is taken up again when the person has.
            RefusedCallError: It came to nothing, or nobody knows.
        """
        self._turn += 1
        ask = Ask(
            principal=self._who,
            tool=tool,
            arguments=dict(arguments),
            idempotency_key=effect_key(self.run, self.node, key or str(self._turn)),
            request_id=f"{self.run}:{self.node}:{self._dispatch}.{self._turn}",  # by which an answer finds the task that waits
            door="workflow",
        )
        return _result(await self._gate.call(ask))

    def model(
        self,
        model_id: str,
        *,
        version: str = "",
        prompt: str | bytes = b"",
        prompt_sha256: str = "",
        seed: int | str = "",
        tokens: int = 0,
        micros: int = 0,
    ) -> None:
        """Record by which model the output is made: of the prompt, only its digest is kept."""
        raw = prompt.encode() if isinstance(prompt, str) else prompt
        digest = prompt_sha256 or (sha256(raw) if raw else "")
        found = {"id": model_id, "version": version, "prompt_sha256": digest, "seed": str(seed)}
        self.said = {**self.said, **{name: value for name, value in found.items() if value}}
        self.used = self.used.plus(Amount(tokens=min(max(0, tokens), MAX_TOKENS), micros=max(0, micros)))


def effect_key(run: str, node: str, name: str) -> str:
    """The idempotency key of an effect of a task: the same for every attempt, and never that of a step."""
    return f"{run}/{node}/{name}"


Function = Callable[[Task], Any]


class Callables:
    """Runs them. `modules` are those whose functions may be agents."""

    def __init__(self, gate: Gate, modules: Collection[str]) -> None:
        self._gate = gate
        self._modules = frozenset(modules)
        self._functions: dict[str, Function] = {}

    def know(self, name: str, function: Function) -> None:
        """Use this function under the name; for programs that bring a gateway along."""
        self._functions[name] = function

    async def work(self, handed: Handed) -> RunEvent:
        """What came of it."""
        task = handed.task
        server = handed.queue.agents[task.agent_id]
        assert isinstance(server, Named)
        try:
            function = self._function(server.name)
            hands = Task(self._gate, handed, holder(task.tenant, handed.stand))
        except (InputError, IdentityError) as error:
            return failed(task, "no_callable", str(error))
        try:
            seconds = task.step.timeout.total_seconds() if task.step.timeout else LONGEST_SECONDS
            async with asyncio.timeout(seconds):
                said = await _run(function, hands)
            return _succeeded(handed, hands, said)
        except TimeoutError:
            return _failed(handed, hands, "timeout", "the agent took too long", again=True, outcome="timed_out")
        except Exception as error:  # whatever an agent raises, its task came to nothing and the run goes on
            return _ended(handed, hands, error)

    def _function(self, name: str) -> Function:
        found = self._functions.get(name)
        if found is None:
            module, _, attribute = name.partition(":")
            if module not in self._modules:
                raise InputError(f"module `{module}` is not among the settings' `workflows.agents`: nothing of it is run")
            try:
                found = getattr(importlib.import_module(module), attribute)
            except (ImportError, AttributeError) as error:
                raise InputError(f"`{name}` cannot be imported: {type(error).__name__}") from None
            self._functions[name] = found
        return found


async def _run(function: Function, hands: Task) -> Any:
    """The answer of an async function, or of a plain one in a thread of its own."""
    if inspect.iscoroutinefunction(function):
        return await function(hands)
    return await asyncio.to_thread(function, hands)


def _result(answer: Answer) -> Any:
    if answer.kind is Kind.DONE:
        return answer.result
    if answer.kind is Kind.HELD and answer.approval is not None:
        raise _HeldError(answer.approval)
    if answer.kind is Kind.DENIED:
        rules = ", ".join(answer.decision.rules) if answer.decision else ""
        raise PolicyViolation(f"`{answer.tool}` is denied: {rules}")
    raise RefusedCallError(answer)


def _succeeded(handed: Handed, hands: Task, said: Any) -> RunEvent:
    task = handed.task
    value = said.value if isinstance(said, Output) else said
    used = hands.used.plus(Amount(tokens=said.tokens, micros=said.micros)) if isinstance(said, Output) else hands.used
    try:
        canon_arguments({"output": value})
    except AegisError:
        return _failed(handed, hands, "contract", "the output is not JSON", again=True)
    return Succeeded(at=NOW, node=task.node, dispatch=task.dispatch, output=value, usage=_usage(used, hands))


def _ended(handed: Handed, hands: Task, error: Exception) -> RunEvent:
    """What a function raised, as an event. Its words may hold what it worked on: only the type of a foreign error is told."""
    task = handed.task
    if isinstance(error, _HeldError):
        held = error.approval
        return Held(
            at=NOW, node=task.node, dispatch=task.dispatch, approval_id=held.approval_id, expires_at=held.expires_at
        )  # fmt: skip
    if isinstance(error, PolicyViolation):
        return _failed(handed, hands, "denied", str(error), outcome="denied")
    if isinstance(error, RefusedCallError):
        kind = "unknown" if error.kind is Kind.UNKNOWN else "call_failed"
        return _failed(handed, hands, kind, str(error), again=error.again)
    return _failed(handed, hands, "agent_error", f"the agent raised {type(error).__name__}", again=True)


def _failed(handed: Handed, hands: Task, kind: str, text: str, *, again: bool = False, outcome: str = "failed") -> Failed:
    made = failed(handed.task, kind, text, again=again, outcome=outcome)
    return replace(made, usage=_usage(hands.used, hands))


def _usage(used: Amount, hands: Task) -> Usage:
    return usage(tokens=used.tokens, micros=used.micros, model=hands.said)
