"""Whether an agent may receive a message now.

It is let in by what lets it act at all: the clock, halts, the chain that its token stands on, a token that opens `message.NAME`,
a contract that serves, and some policy in force. Rules were asked when the message was sent, and the contract says who gets it; so
the rules and what judges arguments are left out. Every other guard counts, also one that is added later.
"""

from msgspec.structs import replace

from aegis.model.decision import Decision, Outcome, Verdict
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.memory import Memory
from aegis.runtime.facts import FactSource
from aegis.runtime.known import Known
from aegis.runtime.tenant import Tenant

_ABOUT_SENDING = frozenset({"contract", "message", "rules", "rules-in-shadow", "approval"})
_NOTHING = Memory((), b"")


class _Addressed:
    """Stands in for a rule that allows: who may receive is said by the contract of the message."""

    name = "receive"

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        return (Verdict(guard=self.name, effect=Outcome.ALLOW, rule="receive"),)


async def barred(
    facts: FactSource, tenant: Tenant, who: Principal, *, tool: str, version: str = "", digest: str = ""
) -> Decision | None:
    """Why this agent may not receive messages of `tool` now; `None` when it may. History and engines are not asked."""
    proposal = Proposal(principal=who, tool=tool, arguments={}, tool_version=version, tool_digest=digest)
    gathered = await facts.gather(replace(tenant, memory=_NOTHING, judge=None), proposal, Known())
    ruled = tenant.enforced is not None or tenant.shadow is not None  # without a policy, what says so is asked like any other guard
    guards = [guard for guard in tenant.guards if not (ruled and guard.name in _ABOUT_SENDING)]
    decision = decide(proposal, gathered.facts, (*guards, _Addressed()))
    return None if decision.outcome is Outcome.ALLOW else decision
