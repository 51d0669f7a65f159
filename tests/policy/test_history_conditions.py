"""History conditions of the language: what they mean, and what is kept for them."""

import re
from pathlib import Path

import pytest

from aegis.model.history import Phase, ReadingKind
from aegis.policy.language import load
from aegis.policy.memory import Memory
from aegis.policy.selftest import call, run_tests

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "conformance/policy/sets/remembering.yaml").read_text("utf-8")
SET = load(TEXT, source="remembering.yaml")


@pytest.mark.parametrize("result", run_tests(SET), ids=lambda result: result.name)
def test_the_set_that_remembers(result):
    assert result.problems == ()


def test_every_kind_of_reading_is_among_them():
    assert {term.kind for term in SET.terms.values()} == set(ReadingKind)


def test_terms_that_say_the_same_have_one_id_however_they_are_written():
    again = TEXT.replace("within: 24h, gt: {ref", "within: 1440m, gt: {ref").replace(
        "of: args.amount_minor, same: [agent.id]", "same: [agent.id], of: args.amount_minor"
    )
    assert again != TEXT
    assert load(again, source="again.yaml").terms.keys() == SET.terms.keys()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("within: 24h, gt: {ref", "within: 23h, gt: {ref"),
        ("phase: failed}", "phase: denied}"),
        ("gte: 900", "gte: 901"),
        ("unless_since: {tool: ehr.withdraw}", "unless_since: {tool: ehr.export}"),
        ("immediately: true", "immediately: false"),
    ],
)
def test_terms_that_say_something_else_have_another_id(old, new):
    assert TEXT.count(old) >= 1
    assert load(TEXT.replace(old, new, 1), source="other.yaml").terms.keys() != SET.terms.keys()


def test_a_kept_text_is_a_hash_under_the_tenants_key():
    proposal, facts = call(SET, {"tool": "payments.transfer", "args.iban": "DE89", "args.amount_minor": 5})
    one, two = (Memory([(SET, {})], key).entry(proposal, "e", facts.now, Phase.OPEN) for key in (b"one", b"two"))
    assert one.fields["args.amount_minor"] == 5
    assert "DE89" not in repr(one)
    assert one.fields["args.iban"] != two.fields["args.iban"]
    assert "args.memo" not in one.fields


def test_a_pinned_argument_that_the_call_does_not_have_is_unknown():
    text = TEXT.replace("same: [args.iban]", "same: [args.memo]")
    policy = load(text, source="memo.yaml")
    proposal, facts = call(policy, {"tool": "payments.transfer"})
    readings = Memory([(policy, {})], b"k").readings(proposal, facts.now)
    assert [reading for reading in readings.values() if reading is None] == [None]


def test_the_call_itself_is_left_out_when_it_is_decided_again():
    memory = Memory([(SET, {"limits": {"daily_minor": 10}})], b"k")
    proposal, facts = call(SET, {"tool": "payments.transfer", "args.amount_minor": 7})
    readings = memory.readings(proposal, facts.now, "claim-1")
    assert {query.excluding for reading in readings.values() for query in [reading.event]} == {"claim-1"}


def test_a_demand_turns_on_the_comparison_and_not_on_the_exact_reading():
    memory = Memory([(SET, {"limits": {"daily_minor": 10}})], b"k")
    proposal, facts = call(SET, {"tool": "payments.transfer", "args.amount_minor": 7})
    readings = memory.readings(proposal, facts.now)
    (total,) = [name for name, reading in readings.items() if reading.kind is ReadingKind.SUM]
    values = dict.fromkeys(readings, 0) | {total: 7}
    (expect,) = [each for each in memory.expects("payments.transfer", readings, values) if each.reading.kind is ReadingKind.SUM]
    assert (expect.op, expect.bound, expect.truth) == ("gt", 10, False)


def test_only_tools_that_are_named_or_listed_are_remembered():
    memory = Memory([(SET, {})], b"k")
    assert memory.keeps("ehr.read_record")
    assert not memory.keeps("somewhere.else")
    assert not memory.keeps("payments.transfer", denied=True)
    asked = load(TEXT.replace("phase: failed}", "phase: denied}"), source="denied.yaml")
    assert Memory([(asked, {})], b"k").keeps("payments.transfer", denied=True)


def test_the_conditions_that_the_page_shows_load():
    page = (ROOT / "docs/policy.md").read_text("utf-8")
    shown = re.findall(r"^(when: \{.*history.*)$", page, re.MULTILINE)
    assert len(shown) >= 5
    for number, when in enumerate(shown):
        tool = re.search(r"tool: ([a-z_.]+)", when)[1]
        on = "ehr.export" if "args.mrn" in when else tool
        rule = f"    - {{id: shown-{number}, effect: deny, tools: [{on}], {when}}}\n  tests:"
        load(TEXT.replace("  tests:", rule, 1), source="page.yaml")


def test_words_for_people_name_what_is_read():
    assert "sum_within(payments.transfer args.amount_minor, same agent.id, 24h)" in {term.text for term in SET.terms.values()}


def test_readings_that_hand_written_rego_may_compare_are_held_exactly():
    text = TEXT.replace("  rules:\n", "  rego: [{file: x.rego, tools: [payments.transfer]}]\n  rules:\n", 1)
    policy = load(text, source="rego.yaml", files={"x.rego": "package aegis_acme.custom.x\n"})
    memory = Memory([(policy, {"limits": {"daily_minor": 10}})], b"k")
    proposal, facts = call(policy, {"tool": "payments.transfer", "args.amount_minor": 7})
    readings = memory.readings(proposal, facts.now)
    expects = memory.expects("payments.transfer", readings, dict.fromkeys(readings, 3))
    assert {(each.reading, each.bound) for each in expects if each.op == "eq"} >= {(reading, 3) for reading in readings.values()}
