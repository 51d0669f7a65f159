"""A whole revision in shadow: it never changes an outcome, and what would have been is the outcome with it in the other's place."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aegis.model.decision import Outcome
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.beside import ShadowGuard
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.guards import HaltedGuard
from aegis.policy.ir import SHADOW_REVISION, RegoModule
from aegis.policy.language import load
from aegis.runtime.ruling import Ruling, guards

HEAD = """
apiVersion: aegis.policy/v1
kind: PolicySet
metadata: {name: core, tenant: acme, owner: o@acme.example}
spec:
  tools: {t: {args: {n: integer}}}
  rules:
"""
RULES = {
    "allow": "{id: %s.allow, effect: allow, tools: [t]}",
    "deny": "{id: %s.deny, effect: deny, tools: [t], when: {args.n: {gt: 5}}}",
    "hold": '{id: %s.hold, effect: approval_needed, tools: [t], when: {args.n: {gt: 3}}, approval: {approvers: ["role:lead"], quorum: 1, ttl: 10m, not_requester: true}}',
    "mask": "{id: %s.mask, effect: sanitize, stage: response, tools: [t], redact: [{path: /result/x, with: mask}]}",
    "quiet": "{id: %s.quiet, effect: deny, tools: [t], mode: shadow}",
}
NOW = Facts(now=datetime(2026, 3, 1, tzinfo=UTC))


def policy(name, kinds):
    return load(
        HEAD + "".join(f"    - {RULES[kind] % name}\n" for kind in sorted(kinds)) if kinds else HEAD + "    []\n", source="t"
    )


def call(arguments):
    principal = Principal(tenant="acme", agent_id="agent:a", subject="user:u", scopes=("*",), trust=4)
    return Proposal(principal=principal, tool="t", arguments=arguments, tool_version="1.0.0")


sets = st.sets(st.sampled_from(sorted(RULES)))
calls = st.sampled_from([{"n": 1}, {"n": 4}, {"n": 9}, {}, {"n": "x"}, {"n": 1, "m": 2}])


@settings(max_examples=200, deadline=None)
@given(sets, sets, calls, st.booleans())
def test_it_changes_nothing_and_tells_what_it_would_decide(first, second, arguments, halted):
    others = [HaltedGuard({})]
    facts = replace(NOW, halted="stopped") if halted else NOW
    enforced, shadow = policy("a", first), policy("b", second)
    alone = decide(call(arguments), facts, [RulesGuard(enforced), *others])
    instead = decide(call(arguments), facts, [RulesGuard(shadow), *others])
    beside = decide(call(arguments), facts, [RulesGuard(enforced), ShadowGuard(shadow), *others])
    for field in ("outcome", "rules", "matched", "reasons", "redactions", "terms", "approval_id"):
        assert getattr(beside, field) == getattr(alone, field)
    assert SHADOW_REVISION in beside.shadow
    assert set(alone.shadow) <= set(beside.shadow)
    assert beside.would_be == (instead.would_be or instead.outcome)


def test_a_revision_that_could_not_judge_changes_nothing():
    other = load((HEAD + "    - " + RULES["allow"] % "b").replace("tenant: acme", "tenant: globex"), source="t")
    beside = decide(call({"n": 1}), NOW, [RulesGuard(policy("a", {"allow"})), ShadowGuard(other)])
    assert (beside.outcome, beside.would_be) == ("allow", "deny")


def test_hand_written_rego_of_a_revision_in_shadow_is_left_out_and_its_rules_are_asked():
    rego = (RegoModule(file="custom/x.rego", text="package aegis_acme.custom.x", tools=("t",)),)
    trial = replace(policy("b", {"allow", "deny"}), rego=rego)
    beside = decide(call({"n": 1}), NOW, [RulesGuard(policy("a", {"allow"})), ShadowGuard(trial)])
    assert (beside.outcome, beside.would_be, set(beside.shadow)) == (Outcome.ALLOW, Outcome.ALLOW, {SHADOW_REVISION, "b.allow"})
    trial = replace(trial, shadow=True)
    alone = decide(call({"n": 9}), NOW, guards(None, Ruling(policy=trial, data={}, ref=trial.ref)))
    assert (alone.outcome, alone.would_be) == (Outcome.ALLOW, Outcome.DENY)
