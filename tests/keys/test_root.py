"""The offline root: without the signatures of enough people nobody is believed, whoever can write the files."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from aegis.adapters import keyfiles, publickeys, rootkeys
from aegis.adapters.keyring import Keyring
from aegis.app import open_app
from aegis.errors import ConfigError
from aegis.runtime.clock import Clock
from gateway.world import World
from keys.seen import aegis, everywhere, kid, until

NOW = datetime.now(UTC).replace(microsecond=0)
QUARTER = timedelta(days=90)
PEOPLE = ("person:alice", "person:bob", "person:carol")


def content(home):
    return (home / publickeys.FILE).read_bytes()


def signed(home, *keys, now=NOW, lasting=QUARTER):
    for key in keys:
        said, people = rootkeys.sign(home, content(home), key, now=now, lasting=lasting)
    return said.version, people


@pytest.fixture
def offline(tmp_path):
    """Three root keys that lie elsewhere."""
    return [keyfiles.create_offline(tmp_path / "offline" / person.partition(":")[2]) for person in PEOPLE]


@pytest.fixture
def home(tmp_path, offline):
    """A directory of keys whose root is two of three people."""
    home = tmp_path / "keys"
    keyfiles.create(home, "sts", "acme", "", now=NOW)
    for key, person in zip(offline, PEOPLE, strict=True):
        rootkeys.enroll(home, key.public, person, 2 if person != PEOPLE[0] else 1)
    return home


def refused(home, now=NOW):
    with pytest.raises(ConfigError) as error:
        keyfiles.load_believed(home, now)
    return str(error.value)


def test_two_of_three_people_are_enough_and_one_is_not(home, offline):
    assert "public.json.dsse.json" in refused(home)
    assert signed(home, offline[0]) == (1, 1)
    assert "too few" in refused(home) or "expected signatures of 2" in refused(home)
    assert signed(home, offline[2]) == (1, 2)
    assert keyfiles.load_believed(home, NOW)[1] == 1


def test_the_same_person_twice_is_one(home, offline, tmp_path):
    again = keyfiles.create_offline(tmp_path / "offline" / "alice-too")
    rootkeys.enroll(home, again.public, "person:alice", None)
    assert signed(home, offline[0], again) == (1, 1)
    assert "expected signatures of 2" in refused(home)


def test_a_stranger_cannot_sign_and_what_they_signed_counts_for_nothing(home, offline, tmp_path):
    stranger = keyfiles.create_offline(tmp_path / "offline" / "mallory")
    with pytest.raises(ConfigError, match="is not in"):
        signed(home, stranger)
    signed(home, offline[0])
    path = home / rootkeys.ENVELOPE
    path.write_bytes(rootkeys.dsse.add(path.read_bytes().strip(), rootkeys.PAYLOAD, stranger))
    assert "expected signatures of 2" in refused(home)


def test_a_key_that_was_slipped_in_is_not_believed_until_people_sign_it(home, offline):
    signed(home, *offline[:2])
    keyfiles.create(home, "human", "acme", "person:mallory", now=NOW)
    assert "about another public.json" in refused(home)
    assert signed(home, *offline[1:]) == (2, 2)
    assert keyfiles.load_believed(home, NOW)[1] == 2


def test_signatures_end(home, offline):
    signed(home, *offline[:2])
    keyfiles.load_believed(home, NOW + QUARTER - timedelta(seconds=1))
    assert "expired" in refused(home, NOW + QUARTER)
    assert signed(home, *offline[:2], now=NOW + QUARTER) == (2, 2)
    keyfiles.load_believed(home, NOW + QUARTER)


@pytest.mark.parametrize(
    "damage",
    [
        lambda root: root | {"threshold": 4},
        lambda root: root | {"threshold": 0},
        lambda root: root | {"keys": root["keys"] * 2},
        lambda root: root | {"keys": [root["keys"][0] | {"kid": "x"}, *root["keys"][1:]]},
        lambda root: root | {"keys": [root["keys"][0] | {"x": "AA"}, *root["keys"][1:]]},
        lambda root: root | {"more": 1},
        lambda root: [root],
    ],
)
def test_a_root_that_is_not_sound_believes_nobody(home, offline, damage):
    signed(home, *offline[:2])
    path = home / rootkeys.FILE
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    assert "root.json" in refused(home)


def test_an_empty_root_is_no_missing_root(home, offline):
    signed(home, *offline[:2])
    (home / rootkeys.FILE).write_bytes(b"")
    assert "root.json" in refused(home)


@pytest.mark.parametrize("name", [rootkeys.FILE, rootkeys.ENVELOPE])
def test_files_that_others_can_change_are_not_believed(home, offline, name):
    signed(home, *offline[:2])
    (home / name).chmod(0o666)
    assert "chmod 644" in refused(home)


def test_a_running_process_keeps_what_was_signed_and_takes_what_is_signed_next(home, offline):
    signed(home, *offline[:2])
    ring = Keyring(home)
    before, old = ring.keys.entries(), {name: (home / name).read_bytes() for name in (publickeys.FILE, rootkeys.ENVELOPE)}
    keyfiles.rotate(home, "sts", "acme", "", now=NOW, overlap=QUARTER)
    with pytest.raises(ConfigError, match="another"):
        ring.refresh()
    assert ring.keys.entries() == before
    signed(home, *offline[:2])
    assert ring.refresh() is True
    assert (ring.version, len(ring.keys.entries())) == (2, 2)
    for name, text in old.items():  # an older file, truly signed
        (home / name).write_bytes(text)
    with pytest.raises(ConfigError, match="version 1; version 2 is in force"):
        ring.refresh()
    assert len(ring.keys.entries()) == 2


@pytest.mark.parametrize("change", ["gone", "exchanged"])
def test_a_running_process_believes_no_other_root(home, offline, tmp_path, change):
    signed(home, *offline[:2])
    ring = Keyring(home)
    keyfiles.create(home, "human", "acme", "person:mallory", now=NOW)
    (home / rootkeys.FILE).unlink()
    if change == "exchanged":
        thief = keyfiles.create_offline(tmp_path / "offline" / "thief")
        rootkeys.enroll(home, thief.public, "person:mallory", 1)
        signed(home, thief)
    with pytest.raises(ConfigError, match="not the root that this process started with"):
        ring.refresh()
    assert len(ring.keys.entries()) == 1


@pytest.fixture
def rooted(tmp_path, store_url, offline):
    """A gateway whose keys two of three people have signed."""
    world = World(tmp_path, store_url)
    (tmp_path / "aegis.toml").write_text(f"[store]\nurl = {json.dumps(store_url)}\n")
    for key, person in zip(offline, PEOPLE, strict=True):
        words = ("--threshold", "2") if person == PEOPLE[-1] else ()
        aegis(world, "keys", "root", "enroll", key.public.x, "--owner", person, *words)
    by_two(world)
    try:
        world.start()
        yield world
    finally:
        world.close()


def by_two(w):
    for name in ("alice", "bob"):
        (path,) = (w.root / "offline" / name).iterdir()
        told = aegis(w, "keys", "root", "sign", str(path))
    assert "2 people have signed" in told


def starts(w):
    """Whether a gateway would start here now."""

    async def tried():
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            await app.start()
        except ConfigError:
            await app.gate.store.close()
            return False
        await app.stop()
        return True

    return asyncio.run(tried())


def test_a_rotation_is_in_force_once_two_people_have_signed_it(rooted):
    w = rooted
    old = w.token()
    everywhere([w], old, "")
    aegis(w, "keys", "rotate", "sts", "--tenant", "acme", "--overlap", "0")
    until(lambda: "another public.json" in w.watch("/readyz").text)
    everywhere([w], old, "")
    assert "public.json" in aegis(w, "keys", "root", "verify", code=2)
    by_two(w)
    everywhere([w], old, "key_retired")
    everywhere([w], w.token(), "")
    assert "version 2" in aegis(w, "keys", "root", "verify")
    assert kid(w.token()) != kid(old)


@pytest.mark.parametrize("change", ["an older version", "another root", "no root"])
def test_no_start_with_an_older_version_or_another_root_until_a_person_accepts_it(rooted, change):
    w = rooted
    files = [w.keys / name for name in (publickeys.FILE, rootkeys.ENVELOPE)]
    old = [path.read_bytes() for path in files]
    aegis(w, "keys", "rotate", "sts", "--tenant", "acme")
    by_two(w)
    until(lambda: w.app.keyring.version == 2)
    until(lambda: [event["version"] for event in w.events(tenant="_system") if event["type"] == "keys_pinned"] == [1, 2])
    w.stop()
    if change == "an older version":
        for path, text in zip(files, old, strict=True):
            path.write_bytes(text)
    else:
        (w.keys / rootkeys.FILE).unlink()
    if change == "another root":
        thief = keyfiles.create_offline(w.root / "offline" / "thief")
        rootkeys.enroll(w.keys, thief.public, "person:mallory", 1)
        signed(w.keys, thief)
    assert not starts(w)
    aegis(w, "keys", "root", "accept", "--as", "person:alice", "--tenant", "acme")
    assert starts(w)
    pinned = [event for event in w.events(tenant="_system") if event["type"] == "keys_pinned"]
    assert pinned[-1]["by"] == "person:alice"
