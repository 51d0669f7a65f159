"""Bundles, keys and policies that were made to mislead the auditor's program, to stop it, or to keep it busy for ever."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import aegis_verify
from aegis.crypto import note
from aegis.crypto.canonical import canon
from verify.ledger import LOG_KEY, ORIGIN, WITNESS, WITNESS_KEY, Log, body, events, found, verdict

LOG = note.vkey(ORIGIN, LOG_KEY.public)
SEEN = note.vkey(WITNESS, WITNESS_KEY.public, note.COSIGNATURE)


def run(*words, **variables):
    """The program as auditors run it: exit code, output and errors; none takes long, and none ends in a traceback."""
    ran = subprocess.run(
        [sys.executable, aegis_verify.__file__, *map(str, words)],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, **variables},
    )
    assert b"Traceback" not in ran.stderr, ran.stderr.decode()
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


def about(home, **changes):
    path = home / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_retention_that_nobody_signed_does_not_excuse_that_events_are_missing(tmp_path):
    said = canon({**json.loads(body(600)), "type": "retention", "first": 512})
    log = Log.of([*events(600), said], 600)
    assert found(replace(log, bodies=log.bodies[512:], first=512), tmp_path / "unsigned") == ("delete", 0)
    signed = Log.of([*events(600), said])
    assert verdict(replace(signed, bodies=signed.bodies[512:], first=512).write(tmp_path / "signed")).ok


def test_an_event_full_of_numbers_of_places_does_not_keep_the_program_busy(tmp_path):
    log, bodies = Log.of(events(20)), events(20)
    bodies[5] = canon({**json.loads(bodies[5]), "x": [{"seq": 1}] * 100_000})
    code, told, _ = run(replace(log, bodies=bodies).write(tmp_path / "b"), "--key", LOG)
    assert (code, told.split("\n")[0]) == (1, "INVALID: edit at event 5")


def test_the_same_signature_ten_thousand_times_is_checked_once(tmp_path):
    home = Log.of(events(5)).write(tmp_path / "b")
    path = home / "checkpoint.txt"
    line = path.read_bytes().split(b"\n")[4] + b"\n"
    path.write_bytes(path.read_bytes() + line * 5_000)
    assert run(home, "--key", LOG)[0] == 0


def test_many_signatures_and_many_notes_are_refused(tmp_path):
    home = Log.of(events(5)).write(tmp_path / "b")
    path = home / "checkpoint.txt"
    good = path.read_bytes()
    path.write_bytes(good + b"".join(b"\xe2\x80\x94 other%d AAAAAAAA\n" % number for number in range(200)))
    assert verdict(home).findings[0].kind == "malformed"
    path.write_bytes(good)
    for number in range(1025):
        (home / "checkpoints" / f"{number}.txt").write_bytes(b"")
    assert verdict(home).findings[0].kind == "malformed"


@pytest.mark.parametrize("size", [2**53 - 1, -1, 6])
def test_no_more_leaves_are_read_than_were_signed(tmp_path, size):
    home = Log.of(events(5)).write(tmp_path / "b")
    about(home, size=size)
    with (home / "leaves.bin").open("r+b") as file:
        file.truncate(1 << 40)
    code, told, _ = run(home, "--key", LOG)
    assert (code, told.split("\n")[0]) == (1, "INVALID: malformed")
    kept = tmp_path / "kept.txt"
    kept.write_bytes((home / "checkpoint.txt").read_bytes())
    assert run("consistency", kept, kept, home, "--key", LOG)[0] == 1


@pytest.mark.parametrize("name", ["events.jsonl", "leaves.bin", "checkpoint.txt", "bundle.json"])
@pytest.mark.parametrize("how", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(tmp_path, name, how):
    home = Log.of(events(5)).write(tmp_path / "b")
    (home / name).unlink()
    how(home / name)
    assert run(home, "--key", LOG)[0] == 1


def test_a_policy_of_groups_in_groups_without_end_is_refused(tmp_path):
    groups = [f"group g{number} 1 g{number - 1}" for number in range(1, 30_000)]
    path = tmp_path / "policy.txt"
    path.write_text("\n".join([f"log {LOG}", f"witness w {SEEN}", "group g0 1 w", *groups, "quorum g29999", ""]))
    assert run(Log.of(events(5)).write(tmp_path / "b"), "--policy", path)[0] == 2


def test_keys_and_policies_that_are_no_text_are_wrong_usage_and_no_verdict(tmp_path):
    home, path = Log.of(events(5)).write(tmp_path / "b"), tmp_path / "key"
    path.write_bytes(b"\xff\xfe\x00")
    for option in ("--key", "--policy", "--witness"):
        assert run(home, option, path)[0] == 2


def test_words_of_a_bundle_do_not_reach_the_terminal_as_controls(tmp_path):
    home = Log.of(events(5)).write(tmp_path / "b")
    (home / "policy.txt").write_text(f"log {LOG}\nquorum \x1b[2Jq\u202e\n")
    code, _, errors = run(home, "--trust-bundle-keys")
    assert (code, "\x1b" in errors, "\u202e" in errors) == (2, False, False)


def test_a_terminal_that_does_not_know_a_letter_is_told_the_verdict_all_the_same(tmp_path):
    home = Log.of(events(5)).write(tmp_path / "b")
    code, told, _ = run(home, "--key", note.vkey("b\u00fccher.example/\u221e", LOG_KEY.public), PYTHONIOENCODING="ascii")
    assert (code, told.split("\n")[0]) == (1, "INVALID: signature")


def test_an_error_that_nobody_thought_of_is_no_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(aegis_verify, "verify", lambda *_: 1 / 0)
    assert aegis_verify.main([str(Log.of(events(5)).write(tmp_path / "b")), "--key", LOG]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_number_of_a_place_beyond_any_log_is_none(tmp_path):
    log, bodies = Log.of(events(5)), events(5)
    bodies[2] = b'{"seq":' + b"9" * 30 + b"}"
    assert verdict(replace(log, bodies=bodies).write(tmp_path / "b")).findings[0].kind == "edit"


@pytest.mark.parametrize(("at", "value"), [(-6, b"\xff\xff\xff\x7f"), (-10, b"\xff\xff\xff\x7f")])
def test_a_zip_whose_directory_points_nowhere_is_malformed(tmp_path, at, value):
    home, where = Log.of(events(5)).write(tmp_path / "b"), tmp_path / "b.zip"
    with zipfile.ZipFile(where, "w") as file:
        for path in home.rglob("*.*"):
            file.write(path, path.relative_to(home))
    data = bytearray(where.read_bytes())
    data[at : at + len(value)] = value
    where.write_bytes(data)
    code, told, errors = run(where, "--key", LOG)
    assert (code, told.split("\n")[0]) == (1, "INVALID: malformed"), errors


def test_a_zip_of_a_newer_format_is_malformed(tmp_path):
    home, where = Log.of(events(5)).write(tmp_path / "b"), tmp_path / "b.zip"
    with zipfile.ZipFile(where, "w") as file:
        file.write(home / "bundle.json", "bundle.json")
    data = bytearray(where.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99
    where.write_bytes(data)
    assert run(where, "--key", LOG)[0] == 1
