"""A witness over real HTTP: the statuses of the protocol, never back, one tree of each log, and nothing that kills it."""

import contextlib
import http.client
import signal
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.witness.conftest import Run
from tests.witness.logs import ORIGIN, Log, Running, log

from aegis.adapters.witness import home as homes
from aegis.adapters.witness import states
from aegis.crypto import note
from aegis.crypto.jwk import private_key
from aegis.crypto.note import Note
from aegis.errors import ConfigError, CorruptStoreError
from aegis.journal.witness import Request

SIZE = "text/x.tlog.size"


def signed(w: Running, log: Log, answer: bytes, size: int | None = None) -> int:
    """The time of the cosignature in an answer, verified."""
    given = note.parse(log.note(size)).having(note.parse_lines(answer))
    (signer,) = note.verified(given, [w.verifier])
    assert signer.time is not None
    return signer.time


def size_of(w: Running) -> int:
    return max((known.checkpoint.size for known in states.known(w.home)), default=0)


def test_a_log_that_grows_is_cosigned_from_its_first_checkpoint_on(w: Running, acme: Log) -> None:
    before = int(time.time())
    for old, size in ((0, 3), (3, 7), (7, 10)):
        status, kind, answer = w.add(acme, old, size)
        assert (status, kind) == (200, "text/plain; charset=utf-8")
        assert before <= signed(w, acme, answer, size) <= int(time.time())
    assert size_of(w) == 10


def test_an_empty_log_and_the_same_checkpoint_again_are_cosigned(w: Running, acme: Log) -> None:
    assert w.add(acme, 0, 0)[0] == 200
    assert w.add(acme, 0, 10)[0] == 200
    assert w.add(acme, 10, 10)[0] == 200


def test_another_size_than_the_known_one_is_answered_with_that(w: Running, acme: Log) -> None:
    assert w.add(acme, 3)[::2] == (409, b"0\n")
    w.add(acme, 0, 7)
    assert w.add(acme, 3) == (409, SIZE, b"7\n")
    assert w.add(acme, 0) == (409, SIZE, b"7\n")


def test_an_old_request_that_is_replayed_gives_no_cosignature_and_takes_nothing_back(w: Running, acme: Log) -> None:
    requests = [
        Request(old, tuple(acme.proof(old, size)), note.parse(acme.note(size))).data for old, size in ((0, 3), (3, 7), (7, 10))
    ]
    assert [w.post(each)[0] for each in requests] == [200, 200, 200]
    assert [w.post(each) for each in requests] == [(409, SIZE, b"10\n")] * 3
    assert size_of(w) == 10


def test_a_log_that_went_back_is_not_cosigned(w: Running, acme: Log) -> None:
    w.add(acme, 0, 10)
    assert w.add(acme, 7, 7) == (409, SIZE, b"10\n")
    assert w.add(acme, 10, 7, proof=[])[0] == 400
    assert size_of(w) == 10


def test_two_trees_of_one_size_are_a_fork_that_is_kept_and_shown(w: Running, acme: Log, run: Run) -> None:
    w.add(acme, 0, 10)
    forged = Log().grow(10, b"forged")
    for old in (10, 0, 4):
        assert w.add(forged, old, proof=[]) == (409, SIZE, b"10\n")
    (kept,) = states.conflicts(w.home)
    assert kept.read_bytes() == forged.note()
    other = kept.with_name(kept.stem + ".known.txt")
    proof = [note.parse(path.read_bytes()) for path in (kept, other)]
    assert {len(note.verified(each, [acme.verifier])) for each in proof} == {1}
    assert kept.name.startswith("fork-")
    assert w.add(acme.grow(1), 10)[0] == 200


def test_a_tree_that_does_not_begin_with_the_known_one_is_refused_and_kept(w: Running, acme: Log) -> None:
    w.add(acme, 0, 10)
    forged = Log().grow(12, b"forged")
    assert w.add(forged, 10)[0] == 422
    assert [path.name.startswith("unproven-") for path in states.conflicts(w.home)] == [True]
    assert size_of(w) == 10


