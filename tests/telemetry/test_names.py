"""Every name stands in one table, and those of others are spelled as they spell them."""

import re
from pathlib import Path

import pytest

from aegis.model import conventions as names
from telemetry.test_every_door import through_every_door, watched

SOURCE = Path(names.__file__).parents[1]


def official():
    semconv = pytest.importorskip("opentelemetry.semconv", reason="the official names are not installed")
    files = [path for home in semconv.__path__ for path in Path(home).rglob("*_attributes.py")]
    assert len(files) > 50
    return {name for path in files for name in re.findall(r'Final = (?:\(\s*)?"([a-z0-9_.]+)"', path.read_text())}


def test_names_of_others_are_official():
    assert set(names.STANDARD) - official() == set()


def test_names_of_ours_are_ours():
    assert all(name.startswith("aegis.") for name in names.OURS)
    assert len({*names.STANDARD, *names.OURS}) == len(names.STANDARD) + len(names.OURS)


def test_every_constant_of_an_attribute_is_in_a_table():
    constants = {
        value for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and "." in value and "://" not in value
    }  # fmt: skip
    assert constants == {*names.STANDARD, *names.OURS}


def test_no_other_module_spells_a_name():
    spelled = re.compile(r'"(?:(?:gen_ai|mcp|messaging)\.[a-z._]+|http\.request\.method|http\.route|http\.response\.status_code)"')
    telling = [
        path
        for path in SOURCE.rglob("*.py")
        if path.name != "conventions.py" and "export" not in str(path) and spelled.search(path.read_text())
    ]
    assert telling == []


def test_spans_use_no_name_that_is_not_in_the_table(quiet):
    spans = watched(quiet)
    through_every_door(quiet)
    used = {name for span in spans for name in span.attributes}
    assert used - {*names.STANDARD, *names.OURS} == set()


def test_every_metric_of_a_gateway_is_in_the_table_and_the_other_way_round(quiet):
    through_every_door(quiet)
    text = quiet.watch("/metrics").text
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    shown = {name for name in told if not name.endswith("_created")}
    assert shown == {each.prometheus for each in names.METRICS}
    assert len({each.otlp for each in names.METRICS}) == len(names.METRICS)


def test_every_metric_stands_in_the_docs_with_its_labels():
    lines = (SOURCE.parents[1] / "docs" / "telemetry.md").read_text().splitlines()
    for each in names.METRICS:
        assert f"| `{each.prometheus}` | {', '.join(each.labels)} | `{each.otlp}` | {each.tells} |" in lines, each.prometheus
