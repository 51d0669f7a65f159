"""Could each step be allowed at all for the agent that takes it, and does nobody get more than they hold.

A plan of an agent acts as that agent, or as one to which the directory lets it hand tasks; what its token does not open, its plan
does not either. That a step could be allowed is not that it will be: each call is decided when it is made.
"""

from collections.abc import Iterator
from typing import Any

from aegis.identity.directory import AgentEntry
from aegis.model.authority import covers, scope_within
from aegis.model.decision import Outcome
from aegis.model.principal import Principal
from aegis.model.queue import ENQUEUE, PREFIX, QueueContract
from aegis.policy.plan import check
from aegis.policy.plan.document import Plan
from aegis.policy.plan.document import Step as Asked
from aegis.workflow.data import fits
from aegis.workflow.gates.known import acting, arguments, tool_of
from aegis.workflow.gates.report import Finding, Level, Scene
from aegis.workflow.graph import Action, Ref, Step, Workflow


class AuthorityGate:
    """Holds a plan against directory, scopes, halts and policy."""

    name = "authority"

    def __call__(self, plan: Workflow, scene: Scene) -> tuple[Finding, ...]:
        """Why some step could never be taken, and which will wait for a person."""
        return (*_proposed(plan, scene), *(found for step in plan.steps for found in _step(plan, step, scene)))


def _finding(code: str, text: str, step: Step | None = None, level: Level = "refuse") -> Finding:
    where = {"step": step.id, "place": step.place} if step else {}
    return Finding(gate=AuthorityGate.name, code=code, level=level, text=text, **where)


def _proposed(plan: Workflow, scene: Scene) -> Iterator[Finding]:
    """What holds for the whole plan."""
    if scene.halted is None:
        yield _finding("halts_unread", "what is halted cannot be read")
    elif "tenant" in scene.halted:
        yield _finding("halted", "the tenant is halted")
    who = scene.proposer
    if who is None:
        return
    names = {who.agent_id, *(f"role:{role}" for role in who.roles)}
    if scene.gates.proposers is not None and not names & set(scene.gates.proposers):
        yield _finding("not_a_proposer", f"`{who.agent_id}` may not submit plans: `spec.proposers` of the gates does not name it")
    if plan.tenant != who.tenant:
        yield _finding("other_tenant", "the plan is of another tenant than its proposer")
    if who.grants is not None or who.budget_micros is not None:
        yield _finding("token_too_narrow", "the token opens named calls or a budget only, to which a run would not be bound")


def _step(plan: Workflow, step: Step, scene: Scene) -> Iterator[Finding]:
    if step.act is not None:
        yield from _action(plan, step, step.act, scene, "")
    if step.undo is not None:
        yield from _action(plan, step, step.undo, scene, "its compensation: ")


def _action(plan: Workflow, step: Step, action: Action, scene: Scene, which: str) -> Iterator[Finding]:
    actor = acting(plan, step)
    entry = scene.directory.agents.get(actor)
    if entry is None or not entry.enabled:
        yield _finding("agent_missing", f"{which}`{actor}` is not at work in this tenant", step)
        return
    yield from _lent(actor, entry, step, scene, which)
    for what in {f"agent:{action.name.removeprefix('agent:')}" if not tool_of(action) else f"tool:{tool_of(action)}", actor}:
        if why := (scene.halted or {}).get(what):
            yield _finding("halted", f"{which}{why}", step)
    if tool_of(action):
        yield from _call(entry, step, action, scene, which)
    else:
        yield from _task(plan, entry, step, action, scene, which)


def _lent(actor: str, entry: AgentEntry, step: Step, scene: Scene, which: str) -> Iterator[Finding]:
    """Whether the proposer may act in the name of another."""
    who = scene.proposer
    if who is None or actor == who.agent_id:
        return
    mine = scene.directory.agents.get(who.agent_id)
    if mine is None or actor not in (mine.may_delegate_to or ()):
        yield _finding(
            "run_as_not_lent", f"{which}`{who.agent_id}` may not act as `{entry.id}`: the directory names no such delegation", step
        )


def _task(plan: Workflow, entry: AgentEntry, step: Step, action: Action, scene: Scene, which: str) -> Iterator[Finding]:
    """To give an agent a task is to call its queue; then the agent does what it may."""
    queue = scene.contracts.get(PREFIX + step.queue)
    if not isinstance(queue, QueueContract) or action.name not in queue.agents:
        yield _finding("not_served", f"{which}no queue `{step.queue}` names `{action.name}` under `agents`", step)
    else:
        yield from _call(entry, step, _enqueued(plan, step, action, queue), scene, which)
    yield from _worker(entry, step, action, scene, which)


