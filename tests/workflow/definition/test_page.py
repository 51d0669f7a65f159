"""The reference page of workflows: its examples load, they fit each other, and no key, code or word is left unsaid."""

import re
from pathlib import Path

import pytest

from aegis.model.document import parse
from aegis.workflow import gate_syntax, reading, step_syntax
from aegis.workflow.checks import CODES
from aegis.workflow.data import data_contract
from aegis.workflow.reading import workflow
from workflow.definition.documents import PROCUREMENT, made

PAGE = (Path(__file__).parents[3] / "docs" / "workflows.md").read_text("utf-8")
WORKFLOW, DATA = re.findall(r"^```yaml\n(apiVersion.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_example_means_what_the_tests_hold_against_a_tenant():
    assert workflow(parse(WORKFLOW, source="workflows.md")).digest == made(PROCUREMENT).digest


def test_the_contract_of_data_loads():
    assert data_contract(parse(DATA, source="workflows.md")).name == "offers"


@pytest.mark.parametrize(
    "key",
    [*(f"metadata.{key}" for key in reading._META), *(f"spec.{key}" for key in reading._SPEC), *step_syntax.KINDS,
     *sorted({key for keys in step_syntax._KEYS.values() for key in keys})],
)  # fmt: skip
def test_every_key_is_explained(key):
    assert any(line.startswith("|") and f"`{key}`" in line for line in PAGE.splitlines())


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(code):
    assert f"`{code}`" in PAGE


@pytest.mark.parametrize(
    "key", ["approvers", "quorum", "not_requester", "expires", "escalate", "shows", "after", "until", "signal"]
)
def test_every_key_of_a_step_that_waits_is_explained(key):
    assert re.search(rf"`[{{]?{key}\b", PAGE)
    assert key in Path(gate_syntax.__file__).read_text("utf-8")
