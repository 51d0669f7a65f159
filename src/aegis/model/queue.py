"""The contract of an owned queue: whose it is, how much of it runs at once, and who serves it.

`aegis.queue/v1` documents are written by the queue's owner:

    metadata   name, version, tenant, owner
    spec       description, concurrency, rate {max, per}, max_depth, lease_seconds, agents

Whoever wants something of a queue calls the tool `queue.NAME` with an `action`. So a queue contract *is* a contract: who may
enqueue, retry, cancel, pause and so on is ordinary policy, and scopes, approvals, halts and the journal see each of it as a call.
To hand a task out is the action `enqueue`, and the call stays under way for as long as the agent works on the task. Only the
orchestrator enqueues (`QueueGuard`): a task belongs to a step of a run, and nobody else knows one.

`agents` says how each agent gets its tasks: as a callable of this program, at an address of its own, or by leasing them.
"""

import re
from collections.abc import Mapping
from typing import get_args

from msgspec import Struct

from aegis.crypto.canonical import canon_numbers
from aegis.crypto.digest import sha256
from aegis.model.address import UpstreamAddress
from aegis.model.contract import NAME, VERSION, Contract
from aegis.model.decision import Verdict
from aegis.model.document import Document
from aegis.model.facts import Facts
from aegis.model.node import Node
from aegis.model.operation import Operation, Segment
from aegis.model.proposal import Proposal
from aegis.model.schema import Schema

API_VERSION = "aegis.queue/v1"
PREFIX = "queue."
ENQUEUE = "enqueue"
ACTIONS = (ENQUEUE, "retry", "cancel", "requeue", "discard", "edit", "signal", "pause", "resume", "drain")
MAX_CONCURRENCY = 1000
MAX_DEPTH = 1_000_000
LEASE_SECONDS = 30
TIMEOUT_SECONDS = 30
MAX_AGENTS = 64
_AGENT = re.compile(r"agent:[a-z0-9][a-z0-9._-]{0,62}")
_CALLABLE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_URL = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(?:/[A-Za-z0-9._~/-]*)?")
_PERIOD = re.compile(r"([1-9][0-9]{0,4})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MAX_PERIOD = 86400
_NAMED = {"type": "string", "minLength": 1, "maxLength": 256}
_INPUT = {
    "type": "object",
    "required": ["action"],
    "properties": {
        "action": {"type": "string", "enum": list(ACTIONS)},
        "agent": _NAMED,
        "workflow": _NAMED,
        "run": _NAMED,
        "step": _NAMED,
    },
    "additionalProperties": False,
}
_RESULT = Schema({"type": "object", "required": ["state"], "properties": {"state": {"type": "string"}}})


class Callable(Struct, frozen=True, kw_only=True, tag="python"):
    """A function of a module that the settings name: `package.module:function`."""

    name: str


class Endpoint(Struct, frozen=True, kw_only=True, tag="endpoint"):
    """A service that takes a task by POST and answers with its output within the time."""

    url: str
    timeout_seconds: int = TIMEOUT_SECONDS


class Remote(Struct, frozen=True, kw_only=True, tag="remote"):
    """Workers, wherever they run, lease tasks over HTTP."""


Server = Callable | Endpoint | Remote


class QueueContract(Contract, frozen=True, kw_only=True):
    """One version of a queue, as the contract of the tool `queue.NAME`. 0 is no limit.

    `concurrency` counts tasks at work at once and `rate` those that begin within `period_seconds`, over all processes; `max_depth`
    bounds those that wait for workers.
    """

    concurrency: int
    rate: int
    period_seconds: int
    max_depth: int
    lease_seconds: int
    agents: Mapping[str, Server]

    @property
    def queue(self) -> str:
        """Its name, as steps state it."""
        return self.name.removeprefix(PREFIX)

    @property
    def limited(self) -> bool:
        """Whether dispatch must hold tasks back. Those of workers are held back when they are leased, and need it not."""
        local = any(not isinstance(server, Remote) for server in self.agents.values())
        return local and bool(self.concurrency or self.rate)


class QueueGuard:
    """Refuses tasks that do not come from a run.

    The principal of a run's step is made by the orchestrator and holds no token; whoever comes through a door holds one, which has
    an id.
    """

    name = "queue"

    def __init__(self, by_digest: Mapping[str, Contract]) -> None:
        self._by_digest = by_digest

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """Nothing for a call that enqueues no task."""
        found = self._by_digest.get(proposal.tool_digest)
        if not isinstance(found, QueueContract) or proposal.arguments.get("action") != ENQUEUE:
            return ()
        who = proposal.principal
        if who.token_id or not who.txn or proposal.arguments.get("run") != who.txn:
            return (self._deny(proposal, "#run", "only a run puts a task into a queue: start a workflow", "args.action"),)
        if proposal.arguments.get("agent") not in found.agents:
            return (self._deny(proposal, "#agents", "the queue does not name this agent under `agents`", "args.agent"),)
        return ()

    def _deny(self, proposal: Proposal, rule: str, reason: str, field: str) -> Verdict:
        return Verdict(guard=self.name, effect="deny", rule=f"{proposal.tool}{rule}", reason=reason, field=field)


def queue_contract(document: Document) -> QueueContract:
    """The contract that a document states.

    Raises:
        DocumentError: With file, line and column, what was found and what was expected.
    """
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("Queue",))
    meta = top["metadata"].fields(("name", "version", "tenant", "owner"), ("name", "version", "tenant", "owner"))
    name, version = _match(meta["name"], NAME, "a name such as `finance`"), _match(meta["version"], VERSION, "X.Y.Z")
    words = ("description", "concurrency", "rate", "max_depth", "lease_seconds", "agents")
    spec = top["spec"].fields(words, ("description", "agents"))
    rate, period = _rate(spec["rate"]) if "rate" in spec else (0, 0)
    meaning = {"metadata": {"name": name, "version": version}, "spec": document.value["spec"]}
    return QueueContract(
        name=PREFIX + name, version=version, tenant=meta["tenant"].text(), owner=meta["owner"].text(), source=document.source,
        description=spec["description"].text(), effect="write", resource=f"queue/{name}", interrupt="honours_key",
        idempotency_header="idempotency-key", upstream=UpstreamAddress(url="queue:"), operations={"call": _ASKING},
        input=Schema(_INPUT), output=_RESULT, digest=sha256(canon_numbers(meaning)),
        concurrency=spec["concurrency"].integer(1, MAX_CONCURRENCY) if "concurrency" in spec else 0, rate=rate,
        period_seconds=period, max_depth=spec["max_depth"].integer(1, MAX_DEPTH) if "max_depth" in spec else 0,
        lease_seconds=spec["lease_seconds"].integer(1, 3600) if "lease_seconds" in spec else LEASE_SECONDS,
        agents=_agents(spec["agents"]),
    )  # fmt: skip


