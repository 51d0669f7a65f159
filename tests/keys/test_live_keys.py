"""Keys change while gateways serve: nobody notices a rotation, and a retired key opens nothing anywhere."""

import threading
import time

import pytest

from aegis.adapters import publickeys
from aegis.identity.access import build_access
from aegis.identity.token import mint
from aegis.runtime import ids
from keys.seen import aegis, everywhere, kid, until


def signed_by(gateway):
    """A token as the gateway itself would sign it: with the key that its keyring chooses."""
    now = gateway.hand()
    claims = build_access(
        tenant="acme",
        agent_id="agent:payer",
        subject="user:nora",
        roles=("treasury",),
        scopes=("*",),
        audience="aegis-gw",
        now=now,
        token_id=ids.new("tok", now),
    )
    return mint(claims, gateway.app.keyring.signer("sts", "acme", now))


class Traffic:
    """Tokens that one gateway signs, shown at the other one at once, again and again; what they were told."""

    def __init__(self, pair):
        self._pair = pair
        self._stop = threading.Event()
        self.told = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(2)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *ended):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number):
        signs, reads = self._pair[number], self._pair[1 - number]
        while not self._stop.is_set():
            token = signed_by(signs)
            answer = reads.call("records.read", {"id": "x"}, token=token)
            self.told.append((answer.status_code, kid(token), answer.text if answer.status_code != 200 else ""))

    def kids(self):
        return {each[1] for each in self.told}


def test_a_rotation_under_traffic_fails_no_request_and_ends_with_the_new_key(pair):
    old = kid(signed_by(pair[0]))
    with Traffic(pair) as traffic:
        until(lambda: len(traffic.told) > 10)
        aegis(pair[0], "keys", "rotate", "sts", "--tenant", "acme")
        for gateway in pair:
            until(lambda gateway=gateway: kid(signed_by(gateway)) != old)
        seen = len(traffic.told)
        until(lambda: len(traffic.told) > seen + 10)
    assert [told for told in traffic.told if told[0] != 200] == []
    assert len(traffic.kids()) == 2
    for gateway in pair:
        assert kid(signed_by(gateway)) != old


def test_a_retired_key_opens_nothing_in_any_process_and_the_other_goes_on(pair):
    w = pair[0]
    old = w.token()
    aegis(w, "keys", "rotate", "sts", "--tenant", "acme")
    new = w.token()
    everywhere(pair, old, "")
    everywhere(pair, new, "")
    assert "within a second" in aegis(w, "keys", "retire", kid(old))
    everywhere(pair, old, "key_retired")
    everywhere(pair, new, "")


def test_a_rotation_without_overlap_ends_the_leaked_key_and_signs_with_the_new_one(pair):
    w = pair[0]
    leaked = w.token()
    aegis(w, "keys", "rotate", "sts", "--tenant", "acme", "--overlap", "0")
    everywhere(pair, leaked, "key_retired")
    for gateway in pair:
        token = signed_by(gateway)
        assert kid(token) != kid(leaked)
        everywhere(pair, token, "")


def test_the_key_of_override_tokens_changes_without_a_restart(pair):
    w = pair[0]
    approval = w.call("pay.honours", {"amount": 1500}, "k").json()["approval_id"]
    w.approve(approval)

    def override(gateway):
        return gateway.get(f"/v1/approvals/{approval}").json()["override_token"]

    old = kid(override(w))
    aegis(w, "keys", "rotate", "override", "--tenant", "acme", "--overlap", "0")
    for gateway in pair:
        until(lambda gateway=gateway: kid(override(gateway)) != old)
    assert pair[1].call("pay.honours", {"amount": 1500}, "k", aegis_override=override(w)).status_code == 200


def changes(w, tenant="acme"):
    return [event for event in w.events(tenant=tenant) if event["type"] == "keys_changed"]


