"""The anchor: newest notes outside the database, durable, never back, healed when torn and refused when damaged."""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.witness.logs import ORIGIN, Log, log

from aegis.adapters import anchor
from aegis.adapters.anchor import Anchor
from aegis.errors import CorruptStoreError, StoreError

OTHER = "aegis.globex/audit/1"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere" / "anchor"


def path_of(place: Path) -> Path:
    return place / anchor.FILE


def test_an_anchor_that_was_never_used_knows_no_log_and_makes_no_file(place: Path) -> None:
    assert Anchor(place).note(ORIGIN) is None
    assert not place.exists()


def test_a_kept_note_is_there_for_every_later_process(place: Path) -> None:
    acme, globex = log(5), log(3, origin=OTHER)
    Anchor(place).keep({ORIGIN: acme.note(), OTHER: globex.note()})
    Anchor(place).keep({ORIGIN: acme.grow(2).note()})
    assert Anchor(place).note(ORIGIN) == acme.note()
    assert Anchor(place).all() == {ORIGIN: acme.note(), OTHER: globex.note()}


def test_two_that_are_open_at_once_see_what_the_other_has_kept(place: Path) -> None:
    one, two, acme = Anchor(place), Anchor(place), log(1)
    for _ in range(5):
        one.keep({ORIGIN: acme.grow(1).note()})
        assert two.note(ORIGIN) == acme.note()
        two.keep({ORIGIN: acme.grow(1).note()})
        assert one.note(ORIGIN) == acme.note()


def test_a_log_that_went_back_is_refused_and_named_with_both_sizes(place: Path) -> None:
    Anchor(place).keep({ORIGIN: log(7).note()})
    with pytest.raises(CorruptStoreError, match=r"`aegis\.acme/audit/1`: a checkpoint of size 6 follows one of size 7"):
        Anchor(place).keep({ORIGIN: log(6).note()})
    assert Anchor(place).note(ORIGIN) == log(7).note()


def test_a_log_that_was_rewritten_is_refused(place: Path) -> None:
    Anchor(place).keep({ORIGIN: log(7).note()})
    with pytest.raises(CorruptStoreError, match="two checkpoints of size 7 name different roots"):
        Anchor(place).keep({ORIGIN: Log().grow(7, b"other").note()})


def test_the_same_checkpoint_with_another_signature_is_kept(place: Path) -> None:
    plain = log(7).note()
    signed_twice = plain + log(7, key=anchored_key()).note().split(b"\n\n")[1]
    Anchor(place).keep({ORIGIN: plain})
    Anchor(place).keep({ORIGIN: signed_twice})
    assert Anchor(place).note(ORIGIN) == signed_twice


def test_one_log_that_is_refused_does_not_keep_others_from_being_anchored(place: Path) -> None:
    Anchor(place).keep({ORIGIN: log(7).note()})
    with pytest.raises(CorruptStoreError):
        Anchor(place).keep({ORIGIN: log(6).note(), OTHER: log(2, origin=OTHER).note()})
    assert Anchor(place).note(OTHER) == log(2, origin=OTHER).note()


def test_a_note_of_another_log_and_what_is_no_note_are_refused(place: Path) -> None:
    for data in (log(1, origin=OTHER).note(), b"no note", b"a\n\n\xe2\x80\x94 b AAAAAAAA\n"):
        with pytest.raises(CorruptStoreError, match=r"`aegis\.acme/audit/1`"):
            Anchor(place).keep({ORIGIN: data})


def test_what_is_kept_already_is_not_written_again(place: Path) -> None:
    kept = Anchor(place)
    kept.keep({ORIGIN: log(7).note()})
    before = path_of(place).read_bytes()
    kept.keep({ORIGIN: log(7).note()})
    assert path_of(place).read_bytes() == before


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_wherever_a_crash_tears_the_last_round_the_one_before_stands(tmp_path: Path, data: st.DataObject) -> None:
    place = Path(tempfile.mkdtemp(dir=tmp_path))
    acme = log(3)
    Anchor(place).keep({ORIGIN: acme.note()})
    whole = path_of(place).stat().st_size
    Anchor(place).keep({ORIGIN: acme.grow(1).note()})
    content = path_of(place).read_bytes()
    cut = data.draw(st.integers(whole, len(content) - 1))
    torn = content[:cut] + data.draw(st.sampled_from([b"", b"\0" * 40, b"\n", b"\0\n\0"]))
    assume(torn != content)
    path_of(place).write_bytes(torn)
    assert Anchor(place).note(ORIGIN) == acme.note(3)
    Anchor(place).keep({ORIGIN: acme.grow(1).note()})
    assert Anchor(place).note(ORIGIN) == acme.note()


