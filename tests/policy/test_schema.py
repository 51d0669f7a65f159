"""The published JSON Schema: it admits every document that loads, and refuses most that do not."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy.strategies import policies, single

from aegis.errors import DocumentError
from aegis.model import document
from aegis.policy.jsonschema import schema

ROOT = Path(__file__).parents[2]
SETS = sorted([*(ROOT / "conformance/policy/sets").glob("*.yaml"), *(ROOT / "src/aegis/surfaces/cli").rglob("policy.yaml")])
VALIDATOR = jsonschema_rs.Draft202012Validator(schema())


def complaints(value):
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in VALIDATOR.iter_errors(value)]


def test_the_published_schema_is_the_one_of_the_parser():
    published = ROOT / "docs/policy.schema.json"
    assert json.loads(published.read_text()) == schema(), "write it anew: aegis policy schema > docs/policy.schema.json"


@pytest.mark.parametrize("path", SETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_real_sets_are_valid(path):
    assert complaints(document.parse(path.read_text(), source=path.name).value) == []


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(policies(), single("allow"), single("sanitize")))
def test_law_every_document_that_loads_is_valid(found):
    assert complaints(found) == []


def test_most_documents_that_are_refused_are_not_valid():
    table = document.parse((ROOT / "conformance/policy/refused/documents.yaml").read_text(), source="refused").value
    text = (ROOT / "conformance/policy" / table["policy"]).read_text()
    passed, shaped = [], 0
    for case in table["cases"]:
        try:
            value = document.parse(text.replace(case["change"]["from"], case["change"]["to"]), source="x").value
        except DocumentError:
            continue  # not even a document
        shaped += 1
        if not complaints(value):
            passed.append(case["name"])
    assert len(passed) <= shaped // 2, passed
