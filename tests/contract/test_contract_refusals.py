"""Contracts that must not load: where the complaint stands and what it says."""

from pathlib import Path

import pytest

from aegis.errors import DocumentError
from aegis.model.contract import contract
from aegis.model.document import parse

FILE = Path(__file__).parents[2] / "conformance" / "contract" / "refused.yaml"
DOCUMENT = parse(FILE.read_text("utf-8"), source=FILE.name).value
BASE = DOCUMENT["base"]


def changed(text, change):
    assert text.count(change["from"]) == 1, "the changed piece must occur exactly once"
    return text.replace(change["from"], change["to"])


def place(text, piece):
    assert text.count(piece) == 1, "the piece that the place is told by must occur exactly once"
    before = text[: text.index(piece)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def test_the_base_of_the_cases_loads():
    loaded = contract(parse(BASE, source="tool.yaml"))
    assert (loaded.name, loaded.effect, loaded.interrupt) == ("deploy.apply", "dangerous", "ask")
    assert loaded.check_input({"service": "web", "version": "v1", "weight": 0.5}) == ()


@pytest.mark.parametrize("case", DOCUMENT["cases"], ids=lambda case: case["name"])
def test_contract_is_refused_at_its_place(case):
    text = changed(BASE, case["change"])
    text = changed(text, case["and"]) if "and" in case else text
    with pytest.raises(DocumentError) as refused:
        contract(parse(text, source="tool.yaml"))
    for piece in case["says"]:
        assert piece in str(refused.value)
    line, column = place(text, case["at"])
    assert str(refused.value).startswith(f"tool.yaml:{line}:{column}: ")