@pytest.mark.parametrize("change", ["none", "short", "long", "swapped", "other"])
def test_a_proof_that_does_not_hold_is_refused(w: Running, acme: Log, change: str) -> None:
    w.add(acme, 0, 5)
    good = acme.proof(5)
    bad = {"none": [], "short": good[:-1], "long": [*good, bytes(32)], "swapped": good[::-1], "other": acme.proof(4)}[change]
    assert w.add(acme, 5, proof=bad)[0] == 422
    assert w.add(acme, 5)[0] == 200


def test_a_first_checkpoint_with_a_proof_is_refused(w: Running, acme: Log) -> None:
    assert w.add(acme, 0, proof=[bytes(32)])[0] == 422


def test_a_log_that_is_not_known_and_a_signature_that_is_not_its_own_are_refused(w: Running, acme: Log) -> None:
    stranger = private_key(b"\x77" * 32)
    assert w.add(log(3, origin="aegis.globex/audit/1"), 0)[0] == 404
    assert w.add(log(3, key=stranger), 0)[0] == 403
    text = acme.checkpoint().text
    line = note.sign(text, ORIGIN, acme.key)
    broken = Note(text, (line, note.Signature(line.name, line.id, bytes(64))))
    assert w.post(Request(0, (), broken).data)[0] == 403
    helped = Note(text, (note.sign(text, "other.example", stranger), line))
    assert w.post(Request(0, (), helped).data)[0] == 200


def test_a_log_that_is_added_is_known_at_once_and_so_is_its_next_key(w: Running, acme: Log) -> None:
    globex = log(4, origin="aegis.globex/audit/1", key=private_key(b"\x33" * 32))
    assert w.add(globex, 0)[0] == 404
    homes.add(w.home.path, [globex.verifier.vkey])
    assert w.add(globex, 0)[0] == 200
    renewed = log(6, key=private_key(b"\x44" * 32))
    assert w.add(renewed, 0)[0] == 403
    assert homes.add(w.home.path, [renewed.verifier.vkey]) == 1
    assert w.add(renewed, 0)[0] == 200
    assert w.add(acme, 6)[0] == 200


HOSTILE = [
    b"",
    b"\n",
    b"old",
    b"old 0",
    b"old 0\n",
    b"old 0\n\n",
    b"old 0\n\n\n\n",
    b"old -1\n\n",
    b"old 00\n\n",
    b"old " + b"9" * 5000 + b"\n\n",
    b"old \xd9\xa1\n\n",
    b"OLD 0\n\n",
    b"old 0\r\n\r\n",
    b"old 0\n" + b"A" * 43 + b"=\n" * 70 + b"\n",
    b"old 0\nAAAA\n\n",
    b"old 0\n\xff\n\n",
    b"\x00" * 100_000,
    b"\n" * 100_000,
    b"old 0\n\n" + "\u2014 ".encode() * 30_000,
    b"old 0\n\no\n1\nr\n\n\xe2\x80\x94 n AAAAAAA=\n",
    b"old 0\n\no\n1\n\n\xe2\x80\x94 n AAAAAAA=\n",
    b'{"old": 0}',
]


def test_hostile_bodies_are_bad_requests_and_the_witness_goes_on(w: Running, acme: Log) -> None:
    good = Request(0, (), note.parse(acme.note())).data
    bodies = [
        *HOSTILE,
        *(good[:cut] for cut in range(0, len(good), 3)),
        *(good[:at] + b"\0" + good[at + 1 :] for at in range(0, len(good), 7)),
    ]
    assert {w.post(body)[0] for body in bodies} <= {400, 403, 404}
    assert w.post(b"x" * 131_073)[0] == 413
    assert w.add(acme, 0)[0] == 200


