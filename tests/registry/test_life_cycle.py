"""Push, promote, shadow, roll back: what a running gateway does about it, and what it refuses."""

import json

import msgspec
import pytest

from aegis.errors import BundleError, ConfigError
from aegis.journal.unit import Put, Unit
from aegis.model.event import SYSTEM_TENANT, Event
from aegis.policy.bundle import statement
from aegis.policy.bundle.statement import Activation, Pin
from aegis.runtime.registry_rows import ACTIVE, PART, Active
from aegis.runtime.rollout import Source
from registry.shipped import newest, promote, publisher, push, rollback, rules, run, shipped, status, text, within


def serves(w, number, tenant="acme"):
    within(15, lambda: status(w, tenant).enforced == number)


def journal(w, kind):
    return [event for event in w.events(tenant=SYSTEM_TENANT) if event["type"] == kind]


async def tamper(app, *puts, tenant=SYSTEM_TENANT):
    """Write rows behind the registry's back, as somebody with the database could."""
    now = app.gate.clock.now()
    events = (Event(id=f"tampered:{now.isoformat()}", type="test", tenant=tenant, time=now),)
    await app.gate.store.commit(Unit(tenant=tenant, events=events, writes=puts))


def active_row(active):
    return Put(kind=ACTIVE, id=active.tenant, body=msgspec.json.encode(active), state="active", lookup=active.tenant)


def test_a_version_decides_in_a_running_gateway_once_it_is_promoted(w):
    assert (status(w).source, rules(w)) == (Source.FILES, ["read.allow", "read.mask"])

    async def only_pushed(app):
        return await push(w, app, text(w, 1))

    assert run(w, only_pushed) == 1
    assert rules(w) == ["read.allow", "read.mask"]
    run(w, lambda app: promote(w, app, 1))
    serves(w, 1)
    assert rules(w) == ["read.mask", "read.v1"]
    made = newest(w)["policy"]
    assert (made["bundle"], made["version"], made["digest"]) == ("test-core", "1", status(w).digest)
    assert status(w, "globex").source is Source.FILES
    assert rules(w, "globex") == ["read.allow", "read.mask"]


def test_a_rollback_is_the_same_version_under_a_higher_counter(w):
    for number in (1, 2):
        assert shipped(w, text(w, number)) == number
    serves(w, 2)
    before = status(w).digest
    made = run(w, lambda app: rollback(w, app))
    assert (made.enforced.number, made.counter) == (1, 3)
    serves(w, 1)
    assert rules(w) == ["read.mask", "read.v1"]
    run(w, lambda app: promote(w, app, 2))
    serves(w, 2)
    assert (status(w).digest, status(w).counter) == (before, 4)
    with pytest.raises(ConfigError, match="not older"):
        run(w, lambda app: rollback(w, app, 2))
    assert [(e["counter"], e["enforced"]["number"]) for e in journal(w, "policy_activated")] == [(1, 1), (2, 2), (3, 1), (4, 2)]
    assert w.fsck() == []


def test_what_is_active_is_served_after_a_restart_and_the_files_are_not(w):
    shipped(w, text(w, 1))
    w.stop()
    path = w.root / "tenants/acme/policy.yaml"
    path.write_text(text(w, 77))
    w.start()
    assert (status(w).source, rules(w)) == (Source.REGISTRY, ["read.mask", "read.v1"])
    path.unlink()
    w.stop()
    w.start()
    assert rules(w) == ["read.mask", "read.v1"]


def test_a_revision_in_shadow_is_recorded_beside_the_one_that_decides(w):
    shipped(w, text(w, 1))
    shipped(w, text(w, 2, **{"effect: allow, tools: [records_read]": "effect: deny, tools: [records.read]"}), shadow=True)
    within(15, lambda: status(w).shadow == 2)
    assert rules(w) == ["read.mask", "read.v1"]
    found = newest(w)
    assert (found["decision"], found["shadow"]["would_be"]) == ("sanitize", "deny")
    assert set(found["shadow"]["rules"]) == {"shadow-revision", "read.v2", "read.mask"}
    run(w, lambda app: promote(w, app, 2))
    serves(w, 2)
    assert (status(w).shadow, rules(w)) == (0, ["read.mask", "read.v2"])


