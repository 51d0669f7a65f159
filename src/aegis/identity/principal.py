"""From a verified token to a principal: what the token says, held against what the directory grants."""

from aegis.errors import IdentityError
from aegis.identity.directory import AgentEntry, Directory
from aegis.identity.token import Access
from aegis.model.principal import Link, Parent, Principal


def principal(access: Access, directory: Directory) -> Principal:
    """The caller.

    A token was made from the directory of its time: what the directory no longer grants is refused, not quietly dropped.

    Raises:
        IdentityError: `unknown_agent`, `agent_disabled`, `role_not_held`, `scope_not_held`, `unknown_ancestor`.
    """
    entry = _known(directory, access.agent_id, "unknown_agent")
    if not set(access.roles) <= set(entry.roles):
        raise IdentityError("role_not_held", "the token holds a role that the directory does not grant")
    if not all(_within(scope, entry.scopes) for scope in access.scopes):
        raise IdentityError("scope_not_held", "the token holds a scope that the directory does not grant")
    chain = tuple(Link(agent_id=name, trust=_known(directory, name, "unknown_ancestor").trust) for name in access.chain)
    return Principal(
        tenant=access.tenant, agent_id=access.agent_id, subject=access.subject, roles=access.roles, scopes=access.scopes,
        trust=entry.trust, chain=chain, token_id=access.token_id, txn=access.txn, task=access.task,
        parent=Parent(agent_id=access.parent[0], request_id=access.parent[1]) if access.parent else None,
    )  # fmt: skip


def covers(scope: str, tool: str) -> bool:
    """Whether a scope opens a tool: `*`, the name itself, or `prefix.*`."""
    return scope in ("*", tool) or (scope.endswith(".*") and tool.startswith(scope[:-1]))


def _known(directory: Directory, agent_id: str, reason: str) -> AgentEntry:
    entry = directory.agents.get(agent_id)
    if entry is None:
        raise IdentityError(reason)
    if not entry.enabled:
        raise IdentityError("agent_disabled")
    return entry


def _within(scope: str, held: tuple[str, ...]) -> bool:
    """Whether everything that `scope` opens is opened by one of `held`."""
    if scope in held or "*" in held:
        return True
    base = scope.removesuffix(".*")
    return any(wide.endswith(".*") and (base + ".").startswith(wide[:-1]) for wide in held)