def test_other_paths_and_methods_are_refused_and_a_person_is_told_what_this_is(w: Running) -> None:
    asked = [
        ("GET", "/add-checkpoint", 405),
        ("GET", "/x", 404),
        ("POST", "/", 405),
        ("GET", "/%2e%2e/key", 404),
        ("GET", "/", 200),
    ]
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", w.port, timeout=20)) as connection:
        for method, path, status in asked:
            connection.request(method, path)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == status
    assert w.verifier.vkey.encode() in content
    assert b"w1.example" in content


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ncontent-length: 1000\r\n\r\nold 0",
        b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ntransfer-encoding: chunked\r\n\r\n5\r\nold 0\r\n",
    ],
    ids=["nothing", "head", "body", "chunks"],
)
def test_who_sends_too_slowly_is_cut_off(run: Run, acme: Log, start: bytes) -> None:
    hurried = """
import sys
from aegis.surfaces.witness import asgi, server
asgi.BODY_SECONDS = server.HEAD_SECONDS = 0.3
from aegis.surfaces.cli.main import main
main(sys.argv[1:])
"""
    w = run("w1.example", acme, script=hurried)
    with socket.create_connection(("127.0.0.1", w.port), timeout=10) as connection:
        connection.sendall(start)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")
    assert w.add(acme, 0)[0] == 200


def test_who_sends_a_head_without_end_is_cut_off(w: Running, acme: Log) -> None:
    with socket.create_connection(("127.0.0.1", w.port), timeout=10) as connection, contextlib.suppress(OSError):
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\n")
        for number in range(10_000):
            connection.sendall(b"x-%d: " % number + b"a" * 1000 + b"\r\n")
        raise AssertionError("ten megabytes of head were taken")
    assert w.add(acme, 0)[0] == 200


def test_forty_at_once_are_cosigned_in_one_order_that_never_goes_back(w: Running) -> None:
    acme = log(40)

    def climb(size: int) -> list[int]:
        """Ask until this size is cosigned or the witness is past it, as a log would."""
        old = 0
        while True:
            status, _, answer = w.add(acme, old, size)
            if status == 200:
                signed(w, acme, answer, size)
                return [size]
            assert status == 409
            old = int(answer)
            if old >= size:
                return []

    with ThreadPoolExecutor(40) as pool:
        given = [size for sizes in pool.map(climb, range(1, 41)) for size in sizes]
    assert 40 in given
    assert size_of(w) == 40
    assert states.conflicts(w.home) == []


def test_two_processes_on_one_directory_are_one_witness(run: Run, acme: Log) -> None:
    one, two = run("w1.example", acme), run("w1.example")
    assert one.add(acme, 0, 4)[0] == 200
    assert two.add(acme, 4, 7)[0] == 200
    assert one.add(acme, 4, 6) == (409, SIZE, b"7\n")
    forks = [Log().grow(8, word) for word in (b"a", b"b")]
    for each in forks:
        each.leaves[:7] = acme.leaves[:7]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda pair: pair[0].add(pair[1], 7)[0], zip((one, two), forks, strict=True)))
    assert sorted(answers) == [200, 409]


def test_two_witnesses_cosign_one_note_and_each_is_counted(run: Run, acme: Log) -> None:
    one, two = run("w1.example", acme), run("w2.example", acme)
    lines = [line for each in (one, two) for line in note.parse_lines(each.add(acme, 0)[2])]
    whole = note.parse(acme.note()).having(lines)
    assert {signer.verifier for signer in note.verified(whole, [acme.verifier, one.verifier, two.verifier])} == {
        acme.verifier,
        one.verifier,
        two.verifier,
    }


def test_what_was_cosigned_survives_a_kill_at_any_moment(run: Run) -> None:
    acme = log(60)
    told = 0
    for moment in range(4):
        w = run("w1.example", acme)
        deadline = time.monotonic() + 0.05 * (moment + 1)
        with ThreadPoolExecutor(1) as pool:
            killing = pool.submit(lambda: (time.sleep(max(0.0, deadline - time.monotonic())), w.kill()))  # noqa: B023 - one at a time
            try:
                while told < 60:
                    status, _, answer = w.add(acme, told, told + 1)
                    told = told + 1 if status == 200 else int(answer)
            except (OSError, http.client.HTTPException):
                pass
            killing.result()
        assert size_of(w) >= told


