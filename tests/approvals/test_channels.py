"""Webhooks against a receiver that verifies them, and what may come back over a channel."""

import base64
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from standardwebhooks import Webhook

from aegis.adapters import keyfiles
from aegis.identity.token import build_statement, mint
from approvals.receiver import Receiver, until
from gateway.world import world

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
CHANNELS = """
apiVersion: aegis.channels/v1
kind: Channels
metadata: {{tenant: acme, owner: ops@acme.example}}
spec:
  channels:
    desk: {{url: "{url}", secret_file: desk.whsec, events: [approval.asked, approval.ended], answers: true{more}}}
    deaf: {{url: "{url}", secret_file: desk.whsec, events: [run.ended]}}
"""


def configure(w, receiver, more="", secret=SECRET):
    """Give a gateway that is at work its channels; it reads them when the file is there."""
    (w.root / "desk.whsec").write_text(secret + "\n")
    (w.root / "desk.whsec").chmod(0o600)
    (w.root / "tenants" / "acme" / "channels.yaml").write_text(CHANNELS.format(url=receiver.url, more=more))
    until(lambda: w.app.notices._read.get(("acme", "desk")) is not None, "the channel was never looked at")


@pytest.fixture
def receiver():
    made = Receiver(SECRET)
    yield made
    made.close()


def held(w, amount=1500, key="k1"):
    return w.call("pay.honours", {"amount": amount}, key).json()["approval_id"]


def test_a_channel_is_told_what_waits_and_what_ended_in_ids_and_digests(w, receiver):
    held(w, key="before")
    configure(w, receiver)
    approval = held(w)
    held(w)
    w.approve(approval)
    (first, asked), (_, ended) = receiver.wait(2)
    card = w.get(f"/v1/approvals/{approval}", w.person_token()).json()
    assert asked["type"] == "approval.asked"
    assert (asked["data"]["approval_id"], asked["data"]["request_hash"]) == (approval, card["request_hash"])
    assert asked["data"]["card"] == card["shown"]
    assert (ended["type"], ended["data"]["state"], ended["data"]["approver"]) == ("approval.ended", "approved", "person:alice")
    assert b"1500" not in b"".join(receiver.bodies)
    assert len({each for each, _ in receiver.got}) == len(receiver.got)
    assert first.startswith("msg_")


def test_a_notice_that_was_not_taken_comes_again_under_the_same_id_and_keeps_its_place(on_sqlite, receiver):
    configure(on_sqlite, receiver)
    receiver.statuses = [503, 302]
    first = held(on_sqlite)
    second = held(on_sqlite, key="k2")
    got = receiver.wait(2)
    assert [notice["data"]["approval_id"] for _, notice in got] == [first, second]
    assert receiver.seen == 4


def test_what_was_not_told_before_a_stop_is_told_after_it(on_sqlite, receiver):
    configure(on_sqlite, receiver)
    receiver.statuses = [503] * 2
    approval = held(on_sqlite)
    until(lambda: receiver.seen > 0, "nothing was sent")
    on_sqlite.stop()
    on_sqlite.start()
    assert receiver.wait(1)[0][1]["data"]["approval_id"] == approval


def test_while_one_secret_replaces_another_both_sign(on_sqlite, receiver):
    configure(on_sqlite, receiver, more=", include: shown", secret=f"{OTHER}\n{SECRET}")
    held(on_sqlite)
    assert receiver.wait(1)[0][1]["data"]["shown"] == {"amount": 1500}


def statement(w, card, person="person:alice", tenant="acme", **changed):
    now = changed.pop("now", None) or w.hand()
    said = {
        "approval_id": card["approval_id"], "tenant": tenant, "request_hash": card["request_hash"], "approve": True,
        "shown": card["card"], "approver": person, "reason": "over the channel", "now": now,
    }  # fmt: skip
    return mint(build_statement(**{**said, **changed}), keyfiles.load_private(w.keys, "human", tenant, person))


def back(w, text, *, secret=SECRET, at=None, path="acme/desk", message_id="msg_1", body=None, strip=()):
    """What a receiver posts back, signed by the library of the specification."""
    content = body if body is not None else json.dumps({"statement": text})
    moment = at or datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, moment, content),
    }
    given = {name: value for name, value in headers.items() if name not in strip}
    return httpx.post(f"{w.url}/v1/channels/{path}/answers", content=content, headers=given, timeout=30)


@pytest.fixture
def asked(on_sqlite, receiver):
    """A world with a channel, and what the channel was told of an approval that waits."""
    configure(on_sqlite, receiver)
    held(on_sqlite)
    return on_sqlite, receiver.wait(1)[0][1]["data"]


def test_a_statement_that_a_person_signed_counts_over_a_channel(asked):
    w, card = asked
    told = back(w, statement(w, card))
    assert (told.status_code, told.json()["state"]) == (200, "approved")
    assert w.call("pay.honours", {"amount": 1500}, "k1").status_code == 200


