"""Whose data a call holds, as token and contract say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import DocumentError
from aegis.model.contract import contract
from aegis.model.datasubject import key_name, subject_of
from aegis.model.document import parse
from aegis.model.principal import Principal

KEY, OTHER = b"k" * 32, b"o" * 32
NORA = Principal(tenant="acme", agent_id="agent:a", subject="user:nora")
TOOL = """
apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: crm.read, version: 1.0.0, tenant: acme, owner: o@acme.example}}
spec:
  description: Reads.
  effect: read
{line}
  upstream: {{url: "http://127.0.0.1:1"}}
  operations: {{call: {{method: POST, path: /, body: all}}}}
  input:
    type: object
    required: [customer_id, number, deep, flag]
    properties:
      customer_id: {{type: string}}
      number: {{type: integer}}
      deep: {{type: object}}
      flag: {{type: boolean}}
      maybe: {{type: string}}
"""


def tool(line=""):
    return contract(parse(TOOL.format(line=line), source="crm.read.yaml"))


@pytest.mark.parametrize(
    ("line", "expected"), [("", "user:nora"), ("  data_subject: customer_id", "c-17"), ("  data_subject: number", "17")]
)
def test_the_contract_may_name_the_argument_that_holds_it(line, expected):
    assert subject_of(NORA, tool(line), {"customer_id": "c-17", "number": 17}) == expected


def test_a_tool_that_nobody_knows_and_arguments_that_do_not_fit_fall_back_to_the_person():
    named = tool("  data_subject: number")
    for of, arguments in ((None, {"number": 17}), (named, {}), (named, {"number": True}), (named, {"number": [17]})):
        assert subject_of(NORA, of, arguments) == "user:nora"


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("other", "`other` is not an argument of the input schema"),
        ("maybe", "the input schema must require it"),
        ("deep", "expected its schema to have type string or integer"),
        ("flag", "expected its schema to have type string or integer"),
    ],
)
def test_an_argument_that_may_be_missing_or_names_nobody_is_refused(named, why):
    with pytest.raises(DocumentError, match=why) as refused:
        tool(f"  data_subject: {named}")
    assert str(refused.value).startswith("crm.read.yaml:8:")


def test_who_the_contract_names_is_part_of_its_meaning():
    assert tool().digest != tool("  data_subject: customer_id").digest


@given(st.text(min_size=1), st.text(min_size=1))
def test_names_of_keys_are_equal_for_equal_subjects_only_and_tell_nothing(one, other):
    assert (key_name(KEY, one) == key_name(KEY, other)) is (one == other)
    assert key_name(KEY, one) != key_name(OTHER, one)
    assert key_name(KEY, one).startswith("subject:")
    assert len(key_name(KEY, one)) == len("subject:") + 64


def test_what_belongs_to_nobody_lies_under_the_key_of_the_tenant():
    assert key_name(KEY, "") == ""