DIES = """
import os, signal, sys
from aegis.adapters import wholefile
write = wholefile.write
def dying(path, content, mode):
    if path.name == "note.txt" and STOP == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, content, mode)
    if path.name == "note.txt":
        os.kill(os.getpid(), signal.SIGKILL)
wholefile.write = dying
from aegis.surfaces.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("stop", "size"), [("before", 3), ("after", 7)])
def test_a_kill_between_the_state_and_the_answer_leaves_the_state_and_a_repeat_is_answered(
    run: Run, acme: Log, stop: str, size: int
) -> None:
    run("w1.example", acme).add(acme, 0, 3)
    dying = run("w1.example", script=f"STOP = {stop!r}\n{DIES}")
    with pytest.raises((OSError, http.client.HTTPException)):
        dying.add(acme, 3, 7)
    dying.process.wait()
    again = run("w1.example")
    assert size_of(again) == size
    assert again.add(acme, size, 10)[0] == 200


def test_a_state_that_was_put_back_by_hand_or_changed_is_not_believed(w: Running, acme: Log) -> None:
    w.add(acme, 0, 7)
    (place,) = (w.home.path / "state").glob("*/note.txt")
    good = place.read_bytes()
    place.write_bytes(log(5).note())
    assert w.add(acme, 5)[0] == 503
    with pytest.raises(CorruptStoreError, match="not what this witness wrote"):
        list(states.known(w.home))
    place.write_bytes(good)
    assert w.add(acme, 7)[0] == 200
    assert "nothing is cosigned for this log" in w.stop()


def test_a_disk_that_is_full_cosigns_nothing(run: Run, acme: Log) -> None:
    full = """
import sys
from aegis.adapters import wholefile
def write(path, content, mode):
    raise OSError(28, "No space left on device")
wholefile.write = write
from aegis.surfaces.cli.main import main
main(sys.argv[1:])
"""
    run("w1.example", acme).add(acme, 0, 3)
    w = run("w1.example", script=full)
    status, _, answer = w.add(acme, 3)
    assert (status, b"\xe2\x80\x94" in answer) == (503, False)
    assert size_of(w) == 3


def test_the_evidence_that_is_kept_of_one_log_is_bounded(w: Running, acme: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "MAX_CONFLICTS", 3)
    w.add(acme, 0, 10)
    for word in range(6):
        forged = Log().grow(10, b"%d" % word)
        request = Request(10, (), note.parse(forged.note()))
        assert states.cosign(w.home, request, forged.checkpoint(), lambda: 0).status == 409
    assert len(states.conflicts(w.home)) == 3


def test_a_witness_is_not_made_twice_and_its_key_is_its_own(tmp_path: Path, acme: Log) -> None:
    made = homes.create(tmp_path / "w", "w.example", [acme.verifier.vkey])
    assert homes.load(tmp_path / "w") == made
    (key,) = (tmp_path / "w" / "key").glob("*")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="there is a witness already"):
        homes.create(tmp_path / "w", "w.example", [])
    with pytest.raises(ConfigError, match="cannot be the name of a witness"):
        homes.create(tmp_path / "x", "two words", [])
    with pytest.raises(ConfigError, match="is the key of a witness; expected that of a log"):
        homes.create(tmp_path / "x", "w.example", [made.verifier.vkey])
    assert not (tmp_path / "x").exists()
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        homes.load(tmp_path / "w")


def test_a_line_of_the_known_logs_that_is_wrong_is_named(tmp_path: Path, acme: Log) -> None:
    made = homes.create(tmp_path / "w", "w.example", [acme.verifier.vkey])
    file = tmp_path / "w" / homes.LOGS
    file.write_text(f"# a comment\n\nlog {acme.verifier.vkey} https://log.example\nlogg x\n")
    with pytest.raises(ConfigError, match=r"logs\.txt:4: expected `log VKEY`"):
        homes.logs(made.path)
    file.write_text("log nonsense\n")
    with pytest.raises(ConfigError, match=r"logs\.txt:1: not the key of a log"):
        homes.logs(made.path)
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="others can change this file"):
        homes.logs(made.path)


def test_a_witness_ends_well_when_it_is_told_to(w: Running) -> None:
    w.process.send_signal(signal.SIGTERM)
    assert w.process.wait(10) == 0
