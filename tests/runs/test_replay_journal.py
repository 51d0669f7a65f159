"""Replay of whole runs from the journal: identical, changed records, changed controllers, erased values, snapshots."""

import sqlite3

import msgspec
import pytest
from tests.cli.command import aegis

from aegis.runtime.runs import moving
from aegis.runtime.runs.replaying import replay
from aegis.workflow import replay as pure
from queues.work import work
from runs.operated import Wanted, go, operated


@pytest.fixture
def o(tmp_path, store_url):
    with operated(tmp_path, store_url) as made:
        yield made


@pytest.fixture
def here(tmp_path):
    """On SQLite, whose file can be edited behind the gateway's back."""
    with operated(tmp_path) as made:
        (tmp_path / "aegis.toml").write_text("")
        yield made


def replayed(o, run):
    return o.inside(lambda app: replay(app.workflows.histories, app.gate.vault, "acme", run))


def whole(o, key="k1"):
    """A run with a repeated attempt, a person's hand in it, and an end."""
    run = o.parked(key)
    o.by_person(Wanted(action="retry", run=run, node="second"))
    o.until_node(run, "second", "parked")
    o.by_person(Wanted(action="edit", run=run, node="second", arguments={"amount": 9}))
    o.until(run, "succeeded")
    return run


def edited(o, run, number, change):
    """Change the body of one event of a run in the file."""
    with sqlite3.connect(o.root / "data/aegis.db") as file:
        rows = file.execute("SELECT seq, body FROM event WHERE tenant = 'acme' AND request_id = ?", (run,)).fetchall()
        found = [(seq, msgspec.json.decode(body)) for seq, body in rows]
        seq, body = next(each for each in found if each[1].get("n") == number)
        change(body)
        file.execute("UPDATE event SET body = ? WHERE tenant = 'acme' AND seq = ?", (msgspec.json.encode(body), seq))


def test_every_kind_of_ending_replays_identically_on_each_store(o):
    stuck = o.stuck("k2")
    o.by_person(Wanted(action="settle", run=stuck, node="first"))
    o.until(stuck, "compensated")

    for run in (whole(o), stuck):
        found = replayed(o, run)
        assert (found.replayed.verdict, found.passed) == ("identical", True)
        assert found.replayed.state.status == o.row(run).status
        assert found.replayed.events == o.row(run).events


def test_a_record_that_was_edited_shows_the_first_difference(here):
    run = whole(here)

    def other(body):
        body["event"]["kind"] = "upstream"
        body["event"]["again"] = True

    edited(here, run, 4, other)
    assert replayed(here, run).replayed.verdict == "identical"  # it has one attempt: nothing else follows from that
    edited(here, run, 3, lambda body: body["commands"].append("act third 1.1"))

    told = aegis(here.root, "replay", run, env={"AEGIS_TENANT": "acme"})
    assert told.returncode == 1
    assert "different at event 3: signalled" in told.stdout
    assert "! act third 1.1" in told.stdout
    assert "`aegis audit verify`" in told.stdout


def test_a_controller_that_became_another_one_shows_where(here, monkeypatch):
    run = whole(here)
    real = pure.transition

    def other(definition, state, event):
        after, commands = real(definition, state, event)
        return after, tuple(reversed(commands)) if len(commands) > 1 else commands[:0]

    monkeypatch.setattr(pure, "transition", other)
    found = replayed(here, run).replayed
    assert (found.verdict, found.difference.number, found.difference.what) == ("different", 1, "commands")
    assert (found.difference.recorded, found.difference.found) == (("act first 1.1",), ())


def test_a_run_whose_values_were_erased_waits_for_a_person_who_ends_it_and_hinders_no_other(here):
    erased, ended = here.waiting(key="k1"), whole(here, "k2")
    told = aegis(
        here.root, "audit", "erase", "--subject", "user:nora", "--as", "person:alice", "--yes", env={"AEGIS_TENANT": "acme"}
    )
    assert told.returncode == 0, told.stderr
    here.stop()
    here.start()

    shown = here.get(f"/v1/runs/{erased}", here.person_token()).json()["run"]
    assert (shown["erased"], {step["why"] for step in shown["steps"]}) == (True, {"erased"})
    steps = here.get(f"/v1/runs/{ended}", here.person_token()).json()["run"]["steps"]
    assert [step["state"] for step in steps] == ["succeeded", "pending", "succeeded"]
    assert here.by_person(Wanted(action="cancel", run=erased)).json()["state"] == "cancelled"
    assert here.until(erased, "cancelled").failure
    fresh = here.waiting(key="k3")
    here.by_agent(go(fresh))
    here.until(fresh, "succeeded")


def test_values_that_were_erased_are_named_and_no_fault(here):
    run = whole(here)
    told = aegis(
        here.root, "audit", "erase", "--subject", "user:nora", "--as", "person:alice", "--yes", env={"AEGIS_TENANT": "acme"}
    )
    assert told.returncode == 0, told.stderr
    here.inside(forget)

    found = replayed(here, run)
    assert found.replayed.erased[0] == 1
    assert found.replayed.verdict == "not_comparable"
    told = aegis(here.root, "replay", run, env={"AEGIS_TENANT": "acme"})
    assert told.returncode == 0
    assert "not comparable: the value of event 1 was erased" in told.stdout


async def forget(app):
    await app.gate.vault.refresh()


def test_the_snapshot_is_the_fold_of_all_events_before_it(o, monkeypatch):
    monkeypatch.setattr(moving, "SNAPSHOT_EVERY", 2)
    run = o.waiting()
    o.by_agent(go(run))
    o.until(run, "succeeded")

    found = replayed(o, run)
    assert found.flow.snapshot.events == 2
    assert (found.snapshot, found.passed) == ("identical", True)


def test_a_snapshot_that_differs_from_the_fold_is_told(here, monkeypatch):
    monkeypatch.setattr(moving, "SNAPSHOT_EVERY", 2)
    run = here.waiting()
    real = pure.transition

    def other(definition, state, event):
        after, commands = real(definition, state, event)
        return msgspec.structs.replace(after, done=after.done + 1), commands

    monkeypatch.setattr(pure, "transition", other)
    found = replayed(here, run)
    assert (found.replayed.verdict, found.snapshot, found.passed) == ("identical", "different", False)


def test_the_models_of_two_runs_are_listed_and_compared(tmp_path):
    with work(tmp_path) as q:
        (tmp_path / "aegis.toml").write_text("")
        first, second = (q.begin("near", key, amount=amount) for key, amount in (("k1", 5), ("k2", 13)))
        q.until(first, "succeeded")
        q.until(second, "failed")

        listed = aegis(tmp_path, "replay", first, "--models", env={"AEGIS_TENANT": "acme", "COLUMNS": "120"}).stdout.split()
        assert listed[7:12] == ["find", "1", "succeeded", "model-1", "2"]
        assert listed[-1] == "7"
        told = aegis(tmp_path, "--json", "replay", first, "--against", second, env={"AEGIS_TENANT": "acme"})
        said = msgspec.json.decode(told.stdout)
        assert said["models"][0]["model"]["prompt_sha256"].startswith("sha256:")
        assert (said["against"]["run"], said["verdict"]) == (second, "identical")
