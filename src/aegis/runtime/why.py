"""Why a recorded call was decided as it was, rule by rule, by the very version that decided."""

from msgspec.structs import replace

from aegis.errors import AegisError
from aegis.model.decision import PolicyRef
from aegis.policy.explain import explain, shown
from aegis.runtime.enforce import Gate
from aegis.runtime.rollout import Rollout
from aegis.runtime.shipping import pin_of
from aegis.runtime.tenant import Ruling


async def why(gate: Gate, rollout: Rollout, tenant: str, request_id: str) -> list[str]:
    """What every rule of the tool had to say about a call, a line for each rule and comparison; no observed value is shown.

    Empty when the arguments were not kept or were erased, or when that version is not at hand: a policy file that was edited since.
    """
    recorded = await gate.recorded(tenant, request_id)
    ruling = await _ruling(gate, rollout, tenant, recorded.decision.policy) if recorded else None
    if recorded is None or ruling is None:
        return []
    told = explain(
        replace(recorded.decision, policy=ruling.policy.ref),
        tool=recorded.proposal.tool,
        agent_id=recorded.proposal.principal.agent_id,
        policy=ruling.policy,
        proposal=recorded.proposal,
        facts=recorded.facts,
        tenant_data=ruling.data,
    )
    lines = []
    for rule in told.rules:
        lines.append(f"{'fires' if rule.fires else 'silent':<7}{rule.effect:<16}{rule.rule}{'  (shadow)' if rule.shadow else ''}")
        lines += [f"         {each.result:<8}{each.path} {each.operator} {shown(each.limit)}" for each in rule.comparisons]
    return lines


async def _ruling(gate: Gate, rollout: Rollout, tenant: str, decided_by: PolicyRef) -> Ruling | None:
    """The set that a decision names: one that serves now, or a version of the registry."""
    await rollout.refresh()
    serving = gate.tenant(tenant)
    found = next((each for each in (serving.enforced, serving.shadow) if each and each.ref == decided_by), None)
    if found is not None or not decided_by.version.isdigit():
        return found
    try:
        found = await rollout.candidates.version(tenant, await pin_of(rollout, tenant, int(decided_by.version)))
    except AegisError:
        return None
    return found if found.ref == decided_by else None