def test_a_revision_in_shadow_that_says_nothing_would_deny(on_sqlite):
    w = on_sqlite
    shipped(w, text(w, 1, **{"tools: [records_read]}": "tools: [records.read], when: {agent.id: {eq: nobody}}}"}), shadow=True)
    within(15, lambda: status(w).shadow == 1)
    assert rules(w) == ["read.allow", "read.mask"]
    assert newest(w)["shadow"] == {"rules": ["read.mask", "shadow-revision"], "would_be": "deny"}
    assert status(w).source is Source.FILES


def test_a_set_that_says_shadow_itself_is_promoted_in_shadow(on_sqlite):
    w = on_sqlite
    shadow = text(w, 2).replace("timezone: UTC", "timezone: UTC\n  mode: shadow")
    shipped(w, text(w, 1))
    shipped(w, shadow)
    within(15, lambda: status(w).shadow == 2)
    assert (status(w).enforced, rules(w)) == (1, ["read.mask", "read.v1"])


@pytest.mark.parametrize(("own", "decision", "would_be"), [(True, "allow", "deny"), (False, "deny", "sanitize")])
def test_with_nothing_enforced_and_no_files_only_a_set_that_is_in_shadow_by_itself_lets_pass(on_sqlite, own, decision, would_be):
    w = on_sqlite
    denies = text(w, 1, **{"effect: allow, tools: [records_read]": "effect: deny, tools: [records.read]"})
    shipped(w, denies.replace("timezone: UTC", "timezone: UTC\n  mode: shadow") if own else text(w, 1), shadow=True)
    w.stop()
    (w.root / "tenants/acme/policy.yaml").unlink()
    w.start()
    assert rules(w) == (["shadow-set"] if own else ["policy#missing"])
    assert (newest(w)["decision"], newest(w)["shadow"]["would_be"]) == (decision, would_be)


def test_a_tenant_that_was_denied_gets_its_files_back_with_a_good_revision_in_shadow(on_sqlite):
    w = on_sqlite
    shipped(w, text(w, 1), shadow=True)
    row = run(w, lambda app: app.rollout.registry.active_of("acme"))
    run(w, lambda app: tamper(app, active_row(msgspec.structs.replace(row, envelope=""))))
    w.stop()
    w.start()
    assert w.call("records.read", {"id": "r1"}).json()["rule"] == "policy#missing"
    run(w, lambda app: promote_over(w, app))
    within(15, lambda: status(w).shadow == 1)
    assert rules(w) == ["read.allow", "read.mask"]
    assert status(w).source is Source.FILES


async def promote_over(w, app):
    """A revision in shadow beside nothing, whatever the damaged row says."""
    from aegis.runtime.registry_rows import Signed

    pin = Pin(number=1, sha256=(await app.rollout.registry.version("acme", 1)).release.sha256)

    def made(_, now):
        found = Activation(tenant="acme", counter=2, mode="shadow", enforced=None, shadow=pin, by="x", reason="", time=now)
        return Signed(found, statement.sign(found, publisher(w)))

    await app.rollout.registry.activate("acme", made)


def test_a_tenant_without_files_and_without_versions_stops_the_start(on_sqlite):
    w = on_sqlite
    w.stop()
    (w.root / "tenants/acme/policy.yaml").unlink()

    async def starts(app):
        with pytest.raises(ConfigError, match=r"policy\.yaml: not found"):
            await app.start()

    run(w, starts)


def test_a_row_that_was_put_back_to_an_older_activation_is_refused_and_the_newer_goes_on(w):
    shipped(w, text(w, 1))
    first = run(w, lambda app: app.rollout.registry.active_of("acme"))
    shipped(w, text(w, 2))
    serves(w, 2)
    run(w, lambda app: tamper(app, active_row(first)))
    within(15, lambda: status(w).refused)
    assert "rollback" in status(w).refused[0]
    assert rules(w) == ["read.mask", "read.v2"]
    assert journal(w, "policy_refused")[-1]["reason"] == "rollback"
    w.stop()
    w.start()  # the memory of this process is gone: the journal still tells that the row is not the newest
    assert status(w).source is Source.NOBODY
    assert w.call("records.read", {"id": "r1"}).json()["rule"] == "policy#missing"
    assert rules(w, "globex") == ["read.allow", "read.mask"]
    run(w, lambda app: promote(w, app, 2))
    serves(w, 2)
    assert rules(w) == ["read.mask", "read.v2"]


