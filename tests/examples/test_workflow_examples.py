"""The examples with agents run whole: their services, gateway and agents are processes, and their ledgers agree with the story."""

import json
import shutil

import pytest
from tests.examples.models import ModelServer
from tests.examples.near import EXAMPLES, Near, program, staged
from tests.postgres_server import migrated_database

RUNNING = ("procurement", "incident", "fleet")


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    """Agents go by rules unless a test says otherwise, whatever runs on this machine."""
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("name", RUNNING)
def test_nothing_is_wrong_with_the_workflow_of_an_example(name, tmp_path):
    stage = Near(EXAMPLES / name, tmp_path)
    stage.home.mkdir()
    (stage.home / "aegis.toml").write_text('[store]\nurl = "sqlite:data/aegis.db"\n')
    shutil.copytree(EXAMPLES / name, stage.home / "tenants" / name)
    assert stage.aegis("workflow", "validate") == "1 workflow: 0 errors, 0 warnings"
    assert (EXAMPLES / name / "README.md").exists()


def test_a_purchase_is_approved_by_two_and_one_that_fails_is_refunded_and_released(tmp_path, capsys):
    with staged(EXAMPLES / "procurement", keep=tmp_path, kind=Near) as stage:
        assert program("procurement/run").story(stage, fail=True, brief=True)
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert "NOT SO" not in told


def test_on_postgresql_a_model_may_score_and_the_journal_names_it(tmp_path, monkeypatch, capsys):
    def say(messages):
        scored = "score one offer" in messages[0]["content"]
        facts = json.loads(messages[1]["content"])
        return json.dumps({"score": 90 if facts["offer"]["vendor"] == "fabrikam" else 10} if scored else {"findings": ["cheap"]})

    with ModelServer(say) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("OPENAI_MODEL", "tiny-1")
        with staged(EXAMPLES / "procurement", store=migrated_database(), keep=tmp_path, kind=Near) as stage:
            assert program("procurement/run").story(stage, fail=True, brief=True)
            run = json.loads(stage.aegis("--json", "workflow", "list"))["runs"][0]["run"]
            made = json.loads(stage.aegis("--json", "replay", run, "--models"))
    assert len(model.asked) == 10
    assert json.dumps(made).count('"tiny-1"') == 5
    capsys.readouterr()


def test_incidents_need_a_person_for_a_rollback_even_when_a_model_finds_it_harmless_and_undo_what_does_not_help(
    tmp_path, monkeypatch, capsys
):
    by_rules = program("incident/agents/analyst").by_rules

    def say(messages):
        return json.dumps({**by_rules(json.loads(messages[1]["content"])["readings"]), "risk": 0})

    with ModelServer(say) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("OPENAI_MODEL", "tiny-1")
        with staged(EXAMPLES / "incident", keep=tmp_path, kind=Near) as stage:
            assert program("incident/run").story(stage, fail=True, brief=True)
    assert len(model.asked) == 3
    assert capsys.readouterr().out.count("a person must agree") == 2


def test_no_task_of_the_fleet_is_lost_or_done_twice_when_bots_are_killed(tmp_path, capsys):
    with staged(EXAMPLES / "fleet", keep=tmp_path, kind=Near) as stage:
        assert program("fleet/run").story(stage, bots=8, tasks=40, kills=1)
    assert "40 of 40 tasks were done" in capsys.readouterr().out
