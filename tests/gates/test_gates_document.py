"""`aegis.gates/v1`: what may be written, and what is told about what may not."""

import pytest

from aegis.adapters.gates import load
from aegis.errors import ConfigError, DocumentError
from aegis.model.document import parse
from aegis.workflow.gates import gates
from aegis.workflow.gates.document import WEIGHTS, Approvers, Flow, Gates, Money
from gates.plans import GATES

WHOLE = """
apiVersion: aegis.gates/v1
kind: Gates
metadata: {tenant: acme, owner: security@acme.example}
spec:
  risk: {auto_below: 40, deny_above: 200, weights: {money: 40}}
  money: {above: 100000, arguments: [amount_minor]}
  inside: ["127.0.0.1", "*.acme.example"]
  egress: []
  flows: [{label: confidential, sink: external, then: refuse}, {then: person}]
  most_nodes: 50
  proposers: ["role:planner", "agent:x"]
  approvers: {sets: [["role:operator", "person:alice"], ["role:lead"]], quorum: 2, expires: 2h}
"""


def test_a_document_says_how_plans_are_weighed():
    found = gates(parse(WHOLE, source="gates.yaml"))
    assert (found.auto_below, found.deny_above, found.most_nodes, found.egress) == (40, 200, 50, ())
    assert dict(found.weights) == {**WEIGHTS, "money": 40}
    assert found.money == Money(above=100000, arguments=("amount_minor",))
    assert found.flows == (Flow(label="confidential", sink="external", then="refuse"), Flow())
    assert found.approvers.sets == (("role:operator", "person:alice"), ("role:lead",))
    assert (found.approvers.quorum, found.approvers.expires.total_seconds()) == (2, 7200)


def test_what_is_left_out_is_the_careful_default():
    text = "apiVersion: aegis.gates/v1\nkind: Gates\nmetadata: {tenant: acme}\nspec: {approvers: {sets: [['role:lead']]}}"
    found = gates(parse(text, source="gates.yaml"))
    assert found == Gates(tenant="acme", source="gates.yaml", approvers=Approvers(sets=(("role:lead",),)))
    assert found.auto_below == 0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("deny_above: 200", "deny_above: 39", "6:26: expected 40 or more"),
        ("weights: {money: 40}", "weights: {mony: 40}", "no such factor `mony`"),
        ("weights: {money: 40}", "weights: {money: -1}", "expected an integer from 0"),
        ("*.acme.example", "ACME.example", "hosts are written in lower case"),
        ("then: refuse", "then: allow", "found `allow`"),
        ("label: confidential", "label: Confidential", "expected a label"),
        ('"agent:x"', '"person:x"', "expected `role:NAME` or `agent:NAME`"),
        ('["role:lead"]', "[]", "expected at least one element"),
        ("expires: 2h", "expires: soon", "is not a time"),
        ("most_nodes: 50", "most_node: 50", "did you mean `most_nodes`?"),
        ("[amount_minor]", '["a b"]', "expected the name of an argument"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old, new, told):
    assert old in WHOLE
    with pytest.raises(DocumentError) as refused:
        gates(parse(WHOLE.replace(old, new), source="gates.yaml"))
    assert str(refused.value).startswith("gates.yaml:")
    assert told in str(refused.value)


def test_a_tenant_without_a_document_sends_every_plan_to_a_person(tmp_path):
    assert load(tmp_path, "acme") == Gates(tenant="acme")


def test_a_document_of_another_tenant_or_something_else_of_that_name_is_refused(tmp_path):
    path = tmp_path / "gates.yaml"
    path.write_text(GATES.format(tenant="globex"))
    with pytest.raises(ConfigError, match="is of tenant `globex`"):
        load(tmp_path, "acme")
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError):
        load(tmp_path, "acme")
