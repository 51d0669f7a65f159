"""Between them the examples use every part of the language: counted in what the sets became, not in how they are written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters import policies
from aegis.model.decision import Outcome, Stage
from aegis.model.history import Phase, ReadingKind
from aegis.policy.ir import (
    AllOf,
    AnyOf,
    Condition,
    Kind,
    Leaf,
    ListRef,
    Literal,
    Not,
    Op,
    Quantified,
    Quantifier,
    TenantRef,
)
from aegis.policy.obligations import FORMS, REGEX
from aegis.policy.operands import SHAPES
from aegis.policy.past import COMPARISONS
from aegis.policy.places import FIXED
from aegis.policy.toollines import ARGUMENT_KINDS

EXAMPLES = Path(__file__).parents[2] / "examples"
# Places of the input that say something about the issuer's bookkeeping: one of a family stands for all.
FAMILIES = ("budget.", "risk.", "confidence.")


@pytest.fixture(scope="module")
def sets():
    return [policies.load(path.parent, path.parent.name)[0] for path in sorted(EXAMPLES.rglob("policy.yaml"))]


def _conditions(root: Condition | None) -> Iterator[Condition]:
    if root is None:
        return
    yield root
    inner = root.conditions if isinstance(root, AllOf | AnyOf) else (root.condition,) if isinstance(root, Not | Quantified) else ()
    for part in inner:
        yield from _conditions(part)


def _rules(sets):
    return [rule for policy in sets for rule in policy.rules]


def _every(sets):
    return [each for rule in _rules(sets) for each in _conditions(rule.when)]


def _leaves(sets):
    return [each for each in _every(sets) if isinstance(each, Leaf)]


def test_every_effect_stage_and_mode(sets):
    rules = _rules(sets)
    assert {rule.effect for rule in rules} == set(Outcome)
    assert {rule.stage for rule in rules if rule.redactions} == set(Stage)
    assert {rule.shadow for rule in rules} == {policy.shadow for policy in sets} == {True, False}


def test_every_operator_quantifier_and_combinator(sets):
    assert {leaf.op for leaf in _leaves(sets)} == set(Op)
    assert {each.quantifier for each in _every(sets) if isinstance(each, Quantified)} == set(Quantifier)
    assert {type(each) for each in _every(sets)} >= {AllOf, AnyOf, Not}


def test_both_truths_of_present_and_ranges_of_numbers_and_times(sets):
    present = {operand.value for leaf in _leaves(sets) if leaf.op is Op.PRESENT for operand in leaf.operands}
    assert present == {True, False}
    ranges = {(leaf.op, type(leaf.operands[0].value)) for leaf in _leaves(sets) if leaf.op in (Op.BETWEEN, Op.OUTSIDE)}
    assert {kind for _, kind in ranges} >= {int, str}


def test_every_operand(sets):
    operands = [operand for leaf in _leaves(sets) for operand in leaf.operands]
    assert {type(operand) for operand in operands} == {Literal, ListRef, TenantRef}
    assert {op for leaf in _leaves(sets) for op in [leaf.op] if isinstance(leaf.operands[0], ListRef)} == {Op.IN, Op.HOST_IN}
    assert {shape for policy in sets for shape in policy.tenant_shape.values()} == set(SHAPES)
    assert {type(value) for policy in sets for values in policy.lists.values() for value in values} == {str, int}


def test_every_place_of_the_input(sets):
    read = {leaf.path.text for leaf in _leaves(sets)} | {each.path.text for each in _every(sets) if isinstance(each, Quantified)}
    plain = {place for place in FIXED if not place.startswith(FAMILIES)}
    assert plain - read <= {"tenant", "run.id"}  # pinned by history, or one for the whole set
    for family in FAMILIES:
        assert any(place.startswith(family) for place in read), family


def test_every_kind_of_argument_and_contracts_by_name(sets):
    lines = [line for policy in sets for line in policy.tools.values()]
    kinds = {argument.kind for line in lines for argument in line.args.values()}
    assert kinds == {Kind(each) for each in ARGUMENT_KINDS}
    assert {argument.optional for line in lines for argument in line.args.values()} == {True, False}
    assert {bool(line.contract_digest) for line in lines} == {line.critical for line in lines} == {True, False}
    assert all(any(getattr(line.labels, name) for line in lines) for name in ("emits", "sink", "source", "region"))


def test_every_form_of_redaction(sets):
    forms = {redaction.form for rule in _rules(sets) for redaction in rule.redactions}
    assert {form for form in forms if not form.startswith(REGEX)} == set(FORMS)
    assert any(form.startswith(REGEX) for form in forms)
    assert any("/*/" in redaction.path for rule in _rules(sets) for redaction in rule.redactions)


def test_every_term_of_an_approval(sets):
    terms = [rule.terms for rule in _rules(sets) if rule.terms]
    approvers = {name.partition(":")[0] for each in terms for group in each.approver_sets for name in group}
    assert approvers == {"role", "person"}
    assert {each.not_requester for each in terms} == {True, False}
    assert len({each.quorum for each in terms}) > 1
    assert len({each.ttl for each in terms}) > 1


def test_every_history_condition(sets):
    terms = [term for policy in sets for term in policy.terms.values()]
    assert {term.kind for term in terms} == set(ReadingKind)
    assert {
        kind for kind in (ReadingKind.FORMERLY, ReadingKind.NEVER_AFTER) for term in terms if term.other and term.kind is kind
    } == {
        ReadingKind.FORMERLY,
        ReadingKind.NEVER_AFTER,
    }
    assert {phase for term in terms for phase in term.event.phases} == set(Phase)
    assert {field for term in terms for field in term.same} >= {"agent.id", "run.id", "subject.id"}
    assert {test.op for term in terms for test in term.event.tests} >= {"eq", "in"}
    compared = {leaf.op for leaf in _leaves(sets) if leaf.path.parts[0] == "history" and leaf.path.kind is Kind.INTEGER}
    assert compared >= set(COMPARISONS) - {Op.LTE}


def test_a_longer_window_than_a_day(sets):
    assert max(term.within for policy in sets for term in policy.terms.values()).days > 1
