"""`aegis audit export` and `aegis audit push` as an operator runs them: processes that are killed, cursors that do not fit."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.export.test_pushing import fill, firsts
from tests.store.homes import Home, ready

from cli.command import aegis


class Place:
    """A working directory with two tenants and a store of its own."""

    def __init__(self, root: Path, home: Home) -> None:
        self.root, self.home = root, home
        for tenant in ("acme", "globex"):
            (root / "tenants" / tenant).mkdir(parents=True)
        url = f"sqlite:{home.where}" if home.kind == "sqlite" else home.where
        (root / "aegis.toml").write_text(f'[store]\nurl = "{url}"\n')

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "aegis", "--dir", str(self.root), "audit", *arguments]
        return subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *arguments: str, **environment: str) -> tuple[int, bytes, str]:
        done = aegis(self.root, "audit", *arguments, env=environment)
        return done.returncode, done.stdout.encode(), done.stderr

    def fill(self, tenant: str, count: int, first: int = 0) -> None:
        async def work() -> None:
            store = await self.home.open()
            await fill(store, tenant, count, first)
            await store.close()

        asyncio.run(work())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request, tmp_path):
    return Place(tmp_path, ready(request.param, tmp_path))


@pytest.fixture
def simple(tmp_path):
    return Place(tmp_path, Home("sqlite", str(tmp_path / "store.db")))


def seqs(content: bytes) -> list[int]:
    return [json.loads(line)["seq"] for line in content.splitlines()]


def test_an_export_holds_one_tenant_and_no_other(place):
    place.fill("acme", 12)
    place.fill("globex", 7)
    code, out, _ = place.run("export", "--tenant", "globex")
    assert code == 0
    assert b"acme" not in out
    assert seqs(out) == list(range(7))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--from", "3"), range(3, 12)),
        (("--to", "4"), range(5)),
        (("--from", "3", "--to", "3"), range(3, 4)),
        (("--from", "2", "--limit", "5"), range(2, 7)),
        (("--from", "12"), range(0)),
        (("--from", "5", "--to", "2"), range(0)),
    ],
)
def test_a_part_of_the_log(simple, arguments, expected):
    simple.fill("acme", 12)
    code, out, _ = simple.run("export", "--tenant", "acme", *arguments)
    assert (code, seqs(out)) == (0, list(expected))


def test_a_place_that_the_log_does_not_reach_is_no_sign_of_a_log_that_was_cut_off(place):
    place.fill("acme", 12)
    told = refused(place, "--from", "13")
    assert "--from: the log of `acme` holds 12 events" in told
    assert "cut off" not in told


def test_a_later_run_goes_on_where_the_cursor_says(place):
    place.fill("acme", 12)
    arguments = ("export", "--tenant", "acme", "--cursor", str(place.root / "cursor"))
    assert seqs(place.run(*arguments, "--limit", "5")[1]) == list(range(5))
    assert seqs(place.run(*arguments)[1]) == list(range(5, 12))
    assert seqs(place.run(*arguments)[1]) == []
    place.fill("acme", 3, first=12)
    assert seqs(place.run(*arguments)[1]) == [12, 13, 14]


def refused(place, *arguments: str) -> str:
    code, out, told = place.run("export", "--tenant", "acme", *arguments)
    assert (code, out) == (2, b"")
    return told


def test_a_cursor_of_another_log_or_of_one_that_was_rewritten_is_refused(place):
    place.fill("acme", 12)
    place.fill("globex", 12)
    cursor = place.root / "cursor"
    place.run("export", "--tenant", "globex", "--cursor", str(cursor))
    assert "`aegis.globex/audit/1`, expected `aegis.acme/audit/1`" in refused(place, "--cursor", str(cursor))
    cursor.unlink()
    place.run("export", "--tenant", "acme", "--cursor", str(cursor))
    good = json.loads(cursor.read_text())
    cursor.write_text(json.dumps(good | {"digest": "sha256:" + "0" * 64}))
    assert "event 11 of `aegis.acme/audit/1` is not the one that was exported" in refused(place, "--cursor", str(cursor))
    cursor.write_text(json.dumps(good | {"next": 40}))
    assert "40 events were exported, the log holds 12" in refused(place, "--cursor", str(cursor))
    cursor.write_text("{}")
    assert "not a cursor" in refused(place, "--cursor", str(cursor))
    cursor.write_text(json.dumps(good))
    assert "--from" in refused(place, "--cursor", str(cursor), "--from", "3")


def test_a_file_that_is_there_is_never_lost(simple):
    simple.fill("acme", 3)
    target = simple.root / "out.jsonl"
    target.write_text("mine\n")
    assert "is there already" in refused(simple, "-o", str(target))
    assert target.read_text() == "mine\n"


def test_files_are_for_their_owner_only_and_a_cut_line_is_removed(simple):
    simple.fill("acme", 8)
    target, cursor = simple.root / "out.jsonl", simple.root / "cursor"
    arguments = ("export", "--tenant", "acme", "-o", str(target), "--cursor", str(cursor))
    assert simple.run(*arguments, "--limit", "4")[0] == 0
    assert {target.stat().st_mode & 0o777, cursor.stat().st_mode & 0o777} == {0o600}
    with target.open("ab") as file:
        file.write(b'{"seq":4,"cut')
    assert simple.run(*arguments)[0] == 0
    assert seqs(target.read_bytes()) == list(range(8))


def test_the_cursor_moves_only_after_the_reader_has_the_records(simple):
    """A reader that goes away takes nothing with it: what it did not read is written again."""
    simple.fill("acme", 20_000)
    cursor = simple.root / "cursor"
    process = simple.start("export", "--tenant", "acme", "--cursor", str(cursor))
    begun = process.stdout.readline()
    process.stdout.close()
    process.wait(60)
    process.stderr.close()
    assert seqs(begun) == [0]
    next_ = json.loads(cursor.read_text())["next"] if cursor.exists() else 0
    assert next_ < 20_000
    _, out, _ = simple.run("export", "--tenant", "acme", "--cursor", str(cursor))
    assert seqs(out) == list(range(next_, 20_000))


@pytest.mark.parametrize(("seed", "turns"), [(0, 5), (1, 5), pytest.param(2, 60, marks=pytest.mark.campaign)])
def test_an_export_that_is_killed_again_and_again_misses_nothing(place, seed, turns):
    chance = random.Random(seed)
    place.fill("acme", 4000)
    target, cursor = place.root / "out.jsonl", place.root / "cursor"
    arguments = ("export", "--tenant", "acme", "-o", str(target), "--cursor", str(cursor), "--format", "jsonl")
    for turn in range(turns):
        before = target.stat().st_size if target.exists() else 0
        process = place.start(*arguments, "--follow")
        deadline = time.monotonic() + 20
        while (not target.exists() or target.stat().st_size <= before) and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.02) if turn % 2 else chance.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        place.fill("acme", 100, first=4000 + turn * 100)
    assert place.run(*arguments)[0] == 0
    found = seqs(target.read_bytes())
    assert list(dict.fromkeys(found)) == list(range(4000 + turns * 100))


def test_a_pushing_process_that_is_killed_again_and_again_misses_nothing(place, far):
    chance = random.Random(5)
    place.fill("acme", 1500)
    place.fill("globex", 300)
    far.mood(delay=0.01)
    environment = {"AEGIS_EXPORT_URL": far.url, "AEGIS_EXPORT_BATCH": "20"}
    for turn in range(6):
        process = place.start("push", **environment)
        began, deadline = len(far.requests()), time.monotonic() + 20
        while len(far.requests()) == began and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        place.fill("acme", 20, first=1500 + turn * 20)
    far.mood()
    deadline = time.monotonic() + 60
    while place.run("push", "--once", **environment)[0] != 0 or firsts(far.records(), "acme")[-1] < 1619:
        assert time.monotonic() < deadline
    assert firsts(far.records(), "acme") == list(range(1620))
    assert firsts(far.records(), "globex") == list(range(300))


def test_push_once_says_what_stands_in_the_way(simple, far):
    simple.fill("acme", 5)
    far.mood(status=401, body="who are you?")
    code, out, told = simple.run("push", "--once", AEGIS_EXPORT_URL=far.url)
    assert code == 1
    assert b"401" in out
    assert "who are you?" in told


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "nothing says where"),
        ({"AEGIS_EXPORT_URL": "http://siem.example/"}, "expected https"),
        ({"AEGIS_EXPORT_URL": "https://siem.example/", "AEGIS_EXPORT_TENANTS": "acmee"}, "did you mean `acme`"),
        ({"AEGIS_EXPORT_URL": "https://siem.example/", "AEGIS_EXPORT_TOKEN_FILE": "nowhere"}, "cannot be read"),
        ({"AEGIS_EXPORT_FORMAT": "cef"}, "expected one of jsonl, ocsf, cloudevents"),
    ],
)
def test_settings_that_cannot_be_used_are_told(simple, environment, told):
    code, _, said = simple.run("push", "--once", **environment)
    assert code == 2
    assert told in said


def test_push_ends_well_at_sigterm(simple, far):
    simple.fill("acme", 5)
    process = simple.start("push", AEGIS_EXPORT_URL=far.url)
    deadline = time.monotonic() + 20
    while not far.requests() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"up to date" in out
