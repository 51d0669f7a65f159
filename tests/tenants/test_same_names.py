"""Equal names in two tenants never meet: not in a cache, not under a key, not in what is counted, used up, halted or revoked.

The laws are Hypothesis's: two tenants do the same things with the same ids in any order, and each sees what it would see alone.
"""

import asyncio
import shutil
import time
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.homes import START, Home, event, ready

from aegis.adapters import keyfiles
from aegis.adapters.kekfiles import KekFiles
from aegis.errors import AegisError, IdentityError, SealError
from aegis.identity.epoch import Revoked
from aegis.identity.token import mint
from aegis.identity.verify import Verifier
from aegis.journal.unit import Committed, Unit
from aegis.model.history import ALLOWED, Entry, Measure, Phase, Query
from aegis.runtime.vault import Vault
from identity import forge
from messages.post import Post

TENANTS = ("acme", "globex")
KEYS = {"acme": "sts", "globex": "sts of globex"}


def token(tenant, number):
    """One token of the same `jti`, agent, subject, roles and scopes in each tenant."""
    return mint(forge.access(tenant=tenant, token_id=f"tok_{number}"), forge.key_of(KEYS[tenant]))


Acts = st.lists(
    st.one_of(
        st.tuples(st.just("show"), st.sampled_from(TENANTS), st.integers(0, 2)),
        st.tuples(st.just("revoke token"), st.sampled_from(TENANTS), st.integers(0, 2)),
        st.tuples(st.just("revoke agent"), st.sampled_from(TENANTS), st.just(0)),
        st.tuples(st.just("revoke tenant"), st.sampled_from(TENANTS), st.just(0)),
    ),
    max_size=14,
)


def shown(verifier, tenant, number):
    try:
        found = verifier.access(token(tenant, number), now=forge.NOW)
    except IdentityError as error:
        return error.reason
    return found.tenant, found.token_id


@given(Acts)
def test_a_token_is_remembered_and_revoked_in_its_own_tenant_only(acts):
    """One verifier for both tenants answers as two verifiers that serve one tenant each."""
    both = Verifier(forge.KEYS, audience=forge.AUDIENCE)
    alone = {tenant: Verifier(forge.KEYS, audience=forge.AUDIENCE) for tenant in TENANTS}
    gone = {tenant: set() for tenant in TENANTS}
    for what, tenant, number in acts:
        if what == "show":
            assert shown(both, tenant, number) == shown(alone[tenant], tenant, number)
        elif what == "revoke token":
            gone[tenant].add((tenant, f"tok_{number}"))
            both.hold(Revoked(gone["acme"] | gone["globex"]))
            alone[tenant].hold(Revoked(gone[tenant]))
        else:
            who = {"revoke agent": {"who": "agent:planner"}, "revoke tenant": {}}[what]
            for verifier in (both, alone[tenant]):
                verifier.revoke(tenant, before=forge.NOW + timedelta(seconds=1), **who)
    for tenant in TENANTS:
        for number in range(3):
            assert shown(both, tenant, number) == shown(alone[tenant], tenant, number)


def with_store(place, work):
    async def run():
        home = Home("sqlite", str(place))
        try:
            return await work(await home.open())
        finally:
            await home.close()

    return asyncio.run(run())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TENANTS), st.sampled_from(["ev_1", "ev_2"]), st.binary(max_size=20)), max_size=8))
def test_sealed_bytes_of_equal_ids_open_in_their_own_tenant_only(tmp_path_factory, sealings):
    root = tmp_path_factory.mktemp("vault")
    for tenant in TENANTS:
        keyfiles.create(root / "keys", "kek", tenant, "", now=START)

    async def work(store):
        keys = KekFiles(root / "keys")
        for tenant in TENANTS:  # the same id of a data key in both
            wrapped = await keys.wrap(tenant, tenant.encode().ljust(32, b"k"), f"{tenant}\0dek_same\0dek".encode())
            await store.data_key(tenant, "", ("dek_same", wrapped))
        vault = Vault(store, keys)
        for tenant, event_id, plain in sealings:
            made = await vault.seal(tenant, event_id, "arguments", plain)
            assert made.key_id == "dek_same"
            assert await vault.open(tenant, made) == plain
            (other,) = {*TENANTS} - {tenant}
            for fresh in (vault, Vault(store, keys)):
                with pytest.raises(SealError):
                    await fresh.open(other, made)

    with_store(root / "store.db", work)


def test_a_data_key_that_is_copied_to_another_tenant_does_not_unwrap(tmp_path):
    for tenant in TENANTS:
        keyfiles.create(tmp_path / "keys", "kek", tenant, "", now=START)
    keys = KekFiles(tmp_path / "keys")
    wrapped = asyncio.run(keys.wrap("acme", b"k" * 32, b"acme\0dek\0dek"))
    assert asyncio.run(keys.unwrap("acme", wrapped, b"acme\0dek\0dek")) == b"k" * 32
    for tenant, context in (("globex", b"acme\0dek\0dek"), ("globex", b"globex\0dek\0dek"), ("acme", b"globex\0dek\0dek")):
        with pytest.raises(AegisError):
            asyncio.run(keys.unwrap(tenant, wrapped, context))


