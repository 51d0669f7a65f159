"""Keys on disk: readable by their owner only, written whole, listed once, and refused when anybody touched them."""

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aegis.adapters import keyfiles, wholefile
from aegis.crypto.jwk import encode, private_key
from aegis.errors import ConfigError, IdentityError

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
OVERLAP = timedelta(minutes=10)
SECOND = timedelta(seconds=1)


def listed(root: Path) -> dict[str, dict[str, object]]:
    return {entry["kid"]: entry for entry in json.loads((root / "public.json").read_bytes())["keys"]}


def edit(root: Path, change: dict[str, object]) -> None:
    path = root / "public.json"
    content = json.loads(path.read_bytes())
    content["keys"][0].update(change)
    path.write_text(json.dumps(content))


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name not in (".lock", "public.json"))


def test_a_new_key_is_found_again_by_its_class_tenant_and_owner(tmp_path: Path) -> None:
    kids = {
        use: keyfiles.create(tmp_path, *use, now=NOW)
        for use in (
            ("sts", "acme", ""),
            ("sts", "globex", ""),
            ("override", "acme", ""),
            ("human", "acme", "person:alice"),
            ("human", "acme", "person:bob"),
            ("workload", "acme", "agent:planner"),
        )
    }
    keys = keyfiles.load_public(tmp_path)
    for use, kid in kids.items():
        private = keyfiles.load_private(tmp_path, *use)
        entry = keys.find(kid, use[0], NOW)
        assert private.kid == kid
        assert (entry.key_class, entry.tenant, entry.owner) == use
        assert entry.key.verify(b"message", private.sign(b"message"))
    assert {entry.kid for entry in keys.entries()} == set(kids.values())


def test_a_key_is_in_use_from_the_second_in_which_it_was_made(tmp_path: Path) -> None:
    kid = keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    keys = keyfiles.load_public(tmp_path)
    assert keys.find(kid, "sts", NOW.replace(microsecond=0)).kid == kid
    with pytest.raises(IdentityError, match="key_not_yet"):
        keys.find(kid, "sts", NOW.replace(microsecond=0) - timedelta(microseconds=1))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_private_keys_are_readable_by_their_owner_only_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
        keyfiles.create(tmp_path, "kek", "acme", "", now=NOW)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)] == [0o600, 0o600]
    assert all(stat.S_IMODE(path.parent.stat().st_mode) == 0o700 & ~umask for path in files(tmp_path))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644, 0o777])
@pytest.mark.parametrize("key_class", ["sts", "kek"])
def test_a_key_that_others_can_reach_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int, key_class: str) -> None:
    keyfiles.create(tmp_path, key_class, "acme", "", now=NOW)
    (path,) = files(tmp_path)
    path.chmod(mode)

    def load() -> object:
        if key_class == "kek":
            return keyfiles.load_symmetric(tmp_path, "kek", "acme")
        return keyfiles.load_private(tmp_path, "sts", "acme", "")

    with pytest.raises(ConfigError) as refused:
        load()
    command = str(refused.value).rpartition("run: ")[2]
    assert command == f"chmod 600 {path}"
    subprocess.run(command.split(), check=True)
    load()


def test_a_first_key_is_made_once(tmp_path: Path) -> None:
    for use in (("sts", "acme", ""), ("kek", "acme", "")):
        keyfiles.create(tmp_path, *use, now=NOW)
        with pytest.raises(ConfigError, match="there is a key already"):
            keyfiles.create(tmp_path, *use, now=NOW)
    assert len(files(tmp_path)) == 2


def test_a_rotated_key_is_accepted_for_the_overlap_and_not_longer(tmp_path: Path) -> None:
    old = keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    other = keyfiles.create(tmp_path, "sts", "globex", "", now=NOW)
    later = NOW + timedelta(days=30)
    new = keyfiles.rotate(tmp_path, "sts", "acme", "", now=later, overlap=OVERLAP)
    keys = keyfiles.load_public(tmp_path)
    assert keyfiles.load_private(tmp_path, "sts", "acme", "").kid == new
    assert keys.find(old, "sts", later + OVERLAP - SECOND).kid == old
    assert keys.find(new, "sts", later + timedelta(days=365)).kid == new
    assert keys.find(other, "sts", later + timedelta(days=365)).kid == other
    with pytest.raises(IdentityError, match="key_retired"):
        keys.find(old, "sts", later + OVERLAP)