def test_an_activation_that_is_gone_does_not_hand_the_tenant_back_to_its_files(w):
    from aegis.journal.unit import Delete

    shipped(w, text(w, 1))
    serves(w, 1)
    run(w, lambda app: tamper(app, Delete(kind=ACTIVE, id="acme")))
    within(15, lambda: status(w).refused)
    assert rules(w) == ["read.mask", "read.v1"]
    w.stop()
    w.start()
    assert w.call("records.read", {"id": "r1"}).json()["rule"] == "policy#missing"


def test_an_activation_or_bundle_of_another_tenant_never_loads(w):
    shipped(w, text(w, 1, "globex"), "globex")
    shipped(w, text(w, 1))
    serves(w, 1)

    async def moved(app):
        """The rows of globex under the name of acme, and a later counter than any that acme has seen."""
        registry, key = app.rollout.registry, publisher(w, "globex")
        found = await registry.active_of("globex")
        await tamper(app, active_row(msgspec.structs.replace(found, tenant="acme")))
        await until_refused("acme")
        pin = app.rollout.candidates.activation(found).enforced
        forged = Activation(
            tenant="acme", counter=9, mode="enforce", enforced=pin, shadow=None, by="x", reason="", time=app.gate.clock.now()
        )
        await tamper(app, active_row(Active(tenant="acme", counter=9, envelope=statement.sign(forged, key))))

    async def until_refused(tenant):
        import asyncio

        while not status(w, tenant).refused:
            await asyncio.sleep(0.02)

    run(w, moved)
    within(15, lambda: any("activation 9" in told for told in status(w).refused))
    assert "wrong_tenant" in status(w).refused[0]
    assert rules(w) == ["read.mask", "read.v1"]
    assert rules(w, "globex") == ["read.mask", "read.v1"]


def test_a_bundle_that_was_changed_in_the_store_is_refused_and_the_old_one_goes_on(w, caplog):
    shipped(w, text(w, 1))
    serves(w, 1)

    async def swapped(app):
        """Version 2, whose bytes are then replaced by those of version 1, before it is activated by hand."""
        number = await push(w, app, text(w, 2))
        registry = app.rollout.registry
        rows = await app.gate.store.rows("acme", [(PART, "0000000001.0000")])
        body = rows[PART, "0000000001.0000"].body
        await tamper(app, Put(kind=PART, id="0000000002.0000", body=body), tenant="acme")
        with pytest.raises(BundleError):
            await promote(w, app, number)
        version = await registry.version("acme", number)
        await activate(w, app, Pin(number=number, sha256=version.release.sha256))

    run(w, swapped)
    within(15, lambda: status(w).refused)
    assert "release" in status(w).refused[0]
    assert "policy refused: activation 2: release: the bundle is not the one that was released" in caplog.messages
    assert rules(w) == ["read.mask", "read.v1"]
    refused = journal(w, "policy_refused")
    assert [(e["on_tenant"], e["what"], e["reason"]) for e in refused] == [("acme", "activation-2", "release")]
    assert 'aegis_policy_refused{tenant="acme"} 1.0' in w.watch("/metrics").text
    shipped(w, text(w, 3))
    serves(w, 3)
    assert status(w).refused == ()
    assert 'aegis_policy_refused{tenant="acme"} 0.0' in w.watch("/metrics").text


async def activate(w, app, pin):
    """An activation that nobody tried before."""
    from aegis.runtime.registry_rows import Signed

    def made(former, now):
        counter = (former.counter if former else 0) + 1
        found = Activation(
            tenant="acme", counter=counter, mode="enforce", enforced=pin, shadow=None, by="person:alice", reason="", time=now
        )
        return Signed(found, statement.sign(found, publisher(w)))

    await app.rollout.registry.activate("acme", made)


BROKEN = "\n  tests:\n    - {name: fails, input: {tool: records.read}, expect: {outcome: deny}}\n"


def test_a_set_whose_own_tests_fail_is_not_stored(on_sqlite):
    w = on_sqlite
    with pytest.raises(BundleError, match="1 of its own tests"):
        shipped(w, text(w, 1) + BROKEN)
    assert run(w, lambda app: app.rollout.registry.last("acme")) == 0