def test_the_first_start_tells_what_is_trusted_and_each_change_once_with_before_and_after(pair):
    w = pair[0]
    old = kid(w.token())
    (first,) = changes(w)
    assert {change["before"] is None for change in first["changes"]} == {True}
    assert {(change["after"]["class"], change["after"].get("owner", "")) for change in first["changes"]} >= {
        ("sts", ""),
        ("override", ""),
        ("human", "person:alice"),
    }
    aegis(w, "keys", "rotate", "sts", "--tenant", "acme")
    until(lambda: len(changes(w)) == 2)
    time.sleep(0.6)  # the other gateway sees it too
    (_, second) = changes(w)
    (ended,) = [change for change in second["changes"] if change["kid"] == old]
    (made,) = [change for change in second["changes"] if change["kid"] != old]
    assert (ended["before"]["class"], "not_after" in ended["before"], "not_after" in ended["after"]) == ("sts", False, True)
    assert (made["before"], made["after"]["class"]) == (None, "sts")
    assert len(changes(w, "globex")) == 1
    for gateway in pair:
        gateway.stop()
        gateway.start()
    assert len(changes(w)) == 2


def test_a_change_made_while_no_gateway_served_is_told_at_the_next_start(on_sqlite):
    w = on_sqlite
    (w.root / "aegis.toml").write_text("")
    w.stop()
    old = kid(w.token())
    aegis(w, "keys", "retire", old)
    w.start()
    assert [change["kid"] for change in changes(w)[-1]["changes"]] == [old]


@pytest.mark.parametrize("damage", ["garbled", "empty", "open to others", "gone"])
def test_a_damaged_file_keeps_the_old_keys_and_is_told_until_it_is_mended(on_sqlite, damage):
    w = on_sqlite
    (w.root / "aegis.toml").write_text("")
    token, path = w.token(), w.keys / publickeys.FILE
    good = path.read_bytes()
    if damage == "open to others":
        path.chmod(0o666)
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"{" if damage == "garbled" else b'{"format": "aegis.keys/v1", "keys": []}')
    until(lambda: w.get("/readyz", token).status_code == 503)
    assert "keys: " in w.get("/readyz", token).text
    assert "public.json" in w.watch("/readyz").text
    everywhere([w], token, "")
    time.sleep(0.6)
    (refused,) = [event for event in w.events(tenant="_system") if event["type"] == "keys_refused"]
    assert "public.json" in refused["why"]
    path.unlink(missing_ok=True)
    path.write_bytes(good)
    path.chmod(0o644)
    until(lambda: w.get("/readyz", token).status_code == 200)
    everywhere([w], token, "")
    aegis(w, "keys", "retire", kid(token))
    everywhere([w], token, "key_retired")


def test_a_swapped_in_key_of_a_stranger_is_told(on_sqlite):
    """Whoever can write the file is trusted; that they did stands in the journal."""
    w = on_sqlite
    (w.root / "aegis.toml").write_text("")
    aegis(w, "keys", "new", "human", "--owner", "person:mallory", "--tenant", "acme")
    until(lambda: len(changes(w)) == 2)
    (added,) = changes(w)[-1]["changes"]
    assert (added["before"], added["after"]["owner"]) == (None, "person:mallory")


def test_what_a_revoked_publisher_key_signed_is_not_activated_and_not_served_after_a_restart(on_sqlite):
    from registry.shipped import publisher, rules, shipped, status, text

    w = on_sqlite
    (w.root / "aegis.toml").write_text("")
    shipped(w, text(w, 1))
    until(lambda: rules(w) == ["read.mask", "read.v1"])
    stolen = publisher(w)
    aegis(w, "revoke", "--key", stolen.kid, "--reason", "drill", "--as", "person:alice", "--tenant", "acme")
    w.stop()
    w.start()
    assert status(w).refused
    assert w.call("records.read", {"id": "x"}, token=w.token("agent:reader")).status_code == 403


def test_a_turn_takes_over_what_somebody_else_has_looked_at(on_sqlite):
    w = on_sqlite
    (w.root / "aegis.toml").write_text("")
    token = w.token()
    everywhere([w], token, "")
    aegis(w, "keys", "retire", kid(token))
    w.app.keyring.look()
    everywhere([w], token, "key_retired")


@pytest.mark.parametrize("name", ["-hx", "--help-me", "-w4", "--"])
def test_a_key_id_that_looks_like_an_option_is_an_id(on_sqlite, name):
    w = on_sqlite
    (w.root / "aegis.toml").write_text("")
    words = ("--", name) if name == "--" else (name,)
    assert f"no public key `{name}`" in aegis(w, "keys", "retire", *words, code=2)
    assert "no public key" in aegis(w, "revoke", "--key", name, "--reason", "x", "--as", "person:alice", "--tenant", "acme", code=2)