def test_rotating_twice_does_not_give_the_first_key_a_longer_life(tmp_path: Path) -> None:
    first = keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    keyfiles.rotate(tmp_path, "sts", "acme", "", now=NOW, overlap=OVERLAP)
    keyfiles.rotate(tmp_path, "sts", "acme", "", now=NOW + timedelta(minutes=5), overlap=OVERLAP)
    with pytest.raises(IdentityError, match="key_retired"):
        keyfiles.load_public(tmp_path).find(first, "sts", NOW + OVERLAP)


@pytest.mark.parametrize("round_", range(4))
def test_a_key_rotated_in_the_second_of_its_making_is_still_the_one_that_signs(tmp_path: Path, round_: int) -> None:
    keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    for _ in range(round_ + 1):
        newest = keyfiles.rotate(tmp_path, "sts", "acme", "", now=NOW, overlap=OVERLAP)
        assert keyfiles.load_private(tmp_path, "sts", "acme", "").kid == newest


def test_a_retired_key_ends_at_once_and_the_one_before_it_signs_again(tmp_path: Path) -> None:
    old = keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    new = keyfiles.rotate(tmp_path, "sts", "acme", "", now=NOW + SECOND, overlap=OVERLAP)
    keyfiles.retire(tmp_path, new, now=NOW + 2 * SECOND)
    with pytest.raises(IdentityError, match="key_retired"):
        keyfiles.load_public(tmp_path).find(new, "sts", NOW + 2 * SECOND)
    assert keyfiles.load_private(tmp_path, "sts", "acme", "").kid == old


