"""SQLite has no row-level security: every statement of ours is keyed by tenant, or stands in the list of those that are about all."""

import ast
import re
from pathlib import Path

import pytest

import aegis.adapters
from aegis.adapters import columns
from aegis.adapters.postgres import statements as postgres_statements
from aegis.adapters.readings import Shape, statement
from aegis.adapters.sqlite.readings import DIALECT
from aegis.model.history import Measure

HOME = Path(aegis.adapters.__file__).parent
FILES = sorted([*(HOME / "sqlite").glob("*.py"), *(HOME / "postgres").glob("*.py"), HOME / "columns.py", HOME / "readings.py"])
TABLES = "head|event|payload|state|data_key|history|posting|tile"
ABOUT = re.compile(rf"\b(?:FROM|INTO|UPDATE|JOIN)\s+(?:{TABLES})\b")
KEYED = re.compile(
    r"(?:\w+\.)?tenant(?: \|\| '')? = (?!h\.tenant\b)(?:[?:%]|ANY\(%|json_extract|k\.|q\.|\{)"  # compared with what the caller named
    r"|INTO (?:" + TABLES + r") \(tenant, "  # written with it
)
WHOLE = {
    "statements.TENANTS": "which tenants there are",
    "statements.ALL_HEADS": "where each log ends",
    "statements.LATEST": "how late it is",
    "statements.FORGET": "old history, whoever's it is",
    "inspection.*": "fsck looks at everything",
}


def texts():
    """Every text of SQL about a table of tenants, by module and name."""
    for path in FILES:
        tree = ast.parse(path.read_text())
        named = {id(part): node.targets[0].id for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) for part in ast.walk(node.value)}  # fmt: skip
        inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if id(node) in inner or not isinstance(node, ast.JoinedStr | ast.Constant):
                continue
            text = ast.unparse(node) if isinstance(node, ast.JoinedStr) else node.value
            if isinstance(text, str) and ABOUT.search(text):
                yield f"{path.parent.name}.{path.stem}.{named.get(id(node), node.lineno)}", text


def whole(name):
    return any(name.split(".", 1)[1] == known or (known.endswith(".*") and f".{known[:-1]}" in name) for known in WHOLE)


@pytest.mark.parametrize(("name", "text"), [pytest.param(*each, id=each[0]) for each in texts()])
def test_a_statement_names_its_tenant_or_is_known_to_be_about_all(name, text):
    if whole(name):
        return
    assert KEYED.search(text) or "WHERE {where}" in text or "{window}" in text, "this statement would see rows of every tenant"


def test_the_statements_were_found():
    found = [name for name, _ in texts()]
    assert len(found) > 40
    for known in WHOLE:
        assert any(known.removesuffix("*") in name for name in found), f"{known} is gone: take it off the list"


@pytest.mark.parametrize("measure", list(Measure))
@pytest.mark.parametrize("lead", ["", "agent", "run", "subject", "tool"])
def test_every_question_about_history_is_held_to_the_tenant_of_its_query(measure, lead):
    text = statement(DIALECT, Shape(lead, (), (), measure, ()), touching=False)
    assert text.count("FROM history w WHERE w.tenant = q.tenant AND") == text.count("FROM history") > 0


def test_the_check_sees_a_statement_that_forgot_its_tenant():
    forgot = "SELECT wrapped FROM data_key WHERE key_id = ?"
    assert ABOUT.search(forgot)
    assert not KEYED.search(forgot)
    assert not KEYED.search("DELETE FROM history USING head h WHERE history.tenant = h.tenant")
    assert KEYED.search(postgres_statements.KEY_BY_ID)


@pytest.mark.parametrize("state", [None, "", "open"])
@pytest.mark.parametrize("lookup", [None, "", "x"])
def test_rows_are_looked_for_in_one_tenant(state, lookup):
    assert "WHERE s.tenant = :tenant AND" in columns.find(state=state, lookup=lookup)


@pytest.mark.parametrize("request_id", [None, "", "x"])
@pytest.mark.parametrize("after", [-1, 4])
@pytest.mark.parametrize("newest_first", [False, True])
def test_events_are_looked_for_in_one_tenant(request_id, after, newest_first):
    text = columns.events(request_id=request_id, after=after, newest_first=newest_first)
    assert re.search(r"WHERE e\.tenant = :tenant( AND| ORDER)", text)