def test_even_under_one_key_what_is_sealed_for_a_tenant_is_sealed_for_it_alone(tmp_path):
    """Whoever copies key files and rows from one tenant to another has still only what does not open."""
    keyfiles.create(tmp_path / "keys", "kek", "acme", "", now=START)
    shutil.copytree(tmp_path / "keys/kek/acme", tmp_path / "keys/kek/globex")

    async def work(store):
        vault = Vault(store, KekFiles(tmp_path / "keys"))
        made = await vault.seal("acme", "ev_1", "arguments", b"plain")
        await store.data_key("globex", "", (made.key_id, await store.data_key_by_id("acme", made.key_id)))
        with pytest.raises(SealError):
            await vault.open("globex", made)
        vault._by_id.put("globex", made.key_id, vault._by_id.get("acme", made.key_id))
        with pytest.raises(SealError):
            await vault.open("globex", made)

    with_store(tmp_path / "store.db", work)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_what_is_remembered_of_equal_calls_is_counted_for_each_tenant(kind, tmp_path):
    async def run():
        home = ready(kind, tmp_path)
        store = await home.open()
        for tenant, number in (("acme", 0), ("globex", 0), ("acme", 1), ("acme", 2)):
            entry = Entry(id=f"req_{number}", tool="pay", at=START, phase=Phase.OPEN, agent="agent:a", fields={"amount": 5})
            said = await store.commit(Unit(tenant=tenant, events=(event(tenant, f"ev_{number}"),), remember=(entry,)))
            assert isinstance(said, Committed)
        query = Query(tool="pay", phases=ALLOWED, since=START, measure=Measure.SUM, of="amount", agent="agent:a")
        found = [(await store.measure(tenant, [query]))[0].number for tenant in (*TENANTS, "initech")]
        await home.close()
        return found

    assert asyncio.run(run()) == [15, 5, 0]


@pytest.fixture
def post(tmp_path, store_url):
    made = Post(tmp_path, store_url)
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_equal_keys_and_requests_are_each_tenants_own(post):
    w = post
    first = w.call("pay.honours", {"amount": 5}, "one-key", aegis_request_id="one-request").json()
    second = w.call(
        "pay.honours", {"amount": 5}, "one-key", w.token("agent:payer", "globex"), aegis_request_id="one-request"
    ).json()
    assert "repeat_of" not in second
    assert first["request_id"] == second["request_id"] == "one-request"
    assert len({request["headers"]["idempotency-key"] for request in w.tool.requests}) == 2, "the tool tells them apart too"
    for tenant in TENANTS:
        again = w.call("pay.honours", {"amount": 5}, "one-key", w.token("agent:payer", tenant)).json()
        assert again["repeat_of"] == "one-request"


def test_equal_messages_are_each_tenants_own(post):
    w = post
    sent = w.envelope(id="one-message")
    for tenant in TENANTS:
        assert w.post("/v1/messages", sent, w.as_agent("agent:payer", tenant)).status_code == 202
    taken = {tenant: w.take(tenant=tenant) for tenant in TENANTS}
    assert taken["acme"]["lease"] != taken["globex"]["lease"]
    assert w.ack({**taken["acme"], "lease": taken["globex"]["lease"]}).status_code in (404, 409)
    assert w.ack(taken["acme"]).status_code == 200
    assert w.ack(taken["globex"], tenant="globex").status_code == 200


def test_an_approval_in_one_tenant_approves_nothing_in_another(post):
    w = post
    held = {t: w.call("pay.honours", {"amount": 1500}, "k", w.token("agent:payer", t)).json()["approval_id"] for t in TENANTS}
    assert w.approve(held["acme"]).status_code == 200
    assert w.call("pay.honours", {"amount": 1500}, "k", w.token("agent:payer", "globex")).json()["code"] == "approval-needed"
    assert w.call("pay.honours", {"amount": 1500}, "k").status_code == 200


def test_a_halt_and_a_revocation_in_one_tenant_leave_the_other_alone(post):
    from gateway.test_halts import change

    w, mine = post, post.token()
    theirs = w.token("agent:payer", "globex")
    change(w, "agent:payer")
    end = time.monotonic() + 10
    while w.call("pay.honours", {"amount": 1}, f"h{time.monotonic_ns()}", mine).status_code == 200:
        assert time.monotonic() < end
    assert w.call("pay.honours", {"amount": 1}, "free", theirs).status_code == 200
    change(w, "agent:payer", lift=True)
    w.revoke_token(mine)
    while w.get("/v1/tools", mine).status_code != 401:
        assert time.monotonic() < end
    assert w.get("/v1/tools", theirs).status_code == 200
