"""Puts a tenant under a policy set, with another one in shadow beside it."""

from msgspec.structs import replace

from aegis.model.decision import Guard, Outcome, PolicyRef, Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.beside import ShadowGuard
from aegis.policy.guard import NAME, RulesGuard
from aegis.policy.memory import Memory
from aegis.runtime.judge import Engine, EngineJudge
from aegis.runtime.tenant import Ruling, Tenant

NO_POLICY = "policy#missing"


class NoPolicyGuard:
    """Denies everything: there is no policy that could be trusted."""

    name = NAME

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """One deny."""
        return (Verdict(guard=self.name, effect=Outcome.DENY, rule=NO_POLICY, reason="no policy of this tenant could be loaded"),)


def guards(enforced: Ruling | None, shadow: Ruling | None, *, elsewhere: bool = False) -> tuple[Guard, ...]:
    """What asks the policy.

    With nothing enforced, a set that says `mode: shadow` itself lets everything pass and records it; beside any other, and with no
    set at all, nothing passes.
    `elsewhere`: an engine outside this process decides by the enforced set about every tool.
    """
    if enforced is None and shadow is None:
        return (NoPolicyGuard(),)
    if enforced is None:
        assert shadow is not None
        if not shadow.policy.shadow:
            return (NoPolicyGuard(), ShadowGuard(shadow.policy, shadow.data))
        return (RulesGuard(replace(shadow.policy, rego=()), shadow.data),)  # nobody is asked about the Rego of a set in shadow
    rules = RulesGuard(enforced.policy, enforced.data, elsewhere=frozenset(enforced.policy.tools) if elsewhere else frozenset())
    return (rules, ShadowGuard(shadow.policy, shadow.data)) if shadow else (rules,)


def judge(engine: Engine | None, enforced: Ruling | None) -> EngineJudge | None:
    """Who is asked before a decision by this set; nobody when it can be evaluated here, or when there is no engine."""
    if engine is None or enforced is None:
        return None
    policy = enforced.policy
    tools = frozenset(policy.tools) if engine.everything else frozenset(tool for each in policy.rego for tool in each.tools)
    return EngineJudge(engine, policy, tools, enforced.revision or engine.revision(policy, enforced.data)) if tools else None


def ruled(tenant: Tenant, enforced: Ruling | None, shadow: Ruling | None) -> Tenant:
    """The tenant under another policy, with everything else as it was: one new immutable value."""
    deciding = enforced or shadow
    kept = [guard for guard in tenant.guards if not isinstance(guard, RulesGuard | ShadowGuard | NoPolicyGuard)]
    return replace(
        tenant,
        guards=(*kept, *guards(enforced, shadow, elsewhere=tenant.engine is not None and tenant.engine.everything)),
        judge=judge(tenant.engine, enforced),
        policy=deciding.ref if deciding else PolicyRef(),
        memory=Memory([(each.policy, each.data) for each in (enforced, shadow) if each], tenant.redaction_key),
        enforced=enforced,
        shadow=shadow,
    )
