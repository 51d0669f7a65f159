"""Dead letters: kept with their reason, bounded, sealed, and settled by people on the record."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis.errors import ConfigError
from aegis.runtime.letters import MAX_REFUSED, MAX_SEALED

BY = {"by": "person:alice", "statement": "signed"}


def test_what_never_was_a_message_is_kept_once_for_each_source_and_id(post):
    unknown, version, misfit = (
        post.envelope("nothing.such"),
        post.envelope(version="7.0.0"),
        post.envelope(data={"sku": "secret-sku"}),
    )
    for envelope in (unknown, version, misfit, unknown, misfit):
        assert post.post("/v1/messages", envelope).status_code == 422
    found = {dead.reason: dead for dead in post.dead()}
    assert len(post.dead()) == 3
    assert set(found) == {"unknown_type", "unknown_version", "data_does_not_fit"}
    assert found["data_does_not_fit"].detail == "`args.data.amount`: required member is missing"
    assert all((dead.state, dead.sender) == ("refused", "agent:payer") for dead in found.values())
    assert "secret-sku" not in json.dumps(post.events())
    opened = post.inside(lambda app: app.messages.letters.opened("acme", found["data_does_not_fit"], **BY))
    assert opened == misfit
    assert post.of_type("dead_letter_read")[0]["by"] == "person:alice"
    assert post.fsck() == []


def test_an_agent_cannot_fill_the_store_with_refused_messages(post):
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda _: post.send("nothing.such"), range(MAX_REFUSED + 5)))
    assert {each.status_code for each in told} == {422}
    while len(post.dead()) < MAX_REFUSED:  # under a flood one may find no room in time; it is refused all the same
        post.send("nothing.such")
    for _ in range(5):
        post.send("nothing.such")
    assert len(post.dead()) == MAX_REFUSED
    assert len(post.of_type("refusal")) >= MAX_REFUSED + 10
    assert post.send("nothing.such", token=post.as_agent("agent:payer", "globex")).status_code == 422
    assert len(post.dead("globex")) == 1


def test_a_large_refused_message_is_told_of_and_not_kept(post):
    post.send("nothing.such", data={"text": "x" * MAX_SEALED})
    (dead,) = post.dead()
    assert (dead.event, dead.size_bytes > MAX_SEALED) == ("", True)
    assert post.inside(lambda app: app.messages.letters.opened("acme", dead, **BY)) is None


def test_a_refused_message_cannot_be_put_back(post):
    post.send("nothing.such")
    (dead,) = post.dead()
    with pytest.raises(ConfigError, match="was never permitted"):
        post.inside(lambda app: app.messages.letters.requeue(app.gate.tenant("acme"), dead.id, reason="try", **BY))


def test_an_undelivered_message_is_put_back_whole_and_delivered(post):
    sent = post.send(version="2.0.0", data={"sku": "A", "count": 1})
    assert post.lease(accept="1.2").json()["code"] == "version-mismatch"
    (dead,) = post.dead()
    post.inside(lambda app: app.messages.letters.requeue(app.gate.tenant("acme"), dead.id, reason="store is upgraded", **BY))
    assert post.dead() == ()
    taken = post.take(accept="2.0")
    assert (taken["message_id"], taken["deliveries"]) == (sent.json()["messages"][0]["id"], 1)
    assert taken["event"]["data"] == {"sku": "A", "count": 1}
    assert post.ack(taken).status_code == 200
    (event,) = post.of_type("dead_letter_requeued")
    assert (event["by"], event["why"]) == ("person:alice", "store is upgraded")
    with pytest.raises(ConfigError, match="no dead letter"):
        post.inside(lambda app: app.messages.letters.discard("acme", dead.id, reason="again", **BY))


def test_a_letter_of_another_tenant_is_not_there(post):
    post.send("nothing.such")
    (dead,) = post.dead()
    assert post.inside(lambda app: app.messages.letters.find("globex", dead.id)) is None
    with pytest.raises(ConfigError, match="no dead letter"):
        post.inside(lambda app: app.messages.letters.discard("globex", dead.id, reason="x", **BY))
    post.inside(lambda app: app.messages.letters.discard("acme", dead.id, reason="x", **BY))
    assert post.dead() == ()


def test_a_message_whose_key_was_destroyed_is_dead_and_not_leased(post):
    post.send()

    async def destroy(app):
        found = await app.messages.listed("acme")
        payload = await app.gate.store.payload("acme", found[0].event, "message")
        return payload.key_id

    key_id = post.inside(destroy)
    _erase(post, key_id)
    post.stop()
    post.start()
    assert post.take() is None
    assert post.dead()[0].reason == "unreadable"


def _erase(post, key_id):
    url = post.settings.store.url
    statement = f"UPDATE data_key SET wrapped = NULL WHERE key_id = '{key_id}'"
    if url.startswith("sqlite:"):
        import sqlite3

        with sqlite3.connect(post.settings.sqlite_path) as db:
            db.execute(statement)
        return
    import psycopg

    with psycopg.connect(url) as db:
        db.execute(statement)
