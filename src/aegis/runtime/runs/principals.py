"""In whose name a step acts: an agent of the directory, for the subject of the run, on behalf of those who started it.

The chain holds everybody through whom the task came, nearest first and nobody twice, so that chain rules, halts and "not the
requester" see all of them. The first link of a step is the run's workflow itself (`workflow:NAME`, or `plan:DIGEST` for a plan
that an agent submitted), whose call is under way until the run ends: a rule can open a tool inside of one workflow only.
"""

from aegis.identity.directory import MAX_TRUST, AgentEntry, Directory
from aegis.model.principal import ROADS, Link, Parent, Principal
from aegis.runtime.runs.flow import Flow


class NoSuchAgent(Exception):  # noqa: N818 - an answer for the caller, not a failure of ours
    """The directory does not hold the agent any more, or has disabled it."""


def road(flow: Flow) -> str:
    """The name under which a run stands in chains, and whose call it is."""
    return f"plan:{flow.plan.removeprefix('sha256:')[:16]}" if flow.plan else f"workflow:{flow.workflow}"


def acting(tenant: str, directory: Directory, flow: Flow, agent_id: str, node: str) -> Principal:
    """The principal of a step that is taken by `agent_id`.

    Raises:
        NoSuchAgent: It is not at work in this tenant.
    """
    entry = at_work(directory, agent_id)
    run = Parent(agent_id=road(flow), request_id=flow.run)
    above = [_link(directory, name) for name in (flow.starter.agent_id, *flow.starter.chain)]
    return Principal(
        tenant=tenant,
        agent_id=agent_id,
        subject=flow.starter.subject,
        roles=entry.roles,
        scopes=entry.scopes,
        trust=entry.trust,
        chain=(Link(agent_id=run.agent_id, trust=MAX_TRUST), *(link for link in above if link.agent_id != agent_id)),
        parent=run,
        txn=flow.run,
        task=node,
        requests=(run,),
    )


def at_work(directory: Directory, agent_id: str) -> AgentEntry:
    """The agent's entry.

    Raises:
        NoSuchAgent: There is none, or it is disabled.
    """
    entry = directory.agents.get(agent_id)
    if entry is None or not entry.enabled:
        raise NoSuchAgent(agent_id)
    return entry


def _link(directory: Directory, agent_id: str) -> Link:
    if agent_id.startswith(ROADS):
        return Link(agent_id=agent_id, trust=MAX_TRUST)
    entry = directory.agents.get(agent_id)
    return Link(agent_id=agent_id, trust=entry.trust if entry else 0)