def test_retiring_again_does_not_move_the_end(tmp_path: Path) -> None:
    kid = keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    keyfiles.retire(tmp_path, kid, now=NOW)
    end = listed(tmp_path)[kid]["not_after"]
    keyfiles.retire(tmp_path, kid, now=NOW + OVERLAP)
    assert listed(tmp_path)[kid]["not_after"] == end


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda root: keyfiles.rotate(root, "sts", "acme", "", now=NOW, overlap=OVERLAP), "no key to rotate"),
        (lambda root: keyfiles.rotate(root, "kek", "acme", "", now=NOW, overlap=OVERLAP), "is not rotated"),
        (lambda root: keyfiles.rotate(root, "hash", "acme", "", now=NOW, overlap=OVERLAP), "is not rotated"),
        (lambda root: keyfiles.rotate(root, "sts", "acme", "", now=NOW, overlap=-SECOND), "zero or longer"),
        (lambda root: keyfiles.retire(root, "nobody", now=NOW), "no public key `nobody`"),
        (
            lambda root: keyfiles.load_private(root, "human", "acme", "person:bob"),
            "keys new human --tenant acme --owner person:bob",
        ),
        (lambda root: keyfiles.load_private(root, "sts", "acme", ""), r"run `aegis keys new sts --tenant acme`"),
        (lambda root: keyfiles.load_symmetric(root, "kek", "acme"), r"found 0: run `aegis keys new kek --tenant acme`"),
        (keyfiles.load_public, "not found; `aegis init`"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(tmp_path: Path, act: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        act(tmp_path)  # type: ignore[operator]  # each is a function of the directory


TRICKS = ["..", "../x", "a/b", "/etc", "a\\b", ".hidden", "a\0b", "", " ", "acme\n", "ACME", "acme/", "acmé", "a" * 64, "-", "_"]


@pytest.mark.parametrize("name", TRICKS)
def test_a_tenant_or_owner_that_is_no_plain_name_touches_no_file(tmp_path: Path, name: str) -> None:
    root = tmp_path / "keys"
    uses = [("sts", name, ""), ("human", "acme", name), ("human", "acme", f"person:{name}"), (name, "acme", "")]
    for use in uses:
        for act in (
            lambda use=use: keyfiles.create(root, *use, now=NOW),
            lambda use=use: keyfiles.rotate(root, *use, now=NOW, overlap=OVERLAP),
            lambda use=use: keyfiles.load_private(root, *use),
        ):
            if use[2] in ("person:-", "person:_") or (use[2] == "person:" + name and name == "a" * 64):
                continue
            with pytest.raises(ConfigError):
                act()
    assert not root.exists()


@pytest.mark.parametrize(
    ("key_class", "owner"),
    [
        ("human", ""),
        ("human", "agent:planner"),
        ("workload", "person:alice"),
        ("sts", "person:alice"),
        ("kek", "person:a"),
        ("root", ""),
    ],
)
def test_a_class_and_an_owner_that_do_not_belong_together_make_no_key(tmp_path: Path, key_class: str, owner: str) -> None:
    with pytest.raises(ConfigError):
        keyfiles.create(tmp_path, key_class, "acme", owner, now=NOW)
    assert files(tmp_path) == []


OTHER = private_key(bytes(range(32))).public
TAMPERED = {
    "another kid": {"kid": "A" * 43},
    "another key under this kid": {"x": OTHER.x},
    "a class of its own": {"class": "root"},
    "the class of a symmetric key": {"class": "kek"},
    "another type of key": {"kty": "EC"},
    "another curve": {"crv": "X25519"},
    "a key of 31 bytes": {"x": encode(bytes(31)), "kid": "A" * 43},
    "a key with padding": {"x": OTHER.x + "="},
    "a key that is no base64url": {"x": "*"},
    "a tenant that is a path": {"tenant": "../acme"},
    "no tenant": {"tenant": ""},
    "an owner where none belongs": {"owner": "person:mallory"},
    "a person's class without a person": {"class": "human"},
    "a time without zone": {"not_before": "2026-03-01T12:00:00"},
    "an end without zone": {"not_after": "2026-03-01T12:00:00"},
    "a time that is a number": {"not_before": 0},
    "a member that nobody knows": {"d": "secret"},
    "a text that is a list": {"x": [OTHER.x]},
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED.keys())
def test_a_changed_entry_of_the_public_keys_stops_the_start(tmp_path: Path, change: dict[str, object]) -> None:
    keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    keyfiles.load_public(tmp_path)
    edit(tmp_path, change)
    with pytest.raises(ConfigError, match=r"public\.json"):
        keyfiles.load_public(tmp_path)


def test_one_key_listed_for_two_purposes_stops_the_start(tmp_path: Path) -> None:
    keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    path = tmp_path / "public.json"
    content = json.loads(path.read_bytes())
    content["keys"].append(content["keys"][0] | {"class": "override"})
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"public\.json.*twice"):
        keyfiles.load_public(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format":"aegis.keys/v2","keys":[]}', b"\xff", b'{"format":"\xff"}', b"null"]
)
def test_a_public_file_of_another_shape_stops_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "public.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"public\.json"):
        keyfiles.load_public(tmp_path)


def test_a_public_file_that_is_no_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "public.json").mkdir()
    with pytest.raises(ConfigError, match=r"public\.json: cannot be read"):
        keyfiles.load_public(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b"\xff", b'{"d":1}', b'{"d":null}', b'{"d":"*"}', b'{"d":"AAAA","k":"AAAA"}', b'{"d":"","k":""}'],
)
@pytest.mark.parametrize("key_class", ["sts", "kek"])
def test_a_damaged_private_file_is_refused_by_name_and_without_its_content(tmp_path: Path, content: bytes, key_class: str) -> None:
    keyfiles.create(tmp_path, key_class, "acme", "", now=NOW)
    (path,) = files(tmp_path)
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        keyfiles.load_symmetric(tmp_path, "kek", "acme") if key_class == "kek" else keyfiles.load_private(
            tmp_path, "sts", "acme", ""
        )
    assert str(path) in str(refused.value)
    assert "AAAA" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_list_of_public_keys_that_others_can_change_is_refused(tmp_path: Path, mode: int) -> None:
    keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    (tmp_path / "public.json").chmod(mode)
    with pytest.raises(ConfigError, match=r"run: chmod 644"):
        keyfiles.load_public(tmp_path)