def _enqueued(plan: Workflow, step: Step, action: Action, queue: QueueContract) -> Action:
    """The call that the orchestrator makes to hand the task out."""
    asked = {"action": ENQUEUE, "agent": action.name, "workflow": plan.name, "run": Ref(("run", "id")), "step": step.id}
    return Action(kind="tool", name=queue.name, arguments=asked)


def _worker(entry: AgentEntry, step: Step, action: Action, scene: Scene, which: str) -> Iterator[Finding]:
    other = scene.directory.agents.get(action.name)
    if other is None or not other.enabled:
        yield _finding("agent_missing", f"{which}`{action.name}` is not at work in this tenant", step)
    elif scene.proposer is not None and action.name not in {entry.id, *(entry.may_delegate_to or ())}:
        text = f"{which}the directory does not let `{entry.id}` hand tasks to `{action.name}`"
        yield _finding("task_not_lent", text, step)
    elif scene.proposer is not None and not all(scope_within(scope, scene.proposer.scopes) for scope in other.scopes):
        text = f"{which}`{other.id}` holds scopes that the token of `{scene.proposer.agent_id}` does not"
        yield _finding("task_reaches_further", text, step, "person")


def _call(entry: AgentEntry, step: Step, action: Action, scene: Scene, which: str) -> Iterator[Finding]:
    tool, who = tool_of(action), scene.proposer
    contract = scene.contracts.get(tool)
    if contract is None:
        yield _finding("unknown_tool", f"{which}there is no tool `{tool}`", step)
        return
    if not fits(action.version, contract.version):
        text = f"{which}expected version {action.version} of `{tool}`, the newest is {contract.version}: gates judge by that one"
        yield _finding("other_version", text, step)
    if not any(covers(scope, tool) for scope in entry.scopes):
        yield _finding("scope_not_held", f"{which}no scope of `{entry.id}` opens `{tool}`", step)
    if who is not None and not any(covers(scope, tool) for scope in who.scopes):
        yield _finding("scope_not_held", f"{which}the token of `{who.agent_id}` does not open `{tool}`", step)
    yield from _policy(entry, step, action, scene, which, contract.version)


def _policy(entry: AgentEntry, step: Step, action: Action, scene: Scene, which: str, version: str) -> Iterator[Finding]:
    """What the policy will say, as far as it is certain."""
    if scene.policy is None:
        yield _finding("policy_unread", f"{which}no policy set is at hand to check it against", step)
        return
    known = arguments(action, scene.input)
    if known is None:
        yield _finding("arguments_unknown", f"{which}its arguments are known only when it is taken", step, "note")
        return
    tool = tool_of(action)
    asked = Asked(id=step.id, tool=tool, args=known, context=_context(entry, scene, version), place=step.place)
    verdict = check(Plan(steps=(asked,)), scene.policy, scene.tenant_data)[0]
    rules = ", ".join(f"`{why.rule}`" for why in verdict.why)
    told = "; ".join(why.text for why in verdict.why if why.text)
    if verdict.outcome == Outcome.DENY:
        yield _finding("never_allowed", f"{which}`{tool}` can never be allowed: {rules}{': ' if told else ''}{told}", step)
    elif verdict.outcome == Outcome.APPROVAL_NEEDED:
        yield _finding("will_wait", f"{which}`{tool}` will wait for a person: {rules}{': ' if told else ''}{told}", step, "note")
    elif verdict.outcome != Outcome.ALLOW:
        on = f" on {', '.join(f'`{each}`' for each in verdict.on)}" if verdict.on else ""
        yield _finding("depends", f"{which}whether `{tool}` is allowed depends{on}: {rules}", step, "note")


def _context(entry: AgentEntry, scene: Scene, version: str) -> dict[str, Any]:
    who: Principal | None = scene.proposer
    found: dict[str, Any] = {
        "agent.id": entry.id,
        "agent.roles": list(entry.roles),
        "agent.trust": entry.trust,
        "agent.scopes": list(entry.scopes),
        "environment": scene.environment,
        "version": version,
    }
    return found | {"subject.id": who.subject} if who is not None else found