def test_a_round_that_was_changed_before_others_is_damage_and_says_what_to_do(place: Path) -> None:
    acme = log(3)
    for _ in range(3):
        Anchor(place).keep({ORIGIN: acme.grow(1).note()})
    content = bytearray(path_of(place).read_bytes())
    content[content.index(b"audit")] ^= 1
    path_of(place).write_bytes(content)
    for use in (lambda: Anchor(place).note(ORIGIN), lambda: Anchor(place).keep({ORIGIN: acme.grow(1).note()})):
        with pytest.raises(CorruptStoreError, match=r"damaged at byte 16: .* Put a copy of it back"):
            use()


def test_a_file_of_another_format_is_not_believed(place: Path) -> None:
    place.mkdir(parents=True)
    path_of(place).write_bytes(b"something else\n")
    with pytest.raises(CorruptStoreError, match="damaged at byte 0"):
        Anchor(place).keep({ORIGIN: log(1).note()})


def test_a_file_that_has_grown_is_written_anew_and_others_follow(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchor, "GROWN_BYTES", 2_000)
    one, two, acme = Anchor(place), Anchor(place), log(1)
    one.keep({OTHER: log(2, origin=OTHER).note()})
    sizes = []
    for _ in range(40):
        one.keep({ORIGIN: acme.grow(1).note()})
        assert two.note(ORIGIN) == acme.note()
        sizes.append(path_of(place).stat().st_size)
    assert max(sizes) < 5_000
    assert two.note(OTHER) == log(2, origin=OTHER).note()
    assert [name.name for name in place.iterdir() if name.name.startswith(".notes")] == []


def test_a_place_that_cannot_be_written_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="the anchor cannot be read or written"):
        Anchor(tmp_path / "file" / "anchor").keep({ORIGIN: log(1).note()})


def test_after_a_failed_write_the_next_round_is_a_file_of_its_own(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = log(1)
    kept = Anchor(place)
    kept.keep({ORIGIN: acme.note()})
    before = path_of(place).stat().st_ino
    sync = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(anchor.os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        kept.keep({ORIGIN: acme.grow(1).note()})
    monkeypatch.setattr(anchor.os, "fsync", sync)
    kept.keep({ORIGIN: acme.note()})
    assert path_of(place).stat().st_ino != before
    assert Anchor(place).note(ORIGIN) == acme.note()


def test_many_threads_keep_the_greatest(place: Path) -> None:
    acme, refused = log(40), []

    def keep(size: int) -> None:
        try:
            Anchor(place).keep({ORIGIN: acme.note(size)})
        except CorruptStoreError:
            refused.append(size)

    threads = [threading.Thread(target=keep, args=(size,)) for size in range(1, 41)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Anchor(place).note(ORIGIN) == acme.note(40)


WRITER = """
import sys
import tempfile
from pathlib import Path
from aegis.adapters.anchor import Anchor
from tests.witness.logs import ORIGIN, log
acme, kept = log(0), Anchor(Path(sys.argv[1]))
while True:
    kept.keep({ORIGIN: acme.grow(1).note()})
    print(len(acme.leaves), flush=True)
"""


def test_what_was_kept_survives_a_kill(place: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, place], stdout=subprocess.PIPE, text=True) as writer:
        for line in writer.stdout:
            if int(line) >= 40:
                writer.send_signal(signal.SIGKILL)
                break
        told = max([int(line), *map(int, writer.stdout.read().split())])
    stands = Anchor(place).note(ORIGIN)
    assert stands in (log(told).note(), log(told + 1).note())


def anchored_key():
    from aegis.crypto.jwk import private_key

    return private_key(b"\x22" * 32)


def test_a_whole_line_that_holds_something_else_is_no_round(place: Path) -> None:
    Anchor(place).keep({ORIGIN: log(5).note()})
    body = b'["x"]'
    with path_of(place).open("ab") as file:
        file.write(hashlib.sha256(body).hexdigest().encode() + b" " + body + b"\n")
    assert Anchor(place).note(ORIGIN) == log(5).note()
    Anchor(place).keep({ORIGIN: log(6).note()})
    assert Anchor(place).note(ORIGIN) == log(6).note()
