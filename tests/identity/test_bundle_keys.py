"""Keys that ship policies: `bundle` keys are ES256 and no other class is; a tenant's publisher signs for that tenant only."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from aegis.adapters import keyfiles
from aegis.crypto import es256
from aegis.crypto.jwk import private_key
from aegis.errors import ConfigError, IdentityError
from aegis.identity.keyset import KeyEntry, KeySet

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
P256, ED = es256.private_key(b"\x07" * 32).public, private_key(b"\x07" * 32).public


def entry(key=P256, key_class="bundle", tenant="acme", **times):
    return KeyEntry(
        key=key, key_class=key_class, tenant=tenant, owner="", not_before=times.get("start", NOW), not_after=times.get("end")
    )


@pytest.mark.parametrize(("key", "key_class"), [(ED, "bundle"), (P256, "publisher"), (P256, "sts"), (P256, "human")])
def test_a_class_has_keys_of_one_algorithm(key, key_class):
    with pytest.raises(ConfigError, match="another algorithm"):
        KeySet([entry(key, key_class)])


def test_bundle_keys_count_for_their_tenant_while_they_are_in_use():
    keys = KeySet([entry(start=NOW, end=NOW + SECOND), entry(ED, "publisher")])
    assert keys.bundle_keys("acme", NOW) == (P256,)
    assert keys.bundle_keys("globex", NOW) == ()
    assert keys.bundle_keys("acme", NOW - SECOND) == ()
    assert keys.bundle_keys("acme", NOW + SECOND) == ()


def test_a_publisher_signs_for_its_tenant_only_and_no_other_key_does():
    other = private_key(b"\x08" * 32).public
    keys = KeySet([entry(ED, "publisher"), entry(other, "sts")])
    assert keys.publisher(ED.kid, "acme", NOW) == ED
    for kid, tenant, now, reason in (
        (ED.kid, "globex", NOW, "wrong_tenant"),
        (ED.kid, "acme", NOW - SECOND, "key_not_yet"),
        (other.kid, "acme", NOW, "wrong_key_class"),
        ("nobody", "acme", NOW, "unknown_kid"),
    ):
        with pytest.raises(IdentityError) as caught:
            keys.publisher(kid, tenant, now)
        assert caught.value.reason == reason


def test_a_bundle_key_on_disk_is_found_again_and_rotated(tmp_path):
    first = keyfiles.create(tmp_path, "bundle", "acme", "", now=NOW)
    second = keyfiles.rotate(tmp_path, "bundle", "acme", "", now=NOW, overlap=SECOND)
    key = keyfiles.load_bundle_key(tmp_path, "acme", now=NOW + 2 * SECOND)
    assert key.kid == second
    keys = keyfiles.load_public(tmp_path)
    assert {each.kid for each in keys.bundle_keys("acme", NOW)} == {first, second}
    assert [each.kid for each in keys.bundle_keys("acme", NOW + SECOND)] == [second]
    assert keys.bundle_keys("acme", NOW)[0].verify(b"m", b"") is False
    path = tmp_path / "bundle/acme/_" / f"{second}.jwk.json"
    assert keyfiles.read_bundle_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_kind_of_private_key_is_not_read_as_the_other(tmp_path):
    keyfiles.create(tmp_path, "bundle", "acme", "", now=NOW)
    keyfiles.create(tmp_path, "publisher", "acme", "", now=NOW)
    with pytest.raises(ConfigError):
        keyfiles.load_private(tmp_path, "bundle", "acme", "")
    publisher = next((tmp_path / "publisher/acme/_").glob("*.jwk.json"))
    with pytest.raises(ConfigError):
        keyfiles.read_bundle_key(publisher)


@pytest.mark.parametrize("content", [{"kid": "x"}, {"d": 1}, {"d": "AAAA"}, {"d": "A" * 43}, {"d": "*"}])
def test_a_damaged_bundle_key_is_refused(tmp_path, content):
    kid = keyfiles.create(tmp_path, "bundle", "acme", "", now=NOW)
    path = tmp_path / "bundle/acme/_" / f"{kid}.jwk.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | content))
    with pytest.raises(ConfigError):
        keyfiles.load_bundle_key(tmp_path, "acme")


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "OKP"},
        {"crv": "Ed25519"},
        {"y": ED.x},
        {"y": None},
        {"y": ""},
        {"x": ED.x},
        {"class": "publisher"},
        {"kid": ED.kid},
        {"owner": "person:alice"},
    ],
)
def test_a_changed_public_entry_stops_the_start(tmp_path, change):
    keyfiles.create(tmp_path, "bundle", "acme", "", now=NOW)
    path = tmp_path / "public.json"
    found = json.loads(path.read_text())
    found["keys"][0].update(change)
    path.write_text(json.dumps(found))
    with pytest.raises(ConfigError, match=r"public\.json"):
        keyfiles.load_public(tmp_path)


def test_an_entry_of_another_class_has_no_second_coordinate(tmp_path):
    keyfiles.create(tmp_path, "sts", "acme", "", now=NOW)
    path = tmp_path / "public.json"
    found = json.loads(path.read_text())
    assert "y" not in found["keys"][0]
    found["keys"][0]["y"] = P256.y
    path.write_text(json.dumps(found))
    with pytest.raises(ConfigError, match=r"public\.json"):
        keyfiles.load_public(tmp_path)
