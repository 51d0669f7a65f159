"""Which engine the settings name, and what is said when it cannot be used."""

import sys
from pathlib import Path

import pytest
from tests.engine.conftest import Bench, task

from aegis.adapters.engines.dbos_engine import DbosEngine
from aegis.adapters.engines.local import LocalEngine
from aegis.app.engines import database_of, engine_of
from aegis.errors import ConfigError, StoreError
from aegis.settings import Settings, load

POSTGRES = "postgresql://aegis@db/aegis"


def settings(folder: Path, **environ: str) -> Settings:
    (folder / "aegis.toml").write_text("")
    return load(folder, {f"AEGIS_{name}": value for name, value in environ.items()})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, LocalEngine),
        ({"STORE_URL": POSTGRES}, DbosEngine),
        ({"STORE_URL": POSTGRES, "WORKFLOWS_ENGINE": "local"}, LocalEngine),
        ({"WORKFLOWS_ENGINE": "dbos"}, DbosEngine),
    ],
)
def test_the_engine_follows_the_store_unless_it_is_named(tmp_path: Path, environ: dict[str, str], expected: type) -> None:
    assert type(engine_of(settings(tmp_path, **environ), "gw-1")) is expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "sqlite:{}/data/dispatch.db"),
        ({"STORE_URL": POSTGRES}, POSTGRES),
        ({"STORE_URL": POSTGRES, "WORKFLOWS_DATABASE": "postgresql://queue"}, "postgresql://queue"),
        ({"WORKFLOWS_DATABASE": "sqlite:elsewhere.db"}, "sqlite:{}/elsewhere.db"),
    ],
)
def test_the_queues_lie_beside_the_store_unless_a_database_is_named(tmp_path: Path, environ: dict[str, str], expected: str) -> None:
    assert database_of(settings(tmp_path, **environ)) == expected.format(tmp_path)


def test_a_database_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"AEGIS_WORKFLOWS_DATABASE.*expected `sqlite:PATH`"):
        settings(tmp_path, WORKFLOWS_DATABASE="redis://queue")


def test_an_engine_that_is_not_installed_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aegis.adapters.engines.dbos_engine", None)
    with pytest.raises(ConfigError, match=r"install `aegis-runtime\[postgres\]`, or set it to \"local\""):
        engine_of(settings(tmp_path, WORKFLOWS_ENGINE="dbos"), "gw-1")


async def test_a_file_that_is_no_database_stops_the_start_and_says_what_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "dispatch.db").write_bytes(b"this is no database, it is a text that somebody put here" * 100)
    engine = DbosEngine(f"sqlite:{tmp_path / 'dispatch.db'}", "gw-1")
    with pytest.raises(StoreError, match=r"prepare \(DatabaseError\): check `workflows.database`"):
        await engine.start([], _nothing)
    await engine.stop()


async def test_a_variable_that_would_make_dbos_answer_to_a_service_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBOS__CLOUD", "true")
    engine = DbosEngine(f"sqlite:{tmp_path / 'dispatch.db'}", "gw-1")
    with pytest.raises(StoreError, match="unset the environment variable `DBOS__CLOUD`"):
        await engine.start([], _nothing)
    await engine.stop()


async def test_a_second_engine_in_one_process_is_refused_and_the_first_serves_on(tmp_path: Path) -> None:
    first = Bench(DbosEngine(f"sqlite:{tmp_path / 'one.db'}", "gw-1"))
    second = DbosEngine(f"sqlite:{tmp_path / 'two.db'}", "gw-2")
    await first.start()
    with pytest.raises(StoreError, match="serves another database already"):
        await second.start([], _nothing)
    await second.stop()
    await first.engine.dispatch([task("a")])
    await first.until(lambda: first.ended == ["a"])
    await first.engine.stop()


async def _nothing(_: object) -> None:
    raise AssertionError("nothing was handed in")
