"""Old events are archived and let go of; what proves the rest, and whatever still acts, keeps its ground."""

import asyncio
import json
import time
from datetime import timedelta

import click
import pytest
from click.testing import CliRunner
from tests.store.homes import Home

import aegis_verify
from aegis.app import open_store
from aegis.errors import ConfigError, CorruptStoreError
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.unit import Committed, Unit
from aegis.model.event import Event
from aegis.runtime import retention
from aegis.runtime.clock import Clock
from aegis.surfaces.cli.audit.ledger import policy_of
from aegis.surfaces.cli.main import cli
from erasure.erasing import audit, erase, look, shown, until

BULK = 600


@pytest.fixture(autouse=True)
def no_skew(monkeypatch):
    """Tests cannot wait for fifteen minutes."""
    monkeypatch.setattr(retention, "SKEW", timedelta(0))


def fill(w, count=BULK, tenant="acme"):
    """Many events, by another process than the gateway."""

    async def run():
        store = await open_store(w.settings, Clock(w.hand))
        try:
            for low in range(0, count, 100):
                now = w.hand()
                made = tuple(
                    Event(id=f"bulk:{now.isoformat()}:{n}", type="bulk", tenant=tenant, time=now) for n in range(low, low + 100)
                )
                assert isinstance(await store.commit(Unit(tenant=tenant, events=made)), Committed)
        finally:
            await store.close()

    asyncio.run(run())
    return sealed(w, tenant)


def sealed(w, tenant="acme"):
    """Wait until the gateway has signed all that there is; the size."""

    async def standing(app):
        rows = await app.gate.store.rows("_system", [("checkpoint", tenant)])
        size = json.loads(next(iter(rows.values())).body)["size"] if rows else 0
        return size if size == (await app.gate.store.heads())[tenant].frontier.size else 0

    return until(lambda: look(w, standing), 20)


def retain(w, *words, tenant="acme"):
    return audit(w, "retain", "--keep", "0s", "--as", "person:alice", *(words or ("--yes",)), tenant=tenant)


def verdict(w, *words):
    ran = CliRunner().invoke(cli, ["--dir", str(w.root), "--json", "audit", "verify", *words], standalone_mode=False)
    if ran.exception is not None:
        raise ran.exception
    return json.loads(ran.stdout)["ok"]


def verified(w, path):
    """The verdict of the auditor's own program, years later: nothing but the archive and the keys."""
    trust = aegis_verify.read_policy(policy_of(w.settings, "acme"))
    return aegis_verify.verify(aegis_verify.Bundle(str(path)), aegis_verify.Question(trust, time.time(), part=True)).ok


def pay(w, key, amount=1, tool="pay.honours"):
    return w.call(tool, {"amount": amount}, key)


