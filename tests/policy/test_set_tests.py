"""The tests that a policy set carries, and the warnings that it gives."""

from pathlib import Path

import pytest

from aegis.errors import DocumentError
from aegis.policy.language import load
from aegis.policy.selftest import run_tests
from aegis.policy.tenantdata import problems

CORE = (Path(__file__).parents[2] / "conformance" / "policy" / "sets" / "acme-core.yaml").read_text()
DATA = {"limits": {"max_transfer_minor": 5000000, "daily_transfer_minor": 1, "budget_micros": 1}}


def _with_tests(*tests):
    return load(CORE[: CORE.index("  tests:")] + "  tests:\n" + "".join(f"    - {test}\n" for test in tests), source="set.yaml")


def test_the_tests_of_the_example_set_pass():
    results = run_tests(load(CORE, source="set.yaml"), DATA)
    assert len(results) == 6
    assert [result.problems for result in results] == [()] * 6


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        ("{outcome: deny}", "expected outcome deny, found allow by fin.transfer"),
        ("{rules: [fin.transfer.ceiling]}", "expected rule `fin.transfer.ceiling` to fire, but it did not"),
        ("{not_rules: [fin.transfer]}", "expected rule `fin.transfer` not to fire, but it did"),
        ("{shadow: [egress.large]}", "expected rule `egress.large` to fire in shadow, but it did not"),
        ("{would_be: deny}", "expected would_be deny, found allow"),
    ],
)
def test_a_test_that_does_not_hold_says_what_was_expected_and_found(expect, problem):
    given = "{tool: payments.transfer, agent.roles: [treasury], args.iban: DE89370400440532013000}"
    (result,) = run_tests(_with_tests(f"{{name: t, input: {given}, expect: {expect}}}"), DATA)
    assert not result.passed
    assert result.problems == (problem,)
    assert result.place.startswith("set.yaml:")


def test_a_rule_that_fired_without_deciding_counts_as_fired():
    given = "{tool: payments.transfer, agent.roles: [treasury], args.amount_minor: 5000001}"
    (result,) = run_tests(_with_tests(f"{{name: t, input: {given}, expect: {{outcome: deny, not_rules: [fin.transfer]}}}}"), DATA)
    assert result.decision.rules == ("fin.transfer.ceiling", "fin.transfer.destination")
    assert result.problems == ("expected rule `fin.transfer` not to fire, but it did",)


def test_a_test_may_set_the_tenants_data_for_itself():
    given = "{tool: payments.transfer, args.amount_minor: 11, tenant.limits.max_transfer_minor: %d}"
    policy = _with_tests(
        f"{{name: low, input: {given % 10}, expect: {{rules: [fin.transfer.ceiling]}}}}",
        f"{{name: high, input: {given % 12}, expect: {{not_rules: [fin.transfer.ceiling]}}}}",
    )
    assert [result.problems for result in run_tests(policy, DATA)] == [(), ()]
    assert DATA["limits"]["max_transfer_minor"] == 5000000


def test_a_test_may_use_every_place_of_the_input():
    everything = (
        "{tool: k8s.delete, version: 1.4.0, environment: prod, tenant: acme, agent.id: a, agent.roles: [sre], agent.trust: 2,"
        " agent.scopes: [x], subject.id: 'person:x', chain: [{id: b, trust: 4}], run.id: r, run.task: t, now.time: '23:59',"
        " now.weekday: sun, args.cluster: prod-1}"
    )
    long_mail = "{tool: email.send, args.to: ana@acme.example, args.body: " + "x" * 1001 + "}"
    policy = _with_tests(
        f"{{name: all, input: {everything}, expect: {{outcome: deny, rules: [ops.delete.prod]}}}}",
        "{name: strange argument, input: {tool: k8s.delete, args.force: true}, expect: {rules: ['k8s.delete#contract']}}",
        f"{{name: shadow, input: {long_mail}, expect: {{outcome: allow, shadow: [egress.large], would_be: deny}}}}",
    )
    assert [result.problems for result in run_tests(policy, DATA)] == [(), (), ()]


def test_a_slip_in_the_name_of_an_argument_is_no_test_of_a_denial():
    with pytest.raises(
        DocumentError, match=r"has no argument `clutser`; did you mean `cluster`\?; .*`rules: \[k8s.delete#contract\]`"
    ):
        _with_tests("{name: t, input: {tool: k8s.delete, args.clutser: prod-1}, expect: {outcome: deny}}")


def test_a_test_that_breaks_the_contract_unawares_is_told_where():
    (result,) = run_tests(_with_tests("{name: t, input: {tool: k8s.delete, args.cluster: 7}, expect: {outcome: allow}}"), DATA)
    assert result.problems == ("expected outcome allow, found deny by k8s.delete#contract at `args.cluster`",)


DELETE = "id: ops.delete.prod, effect: deny, tools: [k8s.delete], when: {args.cluster: {starts_with: prod-}}"
APPLY = "id: ops.delete.prod, effect: deny, tools: [k8s.apply], when: "
WARNINGS = [
    (DELETE, APPLY + "{args.change_id: {eq: none}}", "fires when the optional argument `change_id` is absent"),
    (DELETE, APPLY + "{args.change_id: {present: true, eq: none}}", ""),
    ("id: pii.mask", "id: pii.block", "rule `pii.block` says `block` but its effect is sanitize, which stops nothing"),
    (
        "allow, tools: [k8s.apply, k8s.delete]",
        "allow, tools: [k8s.apply]",
        "no rule allows `k8s.delete`, so every call of it is denied",
    ),
]


@pytest.mark.parametrize(("old", "new", "warning"), WARNINGS)
def test_what_is_allowed_but_probably_not_meant_gives_a_warning_with_a_place(old, new, warning):
    text = CORE[: CORE.index("  tests:")]
    assert old in text
    found = load(text.replace(old, new, 1), source="set.yaml").warnings
    assert all(text.startswith("set.yaml:") and warning in text for text in found)
    assert bool(found) is bool(warning)


def test_data_of_a_tenant_is_checked_against_its_declared_shape():
    policy = load(CORE, source="set.yaml")
    assert problems(policy.tenant_shape, DATA) == ()
    odd = {"limits": {"max_transfer_minor": True, "budget_micros": 2**53, "typo": 1}}
    assert problems(policy.tenant_shape, odd) == (
        "`tenant.limits.budget_micros` should be integer, found one beyond 2^53 - 1",
        "`tenant.limits.daily_transfer_minor` should be integer, but is missing",
        "`tenant.limits.max_transfer_minor` should be integer, found a boolean",
        "`tenant.limits.typo` is not declared in spec.tenant",
    )


def test_the_digest_follows_the_meaning_and_not_the_spelling():
    same = load(CORE.replace("# ", "#  ").replace("mode: enforce", "mode:   enforce"), source="other.yaml")
    assert same.digest == load(CORE, source="set.yaml").digest
    assert load(CORE.replace("ttl: 10m", "ttl: 11m"), source="set.yaml").digest != same.digest
