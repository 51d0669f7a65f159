"""`aegis queue`: a person sees queues and changes them, and a gateway that serves keeps to it."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest

from aegis.surfaces.cli.main import main
from messages.post import until


@pytest.fixture
def aegis(on_sqlite, monkeypatch):
    """The command in this process: its exit code, and what it printed."""
    (on_sqlite.root / "aegis.toml").write_text(f'[store]\nurl = "{on_sqlite.settings.store.url}"\n')
    monkeypatch.setenv("AEGIS_TENANT", "acme")

    def run(*words):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(["--dir", str(on_sqlite.root), *words])
        return SimpleNamespace(returncode=ended.value.code, stdout=out.getvalue(), stderr=err.getvalue())

    return run


def test_a_person_sees_queues_pauses_one_and_lets_it_go_on(on_sqlite, aegis):
    paused = aegis("queue", "pause", "away", "--as", "person:alice", "--reason", "month end")
    assert (paused.returncode, "hands none out" in paused.stdout) == (0, True), paused.stderr
    run = on_sqlite.begin("away", amount=7)
    until(lambda: on_sqlite.of_type("task_offered"))
    assert on_sqlite.lease().json()["task"] is None
    listed = {each["queue"]: each for each in json.loads(aegis("--json", "queue", "list").stdout)["queues"]}
    assert sorted(listed) == ["away", "far", "near"]
    assert (listed["away"]["gate"], listed["away"]["ready"], listed["away"]["owner"]) == ("paused", 1, "team:work")
    assert listed["away"]["oldest"]
    shown = aegis("queue", "show", "away")
    assert "paused by person:alice: month end" in shown.stdout
    assert "agent:payer" in shown.stdout
    whole = json.loads(aegis("--json", "queue", "show", "away").stdout)
    assert [task["run"] for task in whole["tasks"]] == [run]
    assert not {"lease", "stand", "token_id"} & set(whole["tasks"][0])
    assert aegis("queue", "resume", "away", "--as", "person:alice", "--reason", "done").returncode == 0
    assert on_sqlite.say(on_sqlite.take(), "complete", output=1).status_code == 200
    told = [(event["state"], event["by"], bool(event["statement"])) for event in on_sqlite.of_type("queue_changed")]
    assert told == [("paused", "person:alice", True), ("open", "person:alice", True)]


def test_a_draining_queue_takes_nothing_in_until_it_is_resumed(on_sqlite, aegis):
    assert aegis("queue", "drain", "away", "--as", "person:alice", "--reason", "a move").returncode == 0
    on_sqlite.begin("away", amount=7)
    until(
        lambda: [task for task in json.loads(aegis("--json", "queue", "show", "away").stdout)["tasks"] if "draining" in str(task)]
    )
    assert on_sqlite.lease().json()["task"] is None
    assert aegis("queue", "resume", "away", "--as", "person:alice", "--reason", "moved").returncode == 0
    assert on_sqlite.take()


def test_a_queue_that_is_not_there_or_a_person_who_is_not_is_told(on_sqlite, aegis):
    told = aegis("queue", "pause", "nothing", "--as", "person:alice", "--reason", "x")
    assert (told.returncode, "no queue `nothing`" in told.stderr) == (2, True)
    assert aegis("queue", "pause", "away", "--as", "person:nobody", "--reason", "x").returncode == 2
    assert on_sqlite.of_type("queue_changed") == []