_WORDS = ("action", "agent", "workflow", "run", "step")
_ASKING = Operation(method="POST", path=(Segment(text="queues"),), body=tuple((name, name) for name in _WORDS))


def _rate(node: Node) -> tuple[int, int]:
    parts = node.fields(("max", "per"), ("max", "per"))
    found = _PERIOD.fullmatch(parts["per"].text())
    period = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= period <= _MAX_PERIOD:
        raise parts["per"].fail("expected a time such as `10s`, `1m` or `1h`, at most `1d`")
    return parts["max"].integer(1, MAX_CONCURRENCY), period


def _agents(node: Node) -> dict[str, Server]:
    found = {}
    for name, child in node.members().items():
        if not _AGENT.fullmatch(name):
            raise child.fail(f"`{name}` is not an agent; expected a name such as `agent:retriever`")
        found[name] = _server(child)
    if not 1 <= len(found) <= MAX_AGENTS:
        raise node.fail(f"expected from 1 to {MAX_AGENTS} agents, found {len(found)}")
    return found


def _server(node: Node) -> Server:
    """How one agent gets its tasks: exactly one of three ways."""
    parts = node.fields(("python", "endpoint", "remote", "timeout_seconds"))
    kinds = [each.__struct_config__.tag for each in get_args(Server) if each.__struct_config__.tag in parts]
    if len(kinds) != 1 or ("timeout_seconds" in parts and "endpoint" not in parts):
        raise node.fail("expected exactly one of `python`, `endpoint` (with `timeout_seconds`, if you like) and `remote: true`")
    if "python" in parts:
        return Callable(name=_shaped(parts["python"], _CALLABLE, "`package.module:function`"))
    if "remote" in parts:
        if not parts["remote"].flag():
            raise parts["remote"].fail("expected true")
        return Remote()
    seconds = parts["timeout_seconds"].integer(1, 3600) if "timeout_seconds" in parts else TIMEOUT_SECONDS
    return Endpoint(url=_shaped(parts["endpoint"], _URL, "a URL such as https://retriever.example/tasks"), timeout_seconds=seconds)


def _match(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    text = _shaped(node, pattern, expected)
    if len(text) > 128 - len(PREFIX):
        raise node.fail(f"expected {expected}, of at most {128 - len(PREFIX)} characters")
    return text


def _shaped(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    text = node.text()
    if not pattern.fullmatch(text):
        raise node.fail(f"expected {expected}")
    return text


def queues(contracts: Mapping[str, Contract]) -> dict[str, QueueContract]:
    """The queues among contracts, by their names."""
    return {each.queue: each for each in contracts.values() if isinstance(each, QueueContract)}
