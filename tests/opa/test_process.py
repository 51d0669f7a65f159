"""The tests of a set, run by an OPA that is started for them."""

import pytest
from tests.policy.test_history_conditions import SET, TEXT

from aegis.adapters.opa_process import OpaProcess
from aegis.errors import ConfigError
from aegis.policy.language import load
from aegis.policy.selftest import run_tests
from opa.server import binary

REGO = """package aegis_acme.custom.ids

hits contains {"id": "ids.odd", "effect": "deny", "live": true} if startswith(input.args.mrn, "x")
"""
WITH_REGO = (
    TEXT.replace("  rules:\n", "  rego: [{file: ids.rego, tools: [ehr.consent_check]}]\n  rules:\n", 1)
    + """
    - name: the module denies
      input: {tool: ehr.consent_check, args.mrn: x1}
      expect: {outcome: deny, not_rules: [pay.daily]}
    - name: the module lets pass
      input: {tool: ehr.consent_check, args.mrn: y1}
      expect: {outcome: allow, rules: [all]}
"""
)


def test_a_set_passes_its_tests_in_opa_as_it_does_here():
    with OpaProcess(SET, binary()) as opa:
        found = run_tests(SET, judged=opa.verdicts)
    assert {result.problems for result in found} == {()}
    assert [result.decision for result in found] != []


def test_hand_written_rego_is_tested_beside_the_rules():
    policy = load(WITH_REGO, source="rego.yaml", files={"ids.rego": REGO})
    assert [result.name for result in run_tests(policy) if result.skipped] == ["the module denies", "the module lets pass"]
    with OpaProcess(policy, binary()) as opa:
        found = run_tests(policy, judged=opa.verdicts)
    assert {result.problems for result in found} == {()}
    assert next(r for r in found if r.name == "the module denies").decision.rules == ("ids.odd",)


def test_a_test_that_should_fail_fails_in_opa_too():
    before, name, after = TEXT.partition("the total itself passes")
    policy = load(before + name + after.replace("expect: {outcome: allow}", "expect: {outcome: deny}", 1), source="wrong.yaml")
    with OpaProcess(policy, binary()) as opa:
        assert [result.name for result in run_tests(policy, judged=opa.verdicts) if not result.passed] == [
            "the total itself passes"
        ]


def test_a_missing_program_is_told():
    with pytest.raises(ConfigError, match="`no-such-opa` is not on PATH"):
        OpaProcess(SET, "no-such-opa")


def test_a_set_that_opa_does_not_take_is_told_with_its_words():
    broken = load(WITH_REGO, source="rego.yaml", files={"ids.rego": REGO.replace("startswith", "startswit")})
    with pytest.raises(ConfigError, match="startswit"), OpaProcess(broken, binary()):
        pass


def test_a_module_that_opa_reads_otherwise_than_a_text_search_is_refused():
    sneaky = load(
        WITH_REGO, source="rego.yaml", files={"ids.rego": REGO.replace('startswith(input.args.mrn, "x")', "http.send({})")}
    )
    with pytest.raises(ConfigError, match=r"http\.send"), OpaProcess(sneaky, binary()):
        pass