def test_a_key_that_is_not_in_use_is_not_handed_out_for_signing(tmp_path: Path) -> None:
    kid = keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    keyfiles.retire(tmp_path, kid, now=NOW + OVERLAP)
    assert keyfiles.load_private(tmp_path, "sts", "acme", "", now=NOW).kid == kid
    for now in (NOW - SECOND, NOW + OVERLAP):
        with pytest.raises(ConfigError, match="no key here is in use"):
            keyfiles.load_private(tmp_path, "sts", "acme", "", now=now)


@pytest.mark.parametrize("change", [{"d": encode(bytes(32))}, {"kid": "A" * 43}, {"kid": None}])
def test_a_private_key_in_the_file_of_another_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    (path,) = files(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises(ConfigError, match="does not match its own kid"):
        keyfiles.load_private(tmp_path, "sts", "acme", "")


def test_a_seed_is_never_printed(tmp_path: Path) -> None:
    from rich.pretty import pretty_repr

    keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    key = keyfiles.load_private(tmp_path, "sts", "acme", "")
    for text in (repr(key), str(key), f"{key}", pretty_repr(key), pretty_repr({"key": [key]})):
        assert key.kid in text
        assert "seed" not in text
        assert repr(key.seed)[2:-1] not in text


def test_a_crash_before_the_public_half_is_listed_costs_a_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(keyfiles.publickeys, "write", crash)
        with pytest.raises(OSError, match="no space"):
            keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    with pytest.raises(ConfigError, match="run `aegis keys rotate sts --tenant acme`"):
        keyfiles.load_private(tmp_path, "sts", "acme", "")
    first = keyfiles.rotate(tmp_path, "sts", "acme", "", now=NOW, overlap=OVERLAP)
    assert keyfiles.load_private(tmp_path, "sts", "acme", "").kid == first
    with monkeypatch.context() as patch:
        patch.setattr(keyfiles.publickeys, "write", crash)
        with pytest.raises(OSError, match="no space"):
            keyfiles.rotate(tmp_path, "sts", "acme", "", now=NOW, overlap=OVERLAP)
    assert keyfiles.load_private(tmp_path, "sts", "acme", "").kid == first
    assert listed(tmp_path)[first].get("not_after") is None


def test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    wholefile.write(path, b"old", 0o600)

    def broken(_: int) -> None:
        raise OSError("input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="input/output"):
            wholefile.write(path, b"new", 0o600)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


WORK = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from aegis.adapters import keyfiles
from aegis.errors import ConfigError
root, number = Path(sys.argv[1]), int(sys.argv[2])
now = datetime(2026, 3, 1, tzinfo=UTC)
print("ready", flush=True)
sys.stdin.readline()
for use in (("sts", "acme", ""), ("kek", "acme", "")):
    try:
        print("made", keyfiles.create(root, *use, now=now))
    except ConfigError:
        print("there")
for turn in range(8):
    print("own", keyfiles.create(root, "human", "acme", f"person:p{number}-{turn}", now=now))
    print("rotated", keyfiles.rotate(root, "sts", "acme", "", now=now, overlap=timedelta(minutes=1)))
"""


def test_processes_that_make_and_rotate_keys_at_once_lose_none(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(tmp_path), str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(3)
    ]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 3
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [line.split() for worker in workers for line in worker.communicate(timeout=60)[0].splitlines()]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    kinds = [words[0] for words in said]
    assert (kinds.count("made"), kinds.count("there")) == (2, 4)
    asymmetric = {words[1] for words in said if words[0] in ("own", "rotated")} | {
        words[1] for words in said if words[0] == "made" and len(words[1]) == 43
    }
    entries = keyfiles.load_public(tmp_path).entries()
    assert {entry.kid for entry in entries} == asymmetric
    assert len(entries) == 3 * 16 + 1
    endless = [entry.kid for entry in entries if entry.key_class == "sts" and entry.not_after is None]
    assert endless == [keyfiles.load_private(tmp_path, "sts", "acme", "").kid]
    assert len(keyfiles.load_symmetric(tmp_path, "kek", "acme")) == 32
