"""Every document that the pages show loads, every problem is listed as it is, every setting and exit code is told."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aegis import settings
from aegis.errors import ConfigError
from aegis.identity.directory import parse_directory
from aegis.identity.issuers import parse_issuers
from aegis.model.channel import parse_channels
from aegis.model.contract import contract
from aegis.model.document import parse
from aegis.model.message import message_contract
from aegis.model.provenance import parse_trust
from aegis.model.queue import queue_contract
from aegis.model.trigger import triggers
from aegis.policy import plan
from aegis.policy.language import load as load_policy
from aegis.policy.selftest import run_tests
from aegis.surfaces.cli import main
from aegis.surfaces.gateway import routes
from aegis.surfaces.gateway.problems import TABLE
from aegis.workflow.data import data_contract
from aegis.workflow.gates import gates
from aegis.workflow.guardrail import parse_guardrail
from aegis.workflow.reading import workflow

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LOADERS = {
    "aegis.policy/v1": lambda text, source: load_policy(text, source=source),
    "aegis.tool/v1": lambda text, source: contract(parse(text, source=source)),
    "aegis.message/v1": lambda text, source: message_contract(parse(text, source=source)),
    "aegis.queue/v1": lambda text, source: queue_contract(parse(text, source=source)),
    "aegis.issuers/v1": lambda text, source: parse_issuers(parse(text, source=source)),
    "aegis.trust/v1": lambda text, source: parse_trust(parse(text, source=source)),
    "aegis.channels/v1": lambda text, source: parse_channels(parse(text, source=source)),
    "aegis.guardrail/v1": lambda text, source: parse_guardrail(parse(text, source=source)),
    "aegis.directory/v1": lambda text, source: parse_directory(parse(text, source=source)),
    "aegis.triggers/v1": lambda text, source: triggers(parse(text, source=source)),
    "aegis.gates/v1": lambda text, source: gates(parse(text, source=source)),
    "aegis.workflow/v1": lambda text, source: workflow(parse(text, source=source)),
    "aegis.data/v1": lambda text, source: data_contract(parse(text, source=source)),
    "aegis.plan/v1": lambda text, source: plan.read(text, source=source),
}


def shown(page: Path, language: str) -> Iterator[tuple[int, str]]:
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        if found[1] == language:
            yield text.count("\n", 0, found.start()) + 1, found[2]


def documents() -> list[Any]:
    return [
        pytest.param(page, text, id=f"{page.name}:{line}")
        for page in PAGES
        for line, text in shown(page, "yaml")
        if re.match(r"(#.*\n)*apiVersion:", text)
    ]


def table(page: str, header: str) -> dict[str, list[str]]:
    """The rows below `header` by their first cell, without the code marks."""
    lines = (ROOT / page).read_text("utf-8").splitlines()
    rows = lines[lines.index(header) + 2 :]
    cells = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in rows[: next(i for i, r in enumerate([*rows, ""]) if not r)]
    ]
    return {cell[0].strip("`"): cell[1:] for cell in cells}


def load(text: str, source: str) -> Any:
    version = re.search(r"^apiVersion: (\S+)$", text, re.MULTILINE)
    assert version is not None
    assert version[1] in LOADERS, f"{source}: nothing reads `{version[1]}`"
    return LOADERS[version[1]](text, source)


@pytest.mark.parametrize(("page", "text"), documents())
def test_a_document_that_a_page_shows_loads_and_passes_its_own_tests(page: Path, text: str) -> None:
    found = load(text, page.name)
    for result in run_tests(found) if hasattr(found, "tests") else ():
        assert result.passed, f"{result.name}: {result.problems}"


def test_the_pages_show_a_document_of_every_kind() -> None:
    shown_kinds = {re.search(r"apiVersion: (\S+)", p.values[1])[1] for p in documents()}
    assert shown_kinds == set(LOADERS)


def test_a_shown_document_with_a_wrong_word_would_be_noticed() -> None:
    page, text = next((p.values[0], p.values[1]) for p in documents() if "aegis.policy/v1" in p.values[1])
    with pytest.raises(ConfigError, match="did you mean"):
        load(text.replace("effect:", "efect:", 1), page.name)


def test_the_table_of_problems_is_the_one_that_the_gateway_uses() -> None:
    told = table("docs/http-api.md", "| code | status | retryable | |")
    assert told == {code: [str(row.status), "yes" if row.retryable else "no", row.title] for code, row in TABLE.items()}


def test_every_path_of_the_gateway_is_told() -> None:
    page = (ROOT / "docs/http-api.md").read_text("utf-8")
    for method, parts in routes.ROUTES:
        assert f"{method} /{'/'.join(parts)}" in page


def test_every_command_and_exit_code_is_told() -> None:
    page = (ROOT / "README.md").read_text("utf-8")
    for command in main.COMMANDS:
        assert f"`aegis {command}" in page
    told = set(table("README.md", "| exit code | means |"))
    assert told == {
        str(code) for code in (main.DONE, main.FAILED, main.USAGE, main.DENIED, main.WAITS, main.UNREACHABLE, main.INTERRUPTED)
    }


def test_every_setting_is_told_with_its_default() -> None:
    told = table("docs/operating.md", "| key | default | |")
    known = {
        f"{section}.{key}": str(default)
        for section, kind in settings._SECTIONS.items()
        for key, default in zip(kind.__struct_fields__, kind.__struct_defaults__, strict=True)
    }
    assert {key: cells[0].strip("`").replace(",", "") for key, cells in told.items()} == known
