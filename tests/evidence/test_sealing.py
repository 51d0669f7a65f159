"""Each second, what was committed is signed; what is not what was committed is not."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from tests.store.homes import event

from aegis.adapters.anchor import Anchor
from aegis.crypto import jwk, note
from aegis.crypto.merkle import Frontier, leaf_hash, verify_consistency, verify_inclusion
from aegis.errors import ConfigError, CorruptStoreError
from aegis.journal import checkpoint, proofs
from aegis.journal.unit import Unit
from aegis.model.event import SYSTEM_TENANT, origin
from aegis.runtime.clock import Clock
from aegis.runtime.sealing import Sealer

KEY = jwk.private_key(bytes(range(32)))
AGE = timedelta(seconds=5)


def sealer(store, tmp_path, *, clock=None, key=lambda *_: KEY):
    return Sealer(store, clock or Clock(), key, Anchor(tmp_path / "anchor"), None, "gw", AGE)


class Moving(Clock):
    """A clock that a test moves."""

    def __init__(self):
        super().__init__()
        self.ahead = timedelta(0)

    def now(self):
        return super().now() + self.ahead


async def fill(store, tenant, count, start=0):
    for at in range(start, start + count, 50):
        events = tuple(event(tenant, f"{tenant}-{n}") for n in range(at, min(at + 50, start + count)))
        await store.commit(Unit(tenant=tenant, events=events))


async def leaves(store, tenant):
    found, after = [], -1
    while events := await store.events(tenant, after=after):
        found += [leaf_hash(each.body) for each in events]
        after = events[-1].seq
    return found


def said(text):
    signed = note.parse(text if isinstance(text, bytes) else text.encode())
    made = checkpoint.parse(signed.text)
    assert note.verified(signed, [note.Verifier(made.origin, KEY.public)])
    return made


async def test_a_checkpoint_names_the_root_over_every_event(home, tmp_path):
    store = await home.open()
    sealing = sealer(store, tmp_path)
    for count in (1, 255, 1, 300, 70_000 // 100):
        await fill(store, "acme", count, len(await leaves(store, "acme")))
        await sealing.seal()
        found = said((await sealing.sealed("acme")).note)
        expected = Frontier().extend(await leaves(store, "acme"))
        assert (found.origin, found.size, found.root) == (origin("acme"), expected.size, expected.root)
        assert said(Anchor(tmp_path / "anchor").note(origin("acme"))) == found
    assert await store.fsck() == ()


async def test_the_operators_log_holds_every_note_and_is_sealed_itself(home, tmp_path):
    store = await home.open()
    sealing = sealer(store, tmp_path)
    await fill(store, "acme", 3)
    await fill(store, "globex", 2)
    await sealing.seal()
    (recorded,) = await store.events(SYSTEM_TENANT)
    body = msgspec.json.decode(recorded.body)
    assert {each["on_tenant"]: said(each["note"]).size for each in body["checkpoints"]} == {"acme": 3, "globex": 2}
    assert said((await sealing.sealed(SYSTEM_TENANT)).note).size == 1
    await sealing.seal()
    assert len(await store.events(SYSTEM_TENANT)) == 1, "a log that stands still is not sealed again"


async def test_proofs_from_tiles_hold_for_every_event_and_size(home, tmp_path):
    store = await home.open()
    sealing = sealer(store, tmp_path)
    await fill(store, "acme", 700)
    await sealing.seal()
    tree = await leaves(store, "acme")
    roots = {size: Frontier().extend(tree[:size]).root for size in (1, 2, 255, 256, 257, 511, 512, 699, 700)}
    for size, root in roots.items():
        assert await proofs.root(store, "acme", size) == root
        for index in {0, size // 2, size - 1}:
            path = await proofs.inclusion(store, "acme", index, size)
            assert verify_inclusion(tree[index], index, size, path, root)
        for old, old_root in roots.items():
            if old <= size:
                assert verify_consistency(old, old_root, size, root, await proofs.consistency(store, "acme", old, size))


async def test_another_process_goes_on_where_the_first_has_sealed(home, tmp_path):
    store = await home.open()
    await fill(store, "acme", 600)
    await sealer(store, tmp_path).seal()
    await fill(store, "acme", 200, 600)
    sealing = sealer(store, tmp_path)
    await sealing.seal()
    assert said((await sealing.sealed("acme")).note).root == Frontier().extend(await leaves(store, "acme")).root


async def test_processes_that_seal_at_once_never_contradict_each_other(home, tmp_path):
    store = await home.open()
    sealers = [sealer(store, tmp_path) for _ in range(4)]
    for turn in range(12):
        await fill(store, "acme", 7, turn * 7)
        await asyncio.gather(*(each.seal() for each in sealers), fill(store, "globex", 3, turn * 3))
    await sealers[0].seal()
    assert said((await sealers[0].sealed("acme")).note).size == 84
    sizes = [said(each["note"]).size for each in await notes_on(store, "acme")]
    assert sizes == sorted(set(sizes)), "no checkpoint twice, none goes back"


async def notes_on(store, tenant):
    bodies = [msgspec.json.decode(each.body) for each in await store.events(SYSTEM_TENANT)]
    return [each for body in bodies for each in body.get("checkpoints", ()) if each["on_tenant"] == tenant]


@pytest.mark.parametrize("at", [2, 12])
async def test_an_event_changed_after_its_commit_is_not_signed(home, tmp_path, at):
    store = await home.open()
    sealing = sealer(store, tmp_path)
    await fill(store, "acme", 10)
    await sealing.seal()
    await fill(store, "acme", 10, 10)
    body = (await store.events("acme"))[at].body.replace(b"acme-", b"evil-")
    change(home, "acme", at, body)
    fresh = sealer(store, tmp_path)
    with pytest.raises(CorruptStoreError, match="acme"):
        await fresh.seal()
    assert said((await fresh.sealed("acme")).note).size == 10


def change(home, tenant, seq, body):
    text = body.hex()
    literal = f"x'{text}'" if home.kind == "sqlite" else f"'\\x{text}'"
    home.sql(f"UPDATE event SET body = {literal} WHERE tenant = '{tenant}' AND seq = {seq}")


async def test_a_store_that_is_older_than_the_anchor_says_is_not_served(home, tmp_path):
    store = await home.open()
    sealing = sealer(store, tmp_path)
    await fill(store, "acme", 10)
    await sealing.seal()
    await sealing.check()
    home.sql("DELETE FROM event WHERE seq >= 8", "UPDATE head SET next = 8")
    with pytest.raises(CorruptStoreError, match="holds 8 events, but 10 were sealed"):
        await sealer(store, tmp_path).check()


async def test_a_store_with_another_history_than_the_anchor_says_is_not_served(home, tmp_path):
    store = await home.open()
    await fill(store, "acme", 10)
    await sealer(store, tmp_path).seal()
    change(home, "acme", 4, (await store.events("acme"))[4].body.replace(b"acme-", b"evil-"))
    with pytest.raises(CorruptStoreError, match="not those that were sealed"):
        await sealer(store, tmp_path).check()


async def test_a_turn_seals_once_a_second_and_at_once_when_somebody_answered(home, tmp_path):
    store, clock = await home.open(), Moving()
    sealing = sealer(store, tmp_path, clock=clock)
    await fill(store, "acme", 1)
    await sealing.turn()
    await fill(store, "acme", 1, 1)
    await sealing.turn()
    assert (await sealing.sealed("acme")).size == 1
    sealing.soon()
    await sealing.turn()
    assert (await sealing.sealed("acme")).size == 2
    await fill(store, "acme", 1, 2)
    clock.ahead = timedelta(seconds=2)
    await sealing.turn()
    assert (await sealing.sealed("acme")).size == 3


async def test_events_that_nobody_signs_are_an_alarm_and_the_gap_is_recorded_when_it_ends(home, tmp_path):
    keys = []

    def key(tenant, now):
        if not keys:
            raise ConfigError("no key")
        return keys[0]

    store, clock = await home.open(), Moving()
    sealing = sealer(store, tmp_path, clock=clock, key=key)
    await fill(store, "acme", 3)
    with pytest.raises(ConfigError):
        await sealing.turn()
    clock.ahead = 2 * AGE
    assert any("acme" in alarm for alarm in sealing.alarms())
    with pytest.raises(ConfigError):
        await sealing.turn()
    keys.append(KEY)
    await sealing.seal()
    assert sealing.alarms() == []
    bodies = [msgspec.json.decode(each.body) for each in await store.events(SYSTEM_TENANT)]
    assert [[gap["on_tenant"] for gap in body["gaps"]] for body in bodies if body["type"] == "checkpoint_gap"] == [["acme"]]


async def test_an_anchor_that_was_taken_away_leaves_a_trace(home, tmp_path):
    store = await home.open()
    await fill(store, "acme", 3)
    first = sealer(store, tmp_path)
    await first.check()
    await first.seal()
    (tmp_path / "anchor" / "notes.log").unlink()
    again = sealer(store, tmp_path)
    await again.check()
    await again.check()
    bodies = [msgspec.json.decode(each.body) for each in await store.events(SYSTEM_TENANT)]
    begun = [body["logs"] for body in bodies if body["type"] == "anchor_begun"]
    assert [{each["on_tenant"]: each["size"] for each in logs} for logs in begun] == [{"acme": 3, SYSTEM_TENANT: 1}]
    await again.seal()
    assert await store.fsck() == ()
