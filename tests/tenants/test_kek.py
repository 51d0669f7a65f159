"""A tenant's key-encryption key is replaced while the gateway serves; what it wrapped opens for as long as it is there."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from tests.store.homes import START
from tests.tenants.test_credentials import SECRET, seal, until

from aegis.adapters import kekfiles, keyfiles
from aegis.app import open_app
from aegis.crypto.seal import seal as seal_bytes
from aegis.errors import ConfigError, SealError
from aegis.runtime.clock import Clock
from aegis.surfaces.cli.main import cli


def aegis(w, *words):
    ran = CliRunner().invoke(cli, ["--dir", str(w.root), "--json", "keys", *words, "--tenant", "acme"], standalone_mode=False)
    if ran.exception is not None:
        raise ran.exception
    return json.loads(ran.stdout)


def arguments(w, request_id):
    """The sealed arguments of a request, opened by a process that remembers nothing."""

    async def read():
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            (decision,) = [e for e in await app.gate.store.events("acme", request_id=request_id) if e.type == "decision"]
            return json.loads(await app.gate.vault.read("acme", decision.id, "arguments"))
        finally:
            await app.gate.store.close()

    return asyncio.run(read())


def test_a_kek_is_replaced_and_everything_it_protected_still_opens(sealed):
    w = sealed
    seal(w)
    before = until(w, 200).json()["request_id"]
    (old,) = kekfiles.listed(w.keys, "acme")
    new = aegis(w, "rotate", "kek")["kid"]
    between = until(w, 200).json()["request_id"]
    assert arguments(w, before) == arguments(w, between) == {"amount": 1}
    assert aegis(w, "rewrap", "--as", "person:alice")["data_keys"] == 2  # of payloads and of credentials
    assert aegis(w, "rewrap", "--as", "person:alice")["data_keys"] == 0
    (w.keys / "kek" / "acme" / "_" / f"{old.kid}.jwk.json").unlink()
    assert arguments(w, before) == {"amount": 1}
    w.stop()
    w.start()
    assert until(w, 200).status_code == 200
    assert w.tool.requests[-1]["headers"]["authorization"] == f"Bearer {SECRET}"
    told = [(e["kek"], e["data_keys"], e["by"]) for e in w.events() if e["type"] == "data_keys_rewrapped"]
    assert told == [(new, 2, "person:alice"), (new, 0, "person:alice")]
    assert w.fsck() == []


def test_without_the_old_kek_nothing_is_wrapped_anew_and_nothing_is_lost(sealed):
    w = sealed
    seal(w)
    before = until(w, 200).json()["request_id"]
    (old,) = kekfiles.listed(w.keys, "acme")
    aegis(w, "rotate", "kek")
    path = w.keys / "kek" / "acme" / "_" / f"{old.kid}.jwk.json"
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(SealError, match=f"kek `{old.kid}` of tenant `acme` is not among the keys here"):
        aegis(w, "rewrap", "--as", "person:alice")
    path.write_bytes(kept)
    path.chmod(0o600)
    assert aegis(w, "rewrap", "--as", "person:alice")["data_keys"] == 2
    assert arguments(w, before) == {"amount": 1}


def test_what_an_earlier_version_wrapped_opens_and_is_wrapped_anew(tmp_path):
    keyfiles.create(tmp_path, "kek", "acme", "", now=START)
    keys, context = kekfiles.KekFiles(tmp_path), b"acme\0dek\0dek"
    (kek,) = kekfiles.listed(tmp_path, "acme")
    old = b"n" * 12 + seal_bytes(kek.key, b"n" * 12, b"k" * 32, context)
    kekfiles.rotate(tmp_path, "acme", now=START)
    assert keys.wrapped_by(old) == ""
    assert asyncio.run(keys.unwrap("acme", old, context)) == b"k" * 32
    wrapped = asyncio.run(keys.wrap("acme", b"k" * 32, context))
    assert keys.wrapped_by(wrapped) == asyncio.run(keys.kek_id("acme")) != kek.kid
    for damaged in (wrapped[:-1], wrapped[:4] + b"\0" * 16 + wrapped[20:], b"", old[:-1]):
        with pytest.raises(SealError):
            asyncio.run(keys.unwrap("acme", damaged, context))


def test_the_newest_kek_wraps_even_when_two_are_made_in_one_second(tmp_path):
    keyfiles.create(tmp_path, "kek", "acme", "", now=START)
    for _ in range(3):
        kid = kekfiles.rotate(tmp_path, "acme", now=START)
        assert kekfiles.newest(tmp_path, "acme").kid == kid
    with pytest.raises(ConfigError, match="aegis keys new kek --tenant globex"):
        kekfiles.rotate(tmp_path, "globex", now=START)


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"kty":"oct","kid":"aa","k":"AAAA"}', '{"kty":"oct","kid":7,"k":"AAAA","iat":"x"}']
)
def test_a_file_that_is_no_kek_is_refused_by_its_name(tmp_path, content):
    keyfiles.create(tmp_path, "kek", "acme", "", now=START)
    path = tmp_path / "kek" / "acme" / "_" / "broken.jwk.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"broken\.jwk\.json"):
        kekfiles.newest(tmp_path, "acme")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def store(request, tmp_path):
    from tests.store.homes import ready

    home = ready(request.param, tmp_path)
    yield await home.open()
    await home.close()


async def test_a_wrapped_key_is_replaced_only_when_it_is_the_one_that_was_read(store):
    for tenant in ("acme", "globex"):
        for number in range(3):
            await store.data_key(tenant, f"s{number}", (f"dek_{number}", b"old"))
    assert await store.data_keys("acme", limit=2) == (("dek_0", b"old"), ("dek_1", b"old"))
    assert await store.data_keys("acme", after="dek_1") == (("dek_2", b"old"),)
    assert await store.data_keys("nobody") == ()
    assert await store.rewrap("acme", "dek_0", b"old", b"new")
    assert not await store.rewrap("acme", "dek_0", b"old", b"newer")
    assert not await store.rewrap("acme", "dek_9", b"old", b"new")
    assert await store.data_key_by_id("acme", "dek_0") == b"new"
    assert await store.data_key_by_id("globex", "dek_0") == b"old"
    raced = await asyncio.gather(*(store.rewrap("acme", "dek_1", b"old", bytes([n])) for n in range(20)))
    assert sum(raced) == 1