def test_versions_are_immutable_and_numbered_without_gaps_however_many_push(w):
    import asyncio

    async def race(app):
        return await asyncio.gather(*(push(w, app, text(w, 1)) for _ in range(6)))

    assert sorted(run(w, race)) == [1, 2, 3, 4, 5, 6]
    releases = run(w, lambda app: app.rollout.registry.versions("acme"))
    assert [each.release.number for each in releases] == [1, 2, 3, 4, 5, 6]
    assert w.fsck() == []


def test_only_a_publishers_key_that_is_in_use_activates(on_sqlite):
    from datetime import timedelta

    from aegis.adapters import keyfiles
    from aegis.policy.bundle.bundle import load
    from aegis.runtime import shipping
    from registry.shipped import WHO, bundle

    w = on_sqlite
    shipped(w, text(w, 1))
    serves(w, 1)
    old = publisher(w)
    keyfiles.retire(w.keys, old.kid, now=w.hand())

    async def signed_by_the_old_key(app):
        with pytest.raises(BundleError):  # what it signed before is worth nothing either
            await promote(w, app, 1)

    with pytest.raises(ConfigError):
        publisher_in_use(w)
    run(w, signed_by_the_old_key)
    assert rules(w) == ["read.mask", "read.v1"]  # a process that has verified it goes on
    keyfiles.rotate(w.keys, "publisher", "acme", "", now=w.hand(), overlap=timedelta(0))

    async def signed_by_a_new_key(app):
        key = publisher_in_use(w)
        packed = bundle(w, app, text(w, 2))
        found = load(packed, tenant="acme", keys=keyfiles.load_public(w.keys).bundle_keys("acme", w.hand()))
        made = await shipping.push(app.rollout, found, packed, author="person:alice", message="m", key=key)
        await shipping.promote(app.rollout, "acme", made.number, shadow=False, key=key, **WHO)

    run(w, signed_by_a_new_key)
    serves(w, 2)


def publisher_in_use(w):
    from aegis.adapters import keyfiles

    return keyfiles.load_private(w.keys, "publisher", "acme", "", now=w.hand())


def test_a_row_that_cannot_be_read_concerns_its_tenant_only(on_sqlite):
    w = on_sqlite
    run(w, lambda app: tamper(app, Put(kind=ACTIVE, id="acme", body=b'{"tenant":"globex"}', state="active", lookup="acme")))
    within(15, lambda: status(w).refused)
    assert "envelope" in status(w).refused[0]
    assert rules(w) == ["read.allow", "read.mask"]
    shipped(w, text(w, 1, "globex"), "globex")
    within(15, lambda: status(w, "globex").enforced == 1)


def test_an_activation_that_would_enforce_nothing_any_more_is_refused(on_sqlite):
    from aegis.runtime.registry_rows import Signed

    w = on_sqlite
    shipped(w, text(w, 1))
    serves(w, 1)

    async def nothing(app):
        pin = app.rollout.candidates.activation(await app.rollout.registry.active_of("acme")).enforced

        def made(former, now):
            found = Activation(
                tenant="acme", counter=former.counter + 1, mode="shadow", enforced=None, shadow=pin, by="x", reason="", time=now
            )
            return Signed(found, statement.sign(found, publisher(w)))

        await app.rollout.registry.activate("acme", made)

    run(w, nothing)
    within(15, lambda: status(w).refused)
    assert rules(w) == ["read.mask", "read.v1"]


