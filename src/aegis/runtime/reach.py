"""Who may do what in a tenant as it stands: its directory, its contracts, and the policy that decides.

A row for an agent is about the tokens that it can get: any part of its roles, its scopes, its trust, and every agent that may hand
it a task. A row for a role is about the policy alone: a caller that holds this role and no other, whatever its scopes. It speaks
with the id and the trust of an agent that has the role; if none has it, of any. Nothing is halted.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import combinations

from msgspec.structs import replace

from aegis.errors import ConfigError
from aegis.identity.directory import AgentEntry, Directory
from aegis.model.contract import Contract
from aegis.model.decision import Decision
from aegis.model.facts import Facts
from aegis.model.node import choices, nearest
from aegis.model.principal import Link, Principal
from aegis.model.proposal import Proposal
from aegis.policy.access import Asker, Caller, Ground, Matrix, matrix
from aegis.policy.access.callers import AGENT, ROLE
from aegis.policy.access.check import Charter, Holder, Result, check
from aegis.runtime.admission import decision_of
from aegis.runtime.approvals import reachable
from aegis.runtime.ruling import ruled
from aegis.runtime.tenant import Ruling, Tenant

MOST_ROLES = 4
MOST_PARENTS = 3
Chain = tuple[Link, ...]
_STRANGER = Principal(tenant="", agent_id="", subject="")


def reach(tenant: Tenant) -> Matrix:
    """The matrix of a tenant."""
    here = ground(tenant)
    askers = [*role_askers(tenant.directory), *agent_askers(tenant.directory)]
    return matrix(here, askers, approvers(tenant.directory, here))


def approvers(directory: Directory, here: Ground) -> list[str]:
    """Roles of people, and people whom a rule asks by name."""
    people = [entry for entry in directory.people.values() if entry.enabled]
    roles = {role for entry in people for role in entry.roles}
    roles |= {name for name, entry in (directory.roles or {}).items() if entry.approves}
    rules = here.policy.rules if here.policy is not None else ()
    asked = {each for rule in rules if rule.terms for group in rule.terms.approver_sets for each in group}
    return [*sorted(f"role:{role}" for role in roles), *sorted(entry.id for entry in people if entry.id in asked)]


def ground(tenant: Tenant) -> Ground:
    """What decides about the tenant's calls, evaluated here even where an engine elsewhere is asked."""
    here = ruled(replace(tenant, engine=None), tenant.enforced, tenant.shadow)
    deciding = _deciding(tenant)

    def judge(proposal: Proposal, facts: Facts) -> Decision:
        return decision_of(here, proposal, here.by_digest.get(proposal.tool_digest), facts)

    return Ground(
        policy=deciding.policy if deciding else None,
        data=deciding.data if deciding else {},
        contracts=_contracts(tenant),
        judge=judge,
        answerable=lambda terms: reachable(terms, tenant.directory, _STRANGER),
        environment=tenant.environment,
    )


def kept(tenant: Tenant, found: Matrix, only: Collection[str] = ()) -> tuple[Result, ...]:
    """Whether roles, agents and people of the tenant keep to what its directory says that roles are for.

    Raises:
        ConfigError: The directory does not say it, or not of one of `only`.
    """
    roles = tenant.directory.roles
    if roles is None:
        raise ConfigError(f"tenants/{tenant.name}/directory.yaml: has no `spec.roles`, which says what each role is for")
    for name in only:
        if name not in roles:
            raise ConfigError(
                f"no role `{name}` under `spec.roles` of tenant `{tenant.name}`; expected {choices(roles)}{nearest(name, roles)}"
            )
    charters = {name: Charter(role=name, tools=entry.tools, approves=entry.approves) for name, entry in roles.items()}
    agents = [Holder(name=entry.id, roles=entry.roles, scopes=entry.scopes) for entry in tenant.directory.agents.values()]
    people = [Holder(name=entry.id, roles=entry.roles) for entry in tenant.directory.people.values()]
    return check(found, charters, agents, people, only)


def agent_askers(directory: Directory) -> Iterator[Asker]:
    """A row for each agent that is enabled."""
    for entry in sorted(_enabled(directory), key=lambda entry: entry.id):
        yield Asker(name=entry.id, kind=AGENT, callers=tuple(_tokens(entry, directory)))


def role_askers(directory: Directory) -> Iterator[Asker]:
    """A row for each role that an agent has, or that may reach tools."""
    held = {role for entry in directory.agents.values() for role in entry.roles}
    stated = {name for name, entry in (directory.roles or {}).items() if entry.tools}
    for role in sorted(held | stated):
        holders = [entry for entry in _enabled(directory) if role in entry.roles]
        callers = [_caller(entry, (role,), ("*",), _chains(entry, directory)) for entry in holders]
        nobody = Caller(agent_id=None, roles=(role,), trust=None, scopes=("*",))
        yield Asker(name=role, kind=ROLE, callers=tuple(callers) or (nobody,))


def _tokens(entry: AgentEntry, directory: Directory) -> Iterator[Caller]:
    """The tokens of an agent, the fullest first."""
    chains = _chains(entry, directory)
    few = len(entry.roles) <= MOST_ROLES
    sizes = range(len(entry.roles), -1, -1) if few else (len(entry.roles), 1, 0)
    for size in sizes:
        for roles in combinations(entry.roles, size):
            yield _caller(entry, roles, entry.scopes, chains)
    if not few:
        yield _caller(entry, None, entry.scopes, chains)


def _caller(entry: AgentEntry, roles: tuple[str, ...] | None, scopes: tuple[str, ...], chains: tuple[Chain, ...]) -> Caller:
    return Caller(agent_id=entry.id, roles=roles, trust=entry.trust, scopes=scopes, chains=chains, alone=not chains)


def _chains(entry: AgentEntry, directory: Directory) -> tuple[Chain, ...]:
    """Agents that may hand a task to this one; one of each trust tells most of what a chain can do."""
    found = [
        above for above in _enabled(directory)
        if above.id != entry.id and (above.may_delegate_to is None or entry.id in above.may_delegate_to)
    ]  # fmt: skip
    spread = {above.trust: above for above in found}
    chosen = [*spread.values(), *(above for above in found if above not in spread.values())][:MOST_PARENTS]
    return tuple((Link(agent_id=above.id, trust=above.trust),) for above in chosen)


def _enabled(directory: Directory) -> list[AgentEntry]:
    return [entry for entry in directory.agents.values() if entry.enabled]


def _contracts(tenant: Tenant) -> Mapping[str, tuple[Contract, ...]]:
    """Every registered version of each tool, the newest first."""
    found: dict[str, list[Contract]] = {name: [newest] for name, newest in tenant.contracts.items()}
    for contract in sorted(tenant.by_digest.values(), key=lambda each: each.numbers, reverse=True):
        if contract.name in found and contract.digest not in {each.digest for each in found[contract.name]}:
            found[contract.name].append(contract)
    return {name: tuple(each) for name, each in found.items()}


def _deciding(tenant: Tenant) -> Ruling | None:
    """The set that decides: the enforced one, else one that is in shadow by itself; nothing passes without either."""
    if tenant.enforced is not None:
        return tenant.enforced
    return tenant.shadow if tenant.shadow is not None and tenant.shadow.policy.shadow else None
