"""What a contract says of its resource, and how a call becomes the name of a row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import DocumentError
from aegis.model.contract import contract
from aegis.model.document import parse
from aegis.runtime.resources import wanted
from resources.bank import TOOL

TEXT = TOOL.format(name="bank.move", tenant="acme", conflicts="serialise", interrupt="neither", port=1)
TWO = TEXT.replace('"account/{account}"', '"account/{account}/{amount}"').replace(
    "amount: {type: integer}", "amount: {type: string}"
)
PARTS = st.text(alphabet=st.sampled_from("ab/%{}1é"), max_size=4)


def made(text):
    return contract(parse(text, source="bank.move.yaml"))


def named(found, **arguments):
    return wanted("acme", b"k" * 32, found, arguments)


BOTH = made(TWO)


@given(st.lists(PARTS, min_size=2, max_size=4), st.integers(0, 4), st.integers(0, 4), st.sampled_from("/%"))
def test_two_calls_have_one_resource_just_when_they_name_the_same_arguments(parts, cut, other, joint):
    one, two = ((joint.join(parts[:at]), joint.join(parts[at:])) for at in (cut, other))
    same = named(BOTH, account=one[0], amount=one[1]) == named(BOTH, account=two[0], amount=two[1])
    assert same is (one == two)


def test_one_resource_is_one_row_whatever_tool_names_it():
    closing = made(TEXT.replace("bank.move", "bank.close").replace("serialise", "refuse"))
    assert named(made(TEXT), account="a", amount=1) == named(closing, account="a", amount=9)


def test_tenants_and_secrets_lead_to_other_rows():
    rows = {wanted(tenant, key, made(TEXT), {"account": "a"}) for tenant in ("acme", "globex") for key in (b"a", b"b")}
    assert len(rows) == 4


def test_a_contract_that_says_nothing_of_conflicts_needs_no_row():
    assert named(made(TEXT.replace("  conflicts: serialise\n", "")), account="a", amount=1) is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("conflicts: serialise", "conflicts: queue", "serialise"),
        ("required: [account, amount]", "required: [amount]", "the input schema must require it"),
        ('effect: write\n  resource: "account/{account}"', "effect: read", "a read changes nothing"),
    ],
    ids=["another word", "an optional argument", "a read"],
)
def test_a_contract_is_refused_where_conflicts_cannot_be_told(old, new, told):
    with pytest.raises(DocumentError) as refused:
        made(TEXT.replace(old, new).replace("  interrupt: neither\n" if "read" in new else "\0", ""))
    assert told in str(refused.value)
