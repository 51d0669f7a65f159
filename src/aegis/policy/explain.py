"""Why a call was decided as it was: one sentence, and for every rule that covers the tool what each of its conditions said.

Shown are paths, operators, limits and whether a condition held; never what stood at the path.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from aegis.model.decision import Decision, Outcome
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.conditions import leaves
from aegis.policy.ir import Leaf, Policy, Quantified, Rule
from aegis.policy.native import compile_condition, compile_rule, limit
from aegis.policy.shallow import Shallow, contract_rule
from aegis.policy.view import View
from aegis.policy.zone import zone

HOLDS, FAILS, UNKNOWN = "holds", "fails", "unknown"


class Comparison(Struct, frozen=True, kw_only=True):
    """One comparison of a rule. `result` is `holds`, `fails`, or `unknown` (missing, or of another type)."""

    path: str
    operator: str
    limit: Any
    result: str


class RuleAccount(Struct, frozen=True, kw_only=True):
    """What one rule had to say. `fires` follows from the comparisons and the effect; `place` is where the rule stands."""

    rule: str
    effect: str
    fires: bool
    shadow: bool
    place: str
    comparisons: tuple[Comparison, ...] = ()


class Explanation(Struct, frozen=True, kw_only=True):
    """A sentence for people, then every rule of the tool; `missed` are the allow rules that did not apply."""

    sentence: str
    policy: str
    reasons: tuple[str, ...]
    rules: tuple[RuleAccount, ...] = ()
    missed: tuple[RuleAccount, ...] = ()


def explain(
    decision: Decision,
    *,
    tool: str,
    agent_id: str,
    policy: Policy | None = None,
    proposal: Proposal | None = None,
    facts: Facts | None = None,
    tenant_data: Mapping[str, Any] | None = None,
) -> Explanation:
    """Why `decision` came out as it did.

    The account of each rule needs the set that decided, the proposal and the facts of that moment; without them, or when another
    version of the set is at hand, only what the decision recorded is told.
    """
    rules: tuple[RuleAccount, ...] = ()
    same = policy is not None and decision.policy.digest in ("", policy.digest)
    if policy is not None and proposal is not None and facts is not None and same:
        rules = _accounts(policy, proposal, facts, tenant_data or {})
    return Explanation(
        sentence=_sentence(decision, tool, agent_id),
        policy=f"{decision.policy.name}@{decision.policy.version}" if decision.policy.name else "",
        reasons=tuple(_told(reason.rule, reason.text, reason.field, reason.limit) for reason in decision.reasons),
        rules=rules,
        missed=tuple(rule for rule in rules if rule.effect == Outcome.ALLOW and not rule.fires),
    )


def _sentence(decision: Decision, tool: str, agent_id: str) -> str:
    did = {
        Outcome.ALLOW: "was allowed to call",
        Outcome.SANITIZE: "was allowed to call, with data removed,",
        Outcome.APPROVAL_NEEDED: "must wait for a person before calling",
        Outcome.DENY: "was refused",
    }[decision.outcome]
    because = "; ".join(_told(each.rule, each.text, each.field, each.limit) for each in decision.reasons[:3])
    by = because or ", ".join(decision.rules)
    approved = f", approved under {decision.approval_id}" if decision.approval_id and decision.permits else ""
    shadow = ""
    if decision.would_be is not None and decision.would_be is not decision.outcome:
        shadow = f" Rules in shadow ({', '.join(decision.shadow) or 'the whole set'}) would have made it {decision.would_be}."
    return f"`{agent_id}` {did} `{tool}`{approved}: {by}.{shadow}"


def _told(rule: str, text: str, field: str, limit: Any) -> str:
    """`rule` (why; field against limit)."""
    where = f"`{field}`" if field else ""
    against = f"{where} against {shown(limit)}" if field and limit is not None else where
    inside = "; ".join(part for part in (text, against) if part)
    return f"rule `{rule}` ({inside})" if inside else f"rule `{rule}`"


def shown(limit: Any) -> str:
    """A limit as the policy writes it."""
    return "[" + ", ".join(map(_plain, limit)) + "]" if isinstance(limit, list | tuple) else _plain(limit)


def _plain(limit: Any) -> str:
    return str(limit).lower() if isinstance(limit, bool) else str(limit)


def _accounts(policy: Policy, proposal: Proposal, facts: Facts, data: Mapping[str, Any]) -> tuple[RuleAccount, ...]:
    line = policy.tools.get(proposal.tool)
    if line is None:
        return ()
    violations, parsed = Shallow(line).check(proposal.arguments, proposal.tool_version)
    if violations:
        return (RuleAccount(rule=contract_rule(proposal.tool), effect="error", fires=True, shadow=False, place=""),)
    view = View(proposal, facts, parsed, zone(policy.timezone), line)
    covering = sorted((rule for rule in policy.rules if rule.covers(proposal.tool)), key=lambda rule: rule.id)
    return tuple(_account(rule, policy, view, data) for rule in covering)


def _account(rule: Rule, policy: Policy, view: View, data: Mapping[str, Any]) -> RuleAccount:
    return RuleAccount(
        rule=rule.id,
        effect=str(rule.effect),
        fires=compile_rule(rule.when, rule.effect, policy, data).fires(view),
        shadow=rule.shadow or policy.shadow,
        place=rule.place,
        comparisons=tuple(_comparison(leaf, rule, policy, view, data) for leaf in leaves(rule.when)),
    )


def _comparison(leaf: Leaf | Quantified, rule: Rule, policy: Policy, view: View, data: Mapping[str, Any]) -> Comparison:
    """What one comparison said by itself, without the `not` that may stand before it."""
    quiet = rule.effect is Outcome.SANITIZE
    surely, possibly = (
        compile_condition(leaf, policy, data, unknown=unknown, absent_is_false=quiet).fires(view) for unknown in (False, True)
    )
    operator = str(leaf.op) if isinstance(leaf, Leaf) else str(leaf.quantifier)
    shown = limit(leaf) if isinstance(leaf, Leaf) else None
    result = HOLDS if surely else UNKNOWN if possibly else FAILS
    return Comparison(path=leaf.path.text, operator=operator, limit=shown, result=result)
