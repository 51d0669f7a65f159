"""The layout of a policy file changes nothing that it says, keeps every remark, and is settled after one time."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy.strategies import policies

from aegis.errors import DocumentError
from aegis.model import document
from aegis.policy.fmt import fmt, with_tests
from aegis.policy.language import load

ROOT = Path(__file__).parents[2]
FILES = sorted(
    [*(ROOT / "conformance/policy/sets").glob("*.yaml"), ROOT / "src/aegis/surfaces/cli/templates/tenants/acme/policy.yaml"]
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_real_files_keep_their_meaning_and_settle(path):
    text = path.read_text()
    written = fmt(text, source=path.name)
    assert load(written, source="x").digest == load(text, source="x").digest
    assert fmt(written, source=path.name) == written
    assert sum(line.lstrip().startswith("#") for line in text.splitlines()) == sum(
        line.lstrip().startswith("#") for line in written.splitlines()
    )


def test_entries_that_fit_stand_in_one_line_and_keys_in_the_order_of_the_language():
    text = "spec:\n    rules:\n    - {when: {args.n: {gt: 1}}, effect: deny, id: a}\nkind: PolicySet\n"
    assert fmt(text, source="x") == "kind: PolicySet\nspec:\n  rules:\n    - {id: a, effect: deny, when: {args.n: {gt: 1}}}\n"


def test_remarks_stay_beside_what_they_stood_beside():
    text = "# head\nspec:   # the set\n  rules:\n\n\n  # about a\n  - {id: a}   # behind a\n  - id: b\n    # inside b\n    when: {x: {eq: 1}}\n# end\n"
    assert fmt(text, source="x") == (
        "# head\nspec:  # the set\n  rules:\n\n    # about a\n    - {id: a}  # behind a\n"
        "    - id: b\n      # inside b\n      when: {x: {eq: 1}}\n# end\n"
    )


@pytest.mark.parametrize(
    "value",
    [
        "yes",
        "null",
        "1",
        "1e5",
        "08:00",
        "#x",
        "a #b",
        "a: b",
        "",
        " a",
        "a ",
        "*.x",
        "ü",
        "a\nb",
        "\u2028",
        "\\",
        '"',
        "24h",
        "-",
        "1_0",
        "~",
    ],
)
def test_text_stays_text(value):
    text = json.dumps({"spec": {"lists": {"x": [value]}}})
    written = fmt(text, source="x")
    assert document.parse(written, source="x").value["spec"]["lists"]["x"] == [value]
    assert fmt(written, source="x") == written


def test_what_is_no_document_is_refused():
    with pytest.raises(DocumentError, match="x:1:"):
        fmt("a: &b 1", source="x")


def test_tests_are_put_behind_those_that_stand_there():
    text = "spec:\n  # kept\n  tests:\n    - {name: a}\n"
    assert with_tests(text, [{"name": "b", "input": {"now.time": "08:00"}}], source="x") == (
        'spec:\n  # kept\n  tests:\n    - {name: a}\n    - {name: b, input: {now.time: "08:00"}}\n'
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_law_no_layout_changes_what_a_set_says_or_loses_a_remark(data):
    source = json.dumps(
        data.draw(policies(most=4)), ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 2]))
    )
    lines = fmt(source, source="x").splitlines() if data.draw(st.booleans()) else source.splitlines()
    remarks = []
    for number in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(lines) - 1))
        remark = f"# remark {number}"
        if data.draw(st.booleans()) and "#" not in lines[at]:
            lines[at] += f"  {remark}"
        else:
            lines.insert(at, f"{' ' * data.draw(st.integers(0, 8))}{remark}")
        remarks.append(remark)
        if data.draw(st.booleans()):
            lines.insert(at, "")
    text = "\n".join(lines)
    written = fmt(text, source="x")
    assert load(written, source="x").digest == load(source, source="x").digest
    assert fmt(written, source="x") == written
    assert sorted(remarks) == sorted("# remark " + rest.split("\n")[0] for rest in written.split("# remark ")[1:])
