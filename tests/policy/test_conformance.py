"""Runs the language-neutral cases of conformance/policy through the real parts."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aegis.errors import DocumentError
from aegis.model import document
from aegis.model.decision import Redaction, Stage
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.guards import HaltedGuard
from aegis.policy.language import load
from aegis.policy.redaction import redact

ROOT = Path(__file__).parents[2] / "conformance" / "policy"


def _read(path: Path) -> Any:
    return document.parse(path.read_text(), source=path.name).value


def _merged(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {key: _merged(base[key], over[key]) if key in base and key in over else {**base, **over}[key] for key in base | over}


def _cases(folder: str) -> list[Any]:
    found = []
    for path in sorted((ROOT / folder).glob("*.yaml")):
        body = _read(path)
        common = {key: value for key, value in body.items() if key not in ("cases", "defaults")}
        found += [
            pytest.param(common, _merged(body.get("defaults", {}), case), id=f"{path.stem}: {case['name']}")
            for case in body["cases"]
        ]
    return found


@cache
def _set(name: str):
    return load((ROOT / name).read_text(), source=name)


def _neutral(value: Any) -> Any:
    """A decision as JSON would carry it, with the duration in ISO 8601 that the wire uses."""
    return msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize(("common", "case"), _cases("decisions"))
def test_decision(common, case):
    proposal = msgspec.convert(case["proposal"], Proposal)
    facts = msgspec.convert(case.get("facts", {}), Facts)
    guards = [RulesGuard(_set(case.get("policy", common["policy"])), common.get("tenant_data", {}))]
    guards += [HaltedGuard(common["effects"])] if "effects" in common else []
    for order in (guards, guards[::-1]):
        found = _neutral(decide(proposal, facts, order))
        expected = case["decision"]
        assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(("common", "case"), _cases("refused"))
def test_refused_document(common, case):
    text = (ROOT / common["policy"]).read_text()
    old, new = case["change"]["from"], case["change"]["to"]
    assert text.count(old) >= 1, "the case changes nothing"
    with pytest.raises(DocumentError) as caught:
        load(text.replace(old, new, 1), source="set.yaml")
    message = str(caught.value)
    for part in case["says"]:
        assert part in message
    line = next(number for number, content in enumerate(text.replace(old, new, 1).splitlines(), 1) if case["line"] in content)
    assert message.startswith(f"set.yaml:{line}:"), message


@pytest.mark.parametrize(("common", "case"), _cases("redaction"))
def test_redaction(common, case):
    stage = Stage(case.get("stage", "response"))
    obligations = [Redaction(stage=stage, path=path, form=form) for path, form in case["redact"]]
    value, changed = redact(case["value"], obligations, stage, b"k" * 32)
    assert value == case["left"]
    assert list(changed) == case["changed"]


@pytest.mark.parametrize("path", sorted((ROOT / "sets").glob("*.yaml")), ids=lambda path: path.stem)
def test_sets_load_without_warnings(path):
    assert load(path.read_text(), source=path.name).warnings == ()
