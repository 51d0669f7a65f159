"""From a verified token to a principal: what the token says, held against what the directory grants."""

from itertools import pairwise

from aegis.errors import IdentityError
from aegis.identity.access import Access
from aegis.identity.claims import expect
from aegis.identity.directory import MAX_TRUST, AgentEntry, Directory
from aegis.model.authority import scope_within
from aegis.model.principal import ROADS, Link, Parent, Principal


def principal(access: Access, directory: Directory) -> Principal:
    """The caller.

    A token was made from the directory of its time: what the directory no longer grants is refused, not quietly dropped.

    Raises:
        IdentityError: `wrong_tenant`, `unknown_agent`, `agent_disabled`, `role_not_held`, `scope_not_held`, `unknown_ancestor`,
            `delegation_not_granted`.
    """
    expect(access.tenant == directory.tenant, "wrong_tenant")
    entry = _known(directory, access.agent_id, "unknown_agent")
    if not set(access.roles) <= set(entry.roles):
        raise IdentityError("role_not_held", "the token holds a role that the directory does not grant")
    if not all(scope_within(scope, entry.scopes) for scope in access.scopes):
        raise IdentityError("scope_not_held", "the token holds a scope that the directory does not grant")
    ancestors = [_ancestor(directory, name) for name in access.chain]
    for child, above in pairwise((entry, *ancestors)):
        if above.may_delegate_to is not None and child.id not in above.may_delegate_to:
            raise IdentityError("delegation_not_granted", "the directory does not let an ancestor hand tasks to its child")
    return Principal(
        tenant=access.tenant,
        agent_id=access.agent_id,
        subject=access.subject,
        roles=access.roles,
        scopes=access.scopes,
        trust=entry.trust,
        chain=tuple(Link(agent_id=ancestor.id, trust=ancestor.trust) for ancestor in ancestors),
        parent=Parent(agent_id=access.parent[0], request_id=access.parent[1]) if access.parent else None,
        token_id=access.token_id,
        txn=access.txn,
        task=access.task,
        stated=access.stated,
        grants=access.grants,
        budget_micros=access.budget_micros,
        ancestors=access.ancestors,
        requests=tuple(Parent(agent_id=who, request_id=which) for who, which in access.requests),
        prompt=access.prompt,
    )


def _ancestor(directory: Directory, name: str) -> AgentEntry:
    """Somebody through whom the task came. A run of a workflow is the road that it took, and takes nothing from its trust."""
    if name.startswith(ROADS):
        return AgentEntry(id=name, roles=(), scopes=(), trust=MAX_TRUST)
    return _known(directory, name, "unknown_ancestor")


def _known(directory: Directory, agent_id: str, reason: str) -> AgentEntry:
    entry = directory.agents.get(agent_id)
    if entry is None:
        raise IdentityError(reason)
    if not entry.enabled:
        raise IdentityError("agent_disabled")
    return entry
