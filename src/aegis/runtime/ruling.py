"""Puts a tenant under a policy set, with another one in shadow beside it."""

from msgspec.structs import replace

from aegis.model.decision import Guard, Outcome, PolicyRef, Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.beside import ShadowGuard
from aegis.policy.guard import RulesGuard
from aegis.policy.memory import Memory
from aegis.runtime.tenant import Ruling, Tenant

NO_POLICY = "policy#missing"


class NoPolicyGuard:
    """Denies everything: there is no policy that could be trusted."""

    name = "policy"

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """One deny."""
        return (Verdict(guard=self.name, effect=Outcome.DENY, rule=NO_POLICY, reason="no policy of this tenant could be loaded"),)


def guards(enforced: Ruling | None, shadow: Ruling | None) -> tuple[Guard, ...]:
    """What asks the policy. With nothing enforced, a set in shadow lets all pass and records; with no set, nothing passes."""
    if enforced is None and shadow is None:
        return (NoPolicyGuard(),)
    if enforced is None:
        assert shadow is not None
        return (RulesGuard(replace(shadow.policy, shadow=True), shadow.data),)
    rules = RulesGuard(enforced.policy, enforced.data)
    return (rules, ShadowGuard(shadow.policy, shadow.data)) if shadow else (rules,)


def ruled(tenant: Tenant, enforced: Ruling | None, shadow: Ruling | None) -> Tenant:
    """The tenant under another policy, with everything else as it was: one new immutable value."""
    deciding = enforced or shadow
    kept = [guard for guard in tenant.guards if not isinstance(guard, RulesGuard | ShadowGuard | NoPolicyGuard)]
    return replace(
        tenant,
        guards=(*kept, *guards(enforced, shadow)),
        policy=deciding.ref if deciding else PolicyRef(),
        memory=Memory([(each.policy, each.data) for each in (enforced, shadow) if each], tenant.redaction_key),
        enforced=enforced,
        shadow=shadow,
    )
