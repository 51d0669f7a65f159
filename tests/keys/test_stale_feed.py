"""A store that stops answering: nobody knows what was revoked, so nothing new is allowed, issued or approved."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from aegis.model.event import SYSTEM_TENANT
from aegis.runtime import halts
from authority.agents import Bot, with_keys
from keys.seen import aegis, everywhere, jti, until


@contextlib.contextmanager
def deaf(gateway):
    """The store no longer answers what is asked about the system tenant; everything else goes on."""
    store = gateway.app.gate.store
    real, heard = store.find, asyncio.Event()

    async def find(tenant, *args, **named):
        if tenant == SYSTEM_TENANT:
            await heard.wait()
        return await real(tenant, *args, **named)

    store.find = find
    try:
        yield
    finally:
        store.find = real
        gateway.app.following._tasks[0].get_loop().call_soon_threadsafe(heard.set)


@pytest.fixture
def granted(w):
    """An approval that was granted, and one that waits."""
    granted = w.call("pay.honours", {"amount": 1500}, "granted").json()["approval_id"]
    w.approve(granted)
    return granted, w.call("pay.honours", {"amount": 1600}, "waiting").json()["approval_id"]


def test_while_the_feed_is_stale_nothing_is_allowed_issued_or_approved_but_reading_goes_on(w, granted, monkeypatch):
    monkeypatch.setattr(halts, "STALE", timedelta(seconds=1))
    granted, waiting = granted
    with_keys(w)
    until(lambda: Bot(w, "agent:desk").ask().status_code == 200)
    desk = Bot(w, "agent:desk").get()
    handed = desk.delegated("agent:payer", scopes=["pay.honours"])["delegation"]
    card = w.get(f"/v1/approvals/{waiting}", w.person_token()).json()

    def answered():
        return w.post(f"/v1/approvals/{waiting}/answer", {"statement": w.statement(card)}, w.person_token())

    with deaf(w):
        until(lambda: w.app.gate.halts.stale)
        told = w.call("records.read", {"id": "x"})
        assert (told.status_code, told.json()["rule"]) == (403, "facts#halts")
        for told in (w.get(f"/v1/approvals/{granted}"), answered()):
            assert (told.status_code, told.json()["code"]) == (503, "store-unavailable")
        for told in (Bot(w, "agent:desk").ask(), Bot(w, "agent:payer").ask(delegation=handed)):
            assert (told.status_code, told.json()["code"]) == (503, "store-unavailable")
        told = desk.hand("agent:payer", scopes=["pay.honours"])
        assert (told.status_code, told.json()["rule"]) == (403, "facts#halts")
        assert w.get("/v1/tools").status_code == 200
        assert w.get(f"/v1/approvals/{waiting}", w.person_token()).status_code == 200
        assert "halts" in w.get("/readyz").text
    until(lambda: not w.app.gate.halts.stale)
    assert w.call("records.read", {"id": "x"}).status_code == 200
    assert "override_token" in w.get(f"/v1/approvals/{granted}").json()
    assert answered().status_code == 200
    assert Bot(w, "agent:payer").ask(delegation=handed).status_code == 200
    assert not w.tool.done


def test_what_was_revoked_while_the_feed_stood_still_is_refused_once_it_goes_on(w, monkeypatch):
    (w.root / "aegis.toml").write_text(f'[store]\nurl = "{w.settings.store.url}"\n')
    token = w.token()
    everywhere([w], token, "")
    with deaf(w):
        aegis(w, "revoke", "--token", jti(token), "--reason", "drill", "--as", "person:alice", "--tenant", "acme")
    everywhere([w], token, "revoked")