def test_old_events_are_archived_and_go_and_everything_else_holds(records, tmp_path):
    w = records
    old = pay(w, "old").json()
    fill(w)
    before = [event["seq"] for event in w.events()]
    said = retain(w, "--yes", "--archive", str(tmp_path / "old.zip"), "--reason", "400 days")
    assert (said["dropped"], said["first"]) == (512, 512)
    assert [event["seq"] for event in w.events()][: BULK // 2][0] == 512
    (told,) = [event for event in w.events() if event["type"] == "retention"]
    assert (told["first"], told["formerly"], told["by"], told["archive"]) == (512, 0, "person:alice", "old.zip")
    assert w.fsck() == []
    sealed(w)
    assert verdict(w, "--tenant", "acme")
    assert verified(w, tmp_path / "old.zip")
    assert len(before) >= BULK
    again = pay(w, "old")
    assert (again.status_code, again.json()["code"]) == (410, "result-gone")
    assert "not_kept" in again.json()["detail"]
    assert len(w.tool.done) == 1
    with pytest.raises(ConfigError, match="no request"):
        shown(w, "explain", old["request_id"])
    assert shown(w, "audit", "tail", "-n", "5")
    assert "retention" in shown(w, "audit", "search", "--type", "retention")
    w.stop()
    w.start()
    assert pay(w, "new").status_code == 200
    sealed(w)
    assert verdict(w, "--tenant", "acme")
    assert retain(w)["dropped"] == 0


def test_an_archive_keeps_what_was_sealed_and_an_erasure_reaches_it(records, tmp_path):
    from aegis.adapters import archivefiles
    from aegis.errors import ErasedError

    w = records
    request = pay(w, "old").json()["request_id"]
    fill(w)
    retain(w, "--yes", "--archive", str(tmp_path / "old"))
    (arguments, result) = list(archivefiles.payloads(tmp_path / "old"))
    assert (arguments.name, result.name) == ("arguments", "result")
    assert arguments.event_id == f"decision:{request}:0"
    assert len(list(archivefiles.events(tmp_path / "old"))) == 512

    async def opened(app):
        return await app.gate.vault.open("acme", arguments)

    assert look(w, opened) == b'{"amount":1}'
    erase(w, "user:nora")
    with pytest.raises(ErasedError):
        look(w, opened)


def test_what_is_not_finished_holds_its_events(records):
    w = records
    w.tool.mood = "vanish-after"
    unknown = pay(w, "u", tool="pay.neither")
    w.tool.mood = "ok"
    assert unknown.json()["code"] == "outcome-unknown"
    held = pay(w, "h", 1000).json()
    fill(w)
    said = retain(w, "--dry-run")
    assert said["droppable"] == 0
    assert {each["what"] for each in said["holders"]} == {"a call that is unknown", "an approval that is pending"}
    assert held["approval_id"] in {each["id"] for each in said["holders"]}
    text = shown(w, "audit", "retain", "--keep", "0s", "--as", "person:alice", "--yes")
    assert "held back at" in text
    assert w.approve(held["approval_id"]).status_code == 200
    assert "an approval that is approved" in {each["what"] for each in retain(w)["holders"]}
    assert pay(w, "h", 1000).status_code == 200
    assert {each["what"] for each in retain(w)["holders"]} == {"a call that is unknown"}
    shown(w, "calls", "resolve", unknown.json()["request_id"], "--done", "--as", "person:alice", "--reason", "looked")
    assert retain(w)["dropped"] == 512
    assert w.fsck() == []


def test_what_was_changed_behind_our_back_is_found_before_its_proof_is_gone(records, store_url):
    w = records
    fill(w)
    where = str(w.root / "data" / "aegis.db") if store_url.startswith("sqlite") else store_url
    place = Home("sqlite" if store_url.startswith("sqlite") else "postgres", where)
    naming = [] if place.kind == "sqlite" else ["SELECT set_config('aegis.tenants', '*', true)"]
    place.sql(*naming, "UPDATE event SET type = 'bulk', body = (SELECT body FROM event WHERE tenant = 'acme' AND seq = 8)"
              " WHERE tenant = 'acme' AND seq = 7")  # fmt: skip
    with pytest.raises(CorruptStoreError, match="event 7 of tenant `acme` is not what was sealed"):
        retain(w)
    assert [event["type"] for event in w.events()].count("retention") == 0


def test_nothing_goes_without_a_checkpoint_a_word_or_from_the_operators_log(records, tmp_path):
    w = records

    async def of_the_operator(app):
        return await retention.planned(app.gate.store, "_system", Checkpoint("o", 0, b""), w.hand(), w.hand())

    with pytest.raises(ConfigError, match="it is kept whole"):
        look(w, of_the_operator)
    fill(w)
    with pytest.raises(click.UsageError, match="--json asks nothing"):
        retain(w, "--reason", "x")
    with pytest.raises(click.Abort):
        shown(w, "audit", "retain", "--keep", "0s", "--as", "person:alice")
    with pytest.raises(click.BadParameter):
        retain(w, "--yes", "--keep", "long")
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match="replaces nothing"):
        retain(w, "--yes", "--archive", str(tmp_path / "there"))
    assert audit(w, "retain", "--keep", "1d", "--as", "person:alice", "--dry-run")["droppable"] == 0
    assert len(w.events()) >= BULK


def test_what_an_interrupted_run_left_goes_with_the_next(records):
    w = records
    fill(w)

    async def only_the_unit(app):
        now = app.gate.clock.now()
        event = Event(id="retention:x", type="retention", tenant="acme", time=now, data={"first": 256})
        assert isinstance(await app.gate.store.commit(Unit(tenant="acme", events=(event,), drops=256)), Committed)

    look(w, only_the_unit)
    assert w.fsck() == []
    sealed(w)
    assert verdict(w, "--tenant", "acme")
    said = retain(w)
    assert (said["dropped"], said["first"]) == (256, 512)
    assert w.events()[0]["seq"] == 512


@pytest.mark.parametrize("name", ["old.zip", "old"])
def test_what_was_let_go_of_is_explained_and_decided_anew_from_its_archive(records, tmp_path, name):
    w, path = records, str(tmp_path / name)
    request = pay(w, "old").json()["request_id"]
    fill(w)
    retain(w, "--yes", "--archive", path)
    told = shown(w, "explain", request, "--archive", path)
    assert "was allowed to call pay.honours" in told
    assert "fires" in told  # the rules were asked again, with the arguments of the archive
    strict = w.root / "strict.yaml"
    strict.write_text((w.root / "tenants/acme/policy.yaml").read_text().replace("{gt: 5000}", "{gte: 1}"))

    def simulated():
        ran = CliRunner().invoke(
            cli, ["--dir", str(w.root), "--json", "policy", "simulate", str(strict), "--archive", path], standalone_mode=False
        )
        if ran.exception is not None:
            raise ran.exception
        return json.loads(ran.stdout)

    assert simulated()["flips"] == 1
    erase(w, "user:nora")
    assert "erased: nobody can open them" in shown(w, "explain", request, "--archive", path)
    assert simulated()["flips"] == 0


def test_an_archive_that_was_changed_or_is_another_tenants_is_believed_in_nothing(records, tmp_path):
    w, path = records, tmp_path / "old"
    request = pay(w, "old").json()["request_id"]
    fill(w)
    retain(w, "--yes", "--archive", str(path))
    with pytest.raises(ConfigError, match=r"does not verify|is an archive of"):
        shown(w, "explain", request, "--archive", str(path), tenant="globex")
    lines = (path / "events.jsonl").read_bytes().replace(b'"decision":"allow"', b'"decision":"never"')
    (path / "events.jsonl").write_bytes(lines)
    with pytest.raises(ConfigError, match="does not verify"):
        shown(w, "explain", request, "--archive", str(path))