def test_a_large_bundle_is_stored_in_parts(on_sqlite, monkeypatch):
    from aegis.runtime import registry_rows

    monkeypatch.setattr(registry_rows, "PART_BYTES", 100)
    w = on_sqlite
    shipped(w, text(w, 1))
    serves(w, 1)
    version = run(w, lambda app: app.rollout.registry.version("acme", 1))
    assert version.parts == -(-version.size_bytes // 100) > 20


def test_every_change_stands_in_the_journal_with_the_signed_statement(on_sqlite):
    w = on_sqlite
    shipped(w, text(w, 1))
    pushed = next(event for event in w.events() if event["type"] == "policy_pushed")
    activated = journal(w, "policy_activated")[0]
    for event, kind in ((pushed, statement.RELEASE), (activated, statement.ACTIVATION)):
        assert json.loads(event["envelope"])["payloadType"] == kind
    assert (pushed["number"], activated["enforced"]) == (1, {"number": 1, "sha256": pushed["sha256"]})


def test_a_store_that_was_put_back_whole_does_not_take_a_running_gateway_back(on_sqlite):
    """Rows and journal agree with each other, but this process has seen more."""
    from aegis.app import open_store
    from aegis.runtime.registry import Registry
    from registry.shipped import opened

    w = on_sqlite

    async def restored(app):
        for number in (1, 2):
            await push(w, app, text(w, number))
            await promote(w, app, number)
            await app.rollout.refresh()
        older = msgspec.structs.replace(w.settings, store=msgspec.structs.replace(w.settings.store, url="sqlite:data/older.db"))
        store = await open_store(older, app.gate.clock)
        there = Registry(store, app.gate.clock)
        try:
            async with opened(w) as other:
                other.rollout.registry = there
                await push(w, other, text(w, 1))
                await promote(w, other, 1)
            app.rollout.registry = there
            await app.rollout.refresh()
        finally:
            await store.close()
        return app.gate.tenant("acme").enforced.number, next(s for s in app.rollout.status() if s.tenant == "acme").refused

    number, refused = run(w, restored)
    assert number == 2
    assert "expected a counter above 2" in refused[0]


def test_an_older_version_in_the_place_of_a_newer_one_is_refused(on_sqlite):
    """Release and bundle fit each other and are signed, but they are not the ones that the activation names."""
    from aegis.runtime.registry_rows import VERSION

    w = on_sqlite

    async def replaced(app):
        for number in (1, 2):
            await push(w, app, text(w, number))
        refs = [(VERSION, "0000000001"), (PART, "0000000001.0000")]
        rows = await app.gate.store.rows("acme", refs)
        pin = Pin(number=2, sha256=(await app.rollout.registry.version("acme", 2)).release.sha256)
        puts = [Put(kind=kind, id=name.replace("1", "2", 1), body=rows[kind, name].body) for kind, name in refs]
        await tamper(app, *puts, tenant="acme")
        await activate(w, app, pin)

    run(w, replaced)
    within(15, lambda: status(w).refused)
    assert "the release is not the one" in status(w).refused[0]
    assert rules(w) == ["read.allow", "read.mask"]


@pytest.mark.parametrize(
    "wrong", [{"policy_digest": "sha256:00"}, {"tenant": "globex"}], ids=["another digest", "another tenant's set"]
)
def test_a_signed_bundle_that_does_not_compile_to_what_it_says_is_refused(on_sqlite, wrong):
    from aegis.adapters import keyfiles
    from aegis.policy.bundle import bundle as bundles
    from aegis.runtime import shipping

    w = on_sqlite
    policy = text(w, 1, wrong.get("tenant", "acme"))

    async def pushed(app):
        from aegis.policy.language import load

        compiled = load(policy, source="t")
        packed = bundles.build(
            tenant="acme",
            name="core",
            policy_digest=wrong.get("policy_digest", compiled.digest),
            sources=bundles.Sources(policy=policy),
            target=bundles.Target(modules={}, data={}),
            key=keyfiles.load_bundle_key(w.keys, "acme"),
        )
        found = bundles.load(packed, tenant="acme", keys=keyfiles.load_public(w.keys).bundle_keys("acme", w.hand()))
        await shipping.push(app.rollout, found, packed, author="x", message="m", key=publisher(w))

    with pytest.raises(BundleError) as caught:
        run(w, pushed)
    assert caught.value.reason == "compile"


def test_people_who_promote_at_the_same_moment_get_counters_one_after_the_other(w):
    import asyncio

    async def race(app):
        for number in (1, 2, 3):
            await push(w, app, text(w, number))
        made = await asyncio.gather(*(promote(w, app, number) for number in (1, 2, 3, 1, 2)))
        return sorted(each.counter for each in made), max(made, key=lambda each: each.counter).enforced.number

    counters, last = run(w, race)
    assert counters == [1, 2, 3, 4, 5]
    serves(w, last)
    assert status(w).refused == ()
