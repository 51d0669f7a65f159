"""Can what the plan does be undone, is somebody asked before it is dangerous, does it end, and to whom does it speak."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from aegis.model.queue import PREFIX, Endpoint, QueueContract
from aegis.policy.hosts import Ambiguous, canonical_host, member_of
from aegis.policy.parsed import read_url
from aegis.workflow.gates.known import before, calls, contract_of, filled, nodes, texts, tool_of
from aegis.workflow.gates.report import Finding, Level, Scene
from aegis.workflow.graph import Action, ApprovalSpec, Step, Workflow

_OURS = ("workflow:", "mailbox:", "queue:")
AMBIGUOUS = "?"
"""Stands for a host that two readers could read differently."""


class SafetyGate:
    """Looks for effects that nobody can take back, and for work without an end."""

    name = "safety"

    def __call__(self, plan: Workflow, scene: Scene) -> tuple[Finding, ...]:
        """What is not safe about the plan."""
        guarded = _guarded(plan, scene)
        effects = (found for step, action in calls(plan) for found in _effect(step, action, scene, guarded))
        return (*effects, *_size(plan, scene), *_again(plan), *_egress(plan, scene))


def hosts(step: Step, action: Action, scene: Scene) -> frozenset[str]:
    """The hosts that are spoken to: that of the tool or of the agent, and those of addresses among the arguments."""
    url = _server(step, action, scene)
    own = {_host(urlsplit(url).netloc)} if url and not url.startswith(_OURS) else set()
    named = [text for text in texts(filled(action.arguments, scene.input)) if text[:8].lower().startswith(("http://", "https://"))]
    return frozenset(own | {_address(text) for text in named})


def outside(step: Step, action: Action, scene: Scene) -> bool:
    """Whether an action speaks to a host that is not within."""
    within = member_of(scene.gates.inside)
    return any(host == AMBIGUOUS or not within(host) for host in hosts(step, action, scene))


def _server(step: Step, action: Action, scene: Scene) -> str:
    """The address of whoever does what the action says; empty when that is done here, or by a worker that comes to us."""
    if tool_of(action):
        contract = contract_of(action, scene)
        return contract.upstream.url if contract else ""
    queue = scene.contracts.get(PREFIX + step.queue)
    server = queue.agents.get(action.name) if isinstance(queue, QueueContract) else None
    return server.url if isinstance(server, Endpoint) else ""


def _finding(code: str, text: str, step: Step | None = None, level: Level = "refuse") -> Finding:
    where = {"step": step.id, "place": step.place} if step else {}
    return Finding(gate=SafetyGate.name, code=code, level=level, text=text, **where)


def _effect(step: Step, action: Action, scene: Scene, guarded: Mapping[str, bool]) -> Iterator[Finding]:
    contract = contract_of(action, scene)
    if contract is None or contract.effect == "read":
        return
    if step.undo is None and not step.irrevocable:
        yield _finding("not_undone", f"`{tool_of(action)}` writes: expected `compensate`, or a reason why nothing undoes it", step)
    if contract.effect == "dangerous" and not guarded[step.id]:
        yield _finding("unguarded", f"`{tool_of(action)}` is dangerous, and no approval surely stands before it", step, "person")
    if step.repeat is not None:
        yield _finding("write_repeated", f"`{tool_of(action)}` may write up to {step.repeat.most} times", step, "person")


def _guarded(plan: Workflow, scene: Scene) -> dict[str, bool]:
    """For each step, whether somebody surely agreed before it: an approval that can neither be skipped nor fail softly."""
    sure = {
        step.id
        for step in plan.steps
        if step.approval is not None and step.when is None and step.on_failure == "unwind" and _worthy(step.approval, scene)
    }
    return {name: bool(sure & earlier) for name, earlier in before(plan).items()}


def _worthy(asked: ApprovalSpec, scene: Scene) -> bool:
    """Whether an approval asks as much as the tenant's gates do: an agent that proposes a plan does not choose who watches it."""
    wanted = scene.gates.approvers
    if scene.proposer is None:
        return True
    strict = asked.not_requester and asked.escalate is None and asked.quorum >= wanted.quorum
    return strict and all(any(set(group) <= set(watch) for group in asked.approver_sets) for watch in wanted.sets)


def _size(plan: Workflow, scene: Scene) -> Iterator[Finding]:
    most = sum(nodes(step, scene.input)[1] for step in plan.steps)
    if most > scene.gates.most_nodes:
        yield _finding("too_large", f"up to {most} nodes; expected at most {scene.gates.most_nodes}")


def _again(plan: Workflow) -> Iterator[Finding]:
    """A run that starts itself has no end."""
    for step in plan.steps:
        if step.act is not None and step.act.kind == "workflow" and step.act.name.removeprefix("workflow.") == plan.name:
            yield _finding("starts_itself", f"`{plan.name}` starts itself", step)


def _egress(plan: Workflow, scene: Scene) -> Iterator[Finding]:
    if scene.gates.egress is None:
        return
    allowed = member_of((*scene.gates.egress, *scene.gates.inside))
    for step in plan.steps:
        for action in (step.act, step.undo):
            if action is not None and any(host == AMBIGUOUS or not allowed(host) for host in hosts(step, action, scene)):
                yield _finding("egress", "it speaks to a host that `spec.egress` of the gates does not list", step)


def _address(text: str) -> str:
    try:
        return str(read_url(text)["host"])
    except Ambiguous:
        return AMBIGUOUS


def _host(netloc: str) -> str:
    name = netloc.rpartition("@")[2]
    bare = name if name.endswith("]") else name.rpartition(":")[0] or name
    try:
        return canonical_host(bare)[0]
    except Ambiguous:
        return AMBIGUOUS
