"""The keys of a host, followed: a change is taken over whole or not at all."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from aegis.adapters import keyfiles, publickeys
from aegis.adapters.keyring import Keyring
from aegis.errors import ConfigError, IdentityError
from aegis.identity.keyset import SETTLES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OVERLAP = timedelta(minutes=10)
SECOND = timedelta(seconds=1)


def rotate(root, at=NOW, overlap=OVERLAP):
    return keyfiles.rotate(root, "sts", "acme", "", now=at, overlap=overlap)


@pytest.fixture
def first(tmp_path):
    return keyfiles.create(tmp_path, "sts", "acme", "", now=NOW - timedelta(days=30))


def kids(ring):
    return {entry.kid for entry in ring.keys.entries()}


def test_a_turn_tells_whether_the_keys_are_others_now(tmp_path, first):
    ring = Keyring(tmp_path)
    assert ring.refresh() is False
    second = rotate(tmp_path)
    assert kids(ring) == {first}
    assert ring.refresh() is True
    assert kids(ring) == {first, second}
    assert ring.refresh() is False


def test_a_file_that_was_only_written_again_is_no_change(tmp_path, first):
    ring = Keyring(tmp_path)
    publickeys.write(tmp_path, publickeys.read(tmp_path))
    assert ring.refresh() is False


def garble(path):
    path.write_text("{")


def empty(path):
    path.write_text(json.dumps({"format": "aegis.keys/v1", "keys": []}))


def double(path):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"keys": content["keys"] * 2}))


def remove(path):
    path.unlink()


def open_to_all(path):
    path.chmod(0o666)


def open_to_the_group(path):
    path.chmod(0o664)


@pytest.mark.parametrize("damage", [garble, empty, double, remove, open_to_all, open_to_the_group])
def test_a_damaged_file_changes_nothing_and_is_told_at_every_turn_until_it_is_mended(tmp_path, first, damage):
    ring = Keyring(tmp_path)
    path = tmp_path / publickeys.FILE
    good = path.read_bytes()
    damage(path)
    for _ in range(3):
        with pytest.raises(ConfigError, match=r"public\.json"):
            ring.refresh()
        assert kids(ring) == {first}
    with pytest.raises(ConfigError):
        Keyring(tmp_path)
    path.unlink(missing_ok=True)
    path.write_bytes(good)
    path.chmod(0o644)
    assert ring.refresh() is False
    second = rotate(tmp_path)
    assert ring.refresh() is True
    assert kids(ring) == {first, second}


def test_a_new_key_signs_once_every_process_must_have_seen_it(tmp_path, first):
    ring = Keyring(tmp_path)
    second = rotate(tmp_path)
    assert ring.signer("sts", "acme", NOW).kid == first
    ring.refresh()
    assert ring.signer("sts", "acme", NOW).kid == first
    assert ring.signer("sts", "acme", NOW + SETTLES - SECOND / 10).kid == first
    assert ring.signer("sts", "acme", NOW + SETTLES).kid == second


def test_a_new_key_signs_at_once_when_the_old_one_is_given_up(tmp_path, first):
    ring = Keyring(tmp_path)
    second = rotate(tmp_path, overlap=timedelta(0))
    ring.refresh()
    assert ring.signer("sts", "acme", NOW).kid == second


def test_the_first_key_signs_at_once(tmp_path):
    only = keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    assert Keyring(tmp_path).signer("sts", "acme", NOW).kid == only


def test_a_key_that_lies_elsewhere_signs_nothing_here(tmp_path, first):
    ring = Keyring(tmp_path)
    second = rotate(tmp_path)
    ring.refresh()
    path = tmp_path / "sts/acme/_" / f"{second}.jwk.json"
    away = path.rename(tmp_path / "away")
    assert ring.signer("sts", "acme", NOW + SETTLES).kid == first
    away.rename(path)  # its file arrives after its entry
    assert ring.signer("sts", "acme", NOW + SETTLES).kid == second


def test_a_private_key_that_others_can_read_signs_no_more(tmp_path, first):
    ring = Keyring(tmp_path)
    assert ring.signer("sts", "acme", NOW).kid == first
    path = tmp_path / "sts/acme/_" / f"{first}.jwk.json"
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        ring.signer("sts", "acme", NOW)
    path.chmod(0o600)
    assert ring.signer("sts", "acme", NOW).kid == first


def test_a_private_file_that_public_json_does_not_list_signs_nothing(tmp_path, first):
    foreign = keyfiles.create(tmp_path / "other", "sts", "acme", "", now=NOW)
    (tmp_path / "other/sts/acme/_" / f"{foreign}.jwk.json").rename(tmp_path / "sts/acme/_" / f"{foreign}.jwk.json")
    assert Keyring(tmp_path).signer("sts", "acme", NOW).kid == first


@pytest.mark.parametrize(("key_class", "tenant"), [("override", "acme"), ("sts", "globex")])
def test_a_host_without_the_key_says_what_to_do(tmp_path, first, key_class, tenant):
    with pytest.raises(ConfigError, match=f"aegis keys rotate {key_class} --tenant {tenant}"):
        Keyring(tmp_path).signer(key_class, tenant, NOW)


def test_what_is_out_of_its_time_does_not_sign(tmp_path, first):
    ring = Keyring(tmp_path)
    keyfiles.retire(tmp_path, first, now=NOW)
    ring.refresh()
    assert ring.signer("sts", "acme", NOW - SECOND).kid == first
    with pytest.raises(ConfigError, match="in use"):
        ring.signer("sts", "acme", NOW)


def test_a_revoked_key_stays_revoked_when_the_file_is_read_anew_and_signs_nothing(tmp_path, first):
    ring = Keyring(tmp_path)
    second = rotate(tmp_path)
    ring.refresh()
    assert ring.revoke(frozenset({second})) is True
    assert ring.revoke(frozenset({second})) is False
    keyfiles.create(tmp_path, "override", "acme", "", now=NOW)
    assert ring.refresh() is True
    with pytest.raises(IdentityError, match="revoked"):
        ring.keys.find(second, "sts", NOW)
    assert ring.signer("sts", "acme", NOW + SETTLES).kid == first
    assert ring.revoke(frozenset()) is True
    assert ring.signer("sts", "acme", NOW + SETTLES).kid == second


def test_looking_at_a_broken_file_gives_the_keys_that_are_in_force(tmp_path, first):
    ring = Keyring(tmp_path)
    garble(tmp_path / publickeys.FILE)
    assert {entry.kid for entry in ring.look().entries()} == {first}
