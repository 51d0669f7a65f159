"""The reference page of tools: its example loads and uses every key, and no key is left unsaid."""

import re
from pathlib import Path

import pytest

from aegis.errors import DocumentError
from aegis.model.contract import contract
from aegis.model.document import parse

PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text("utf-8")
[EXAMPLE] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TABLES = "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))
MAPPINGS = {
    "the document": "apiVersion",
    "metadata": "  name",
    "spec": "  description",
    "spec.upstream": "    timeout_seconds",
    "spec.operations": "    call:",
    "operations.call": "      body",
    "operations.ask": "      done",
}


def allowed(mapping: str) -> set[str]:
    """The keys that the reader itself accepts here, by its own complaint."""
    piece = MAPPINGS[mapping]
    indent = piece[: len(piece) - len(piece.lstrip())]
    strange = re.sub(rf"^{piece}", f"{indent}strange: 1\n{piece}", EXAMPLE, count=1, flags=re.MULTILINE)
    with pytest.raises(DocumentError, match="unknown key `strange`") as refused:
        contract(parse(strange, source="tools.md"))
    return set(re.findall(r"`([\w]+)`", str(refused.value).partition("expected")[2].partition(";")[0]))


def test_the_example_loads():
    shown = contract(parse(EXAMPLE, source="tools.md"))
    assert (shown.effect, shown.interrupt, shown.upstream.connect_timeout_seconds) == ("dangerous", "ask", 3.0)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_the_example_uses_every_key_and_the_tables_explain_it(mapping):
    keys = allowed(mapping)
    assert keys
    for key in keys:
        assert re.search(rf"^\s*{key}:", EXAMPLE, re.MULTILINE), f"`{key}` is not in the example"
        if mapping != "the document":
            assert f"`{key}`" in TABLES, f"`{key}` is not explained"


@pytest.mark.parametrize("key", ["header", "prefix", "env", "file"])
def test_the_parts_of_a_credential_are_explained(key):
    assert f"`{key}`" in TABLES


@pytest.mark.parametrize("word", ["honours_key", "ask", "neither", "read", "write", "dangerous"])
def test_every_word_of_a_choice_is_explained(word):
    assert f"`{word}`" in TABLES


def test_the_statuses_that_cannot_be_given_a_meaning_are_those_of_the_page():
    told = re.search(r"((?:\d{3},\s)+\d{3}) and redirects are about the question", PAGE)
    tried = {*range(200, 206), *range(298, 312), *range(398, 432), 451, 499}
    refused = {status for status in tried if not loads(EXAMPLE.replace("[404]", f"[{status}]"))}
    silent = {int(status) for status in re.findall(r"\d{3}", told[1])}
    assert refused == silent | {200} | {status for status in tried if 300 <= status < 400}  # 200 is `done` already


def loads(text: str) -> bool:
    try:
        contract(parse(text, source="tools.md"))
    except DocumentError:
        return False
    return True