def reasons(w):
    return [(e["reason"], e["agent_id"]) for e in w.events() if e["type"] == "refusal"]


HOSTILE = {
    "wrong secret": (lambda w, card: back(w, statement(w, card), secret=OTHER), 401, ""),
    "no signature": (lambda w, card: back(w, statement(w, card), strip=("webhook-signature",)), 401, ""),
    "too old": (lambda w, card: back(w, statement(w, card), at=datetime.now(UTC) - timedelta(minutes=6)), 401, ""),
    "from the future": (lambda w, card: back(w, statement(w, card), at=datetime.now(UTC) + timedelta(minutes=6)), 401, ""),
    "no such channel": (lambda w, card: back(w, statement(w, card), path="acme/nope"), 401, ""),
    "another tenant's path": (lambda w, card: back(w, statement(w, card), path="globex/desk"), 401, ""),
    "a channel that takes no answers": (lambda w, card: back(w, statement(w, card), path="acme/deaf"), 401, ""),
    "not a body": (lambda w, _: back(w, "", body="{"), 400, "malformed"),
    "no statement": (lambda w, _: back(w, "yes, do it"), 409, "approval-refused"),
    "an agent's token": (lambda w, _: back(w, w.token()), 409, "approval-refused"),
    "an old statement": (lambda w, card: back(w, statement(w, card, now=w.hand() - timedelta(minutes=16))), 409, "approval-refused"),
    "somebody else's name": (lambda w, card: back(w, forged(w, card)), 409, "approval-refused"),
    "another tenant's person": (lambda w, card: back(w, statement(w, card, tenant="globex")), 409, "approval-refused"),
    "another request": (
        lambda w, card: back(w, statement(w, card, request_hash="sha256:" + "0" * 64)), 409, "approval_hash_mismatch"),
    "another card": (lambda w, card: back(w, statement(w, card, shown="sha256:" + "0" * 64)), 409, "card_changed"),
    "somebody without the role": (lambda w, card: back(w, statement(w, card, "person:carol")), 409, "not_an_approver"),
    "no such approval": (lambda w, card: back(w, statement(w, card, approval_id="apr_0")), 404, "approval_unknown"),
}  # fmt: skip


def forged(w, card):
    now = w.hand()
    said = build_statement(
        approval_id=card["approval_id"], tenant="acme", request_hash=card["request_hash"], approve=True, shown=card["card"],
        approver="person:alice", reason="", now=now,
    )  # fmt: skip
    return mint(said, keyfiles.load_private(w.keys, "human", "acme", "person:bob"))


def test_every_hostile_answer_is_refused_and_recorded_where_it_belongs(asked):
    w, card = asked
    for name, (send, status, reason) in HOSTILE.items():
        before = len(reasons(w))
        told = send(w, card)
        assert told.status_code == status, (name, told.text)
        recorded = reasons(w)[before:]
        assert [each for each, _ in recorded][:1] == ([reason] if reason else []), name
    assert w.get(f"/v1/approvals/{card['approval_id']}").json()["state"] == "pending"
    assert w.app.gate.desk is not None
    assert back(w, statement(w, card)).json()["state"] == "approved"


def test_replayed_and_contradictory_answers_change_nothing_and_are_recorded(asked):
    w, card = asked
    text = statement(w, card)
    assert back(w, text).status_code == 200
    for late in (text, statement(w, card, approve=False), statement(w, card, "person:bob", approve=False)):
        told = back(w, late, message_id="msg_1")
        assert (told.status_code, told.json()["detail"].split(":")[0]) == (409, "approval_approved")
    assert [reason for reason, _ in reasons(w)] == ["approval_approved"] * 3
    assert w.call("pay.honours", {"amount": 1500}, "k1").status_code == 200


@pytest.mark.parametrize(
    ("url", "secret", "words"),
    [
        ("http://hooks.acme.example/x", SECRET, "expected https://"),
        ("https://user:secret@hooks.acme.example/x", SECRET, "holds a user name"),
        ("https://hooks.acme.example/x", "whsec_c2hvcnQ=", "24 to 64"),
        ("https://hooks.acme.example/x", "not a secret", "expected `whsec_`"),
    ],
)
def test_a_channel_that_cannot_be_used_stops_the_start_with_a_word_for_the_operator(tmp_path, url, secret, words):
    with world(tmp_path) as w:
        w.stop()
        (w.root / "desk.whsec").write_text(secret)
        (w.root / "desk.whsec").chmod(0o600)
        (w.root / "tenants" / "acme" / "channels.yaml").write_text(CHANNELS.format(url=url, more=""))
        from aegis.adapters.webhook import load
        from aegis.errors import ConfigError

        with pytest.raises(ConfigError, match=words) as refused:
            load(w.root / "tenants" / "acme", "acme", w.root)
        assert secret not in str(refused.value)
