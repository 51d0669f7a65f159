"""What a guardrail's rules answer, and what they leave to people."""

import pytest

from aegis.errors import DocumentError
from aegis.model.document import parse
from aegis.workflow.guardrail import opinion, parse_guardrail

HEAD = "apiVersion: aegis.guardrail/v1\nkind: Guardrail\nmetadata: {name: limits, tenant: acme}\nspec:\n  rules:\n"
SMALL = "    - {id: small, answer: approve, when: {approval.tool: {eq: workflow.purchase}, shown.amount: {lte: 1000}}, reason: within the limit}\n"
BLOCKED = "    - {id: blocked, answer: deny, when: {shown.vendor: {in: [initech]}}, reason: blocked vendor}\n"


def card(**shown):
    return {"approval": {"tool": "workflow.purchase", "quorum": 1, "findings": [], "automatic": False}, "shown": shown}


def rules(text):
    return parse_guardrail(parse(HEAD + text, source="limits.yaml"))


@pytest.mark.parametrize("text", [SMALL + BLOCKED, BLOCKED + SMALL], ids=["denial last", "denial first"])
@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"amount": 900, "vendor": "acme"}, (True, "rule `small`: within the limit")),
        ({"amount": 900.5, "vendor": "acme"}, (True, "rule `small`: within the limit")),
        ({"amount": 1001, "vendor": "acme"}, None),
        ({"amount": 900, "vendor": "initech"}, (False, "rule `blocked`: blocked vendor")),
        ({"amount": 900}, None),
        ({"amount": 900, "vendor": 7}, None),
        ({"amount": "900", "vendor": "acme"}, None),
        ({"vendor": "acme"}, None),
    ],
)
def test_denials_go_first_and_what_is_unknown_is_left_to_people(text, shown, expected):
    said = opinion(rules(text), card(**shown))
    assert (said and (said.approve, said.text)) == expected


def test_a_card_whose_values_were_erased_is_left_to_people():
    assert opinion(rules(SMALL), {"approval": card()["approval"], "shown": None}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("    - {id: a, answer: maybe, when: {shown.x: {eq: 1}}}\n", "maybe"),
        ("    - {id: a, answer: approve, when: {approval.tol: {eq: x}}}\n", "did you mean `approval.tool`"),
        ("    - {id: a, answer: approve, when: {steps.x.output.y: {eq: x}}}\n", "no such path"),
        ("    - {id: a, answer: approve, when: {}}\n", "empty mapping"),
        (SMALL + SMALL, "twice"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_its_place(text, expected):
    with pytest.raises(DocumentError, match=expected) as refused:
        rules(text)
    assert "limits.yaml:6" in str(refused.value) or "limits.yaml:7" in str(refused.value)
