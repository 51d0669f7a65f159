"""Attack cases 14, 15 and 16 at every door that takes a signed text, over real HTTP: refused, counted, and nothing was fetched or done."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import socket
from datetime import timedelta

import aiohttp
import httpx
import pytest

from aegis.adapters import keyfiles
from aegis.app import open_store
from aegis.crypto.jwk import decode, encode
from aegis.runtime.clock import Clock
from authority.agents import ASSERTION, Bot, with_keys
from gateway.world import World
from keys.issuer import KeyServer

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
DELEGATION = "urn:aegis:params:oauth:token-type:delegation"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
KEY_CLASS = {
    "bearer": ("sts", ""),
    "override": ("override", ""),
    "assertion": ("workload", "agent:payer"),
    "delegation": ("sts", ""),
    "statement": ("human", "person:alice"),
    "person": ("human", "person:alice"),
}


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """A gateway with a granted approval, one that waits, and a delegation that nobody has redeemed."""
    world = World(tmp_path_factory.mktemp("hall"), "sqlite:data/aegis.db")
    with_keys(world)
    try:
        world.start()
        made = Hall(world)
        yield made
        made.http.close()
        made.thief.close()
    finally:
        world.close()


class Hall:
    """The doors: each shows a text to the gateway as somebody would who holds everything else that is needed.

    `thief` is an address that a text would like the gateway to visit.
    """

    def __init__(self, w):
        self.w = w
        self.http = httpx.Client(timeout=30)
        self.thief = KeyServer()
        granted = w.call("pay.honours", {"amount": 1500}, "granted").json()["approval_id"]
        w.approve(granted)
        waiting = w.call("pay.honours", {"amount": 1600}, "waiting").json()["approval_id"]
        self.waiting = w.get(f"/v1/approvals/{waiting}", w.person_token()).json()
        self.desk, self.payer = Bot(w, "agent:desk").get(), Bot(w, "agent:payer")
        self.handed = self.desk.delegated("agent:payer", scopes=["pay.honours"])["delegation"]
        self.override = w.get(f"/v1/approvals/{granted}").json()["override_token"]

    def good(self, door):
        return {
            "bearer": self.w.token,
            "override": lambda: self.override,
            "assertion": self.payer.assertion,
            "delegation": lambda: self.handed,
            "statement": lambda: self.w.statement(self.waiting),
            "person": self.w.person_token,
        }[door]()

    def show(self, door, text):
        if door in ("bearer", "person"):
            return self.http.get(f"{self.w.url}/v1/tools", headers={"authorization": f"Bearer {text}"})
        if door == "override":
            return self.w.call("pay.honours", {"amount": 1500}, "granted", aegis_override=text)
        if door == "assertion":
            form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION, "client_assertion": text}
            return self.http.post(f"{self.w.url}/v1/token", data=form)
        if door == "delegation":
            form = {"client_assertion_type": ASSERTION, "client_assertion": self.payer.assertion(), "grant_type": EXCHANGE}
            return self.http.post(f"{self.w.url}/v1/token", data=form | {"subject_token": text, "subject_token_type": DELEGATION})
        return self.w.post(f"/v1/approvals/{self.waiting['approval_id']}/answer", {"statement": text}, self.w.person_token())

    def refused(self, door, text):
        """The words of the refusal; nothing was done, issued or answered."""
        before = (len(self.w.tool.done), self.made())
        told = self.show(door, text)
        assert 400 <= told.status_code < 404, told.text
        assert (len(self.w.tool.done), self.made()) == before
        assert text not in told.text
        return told.json()["detail"]

    def made(self):
        return sum(event["type"] in ("token_issued", "approval") for event in self.w.events())

    def key(self, door):
        key_class, owner = KEY_CLASS[door]
        return keyfiles.load_private(self.w.keys, key_class, "acme", owner)

    def forged(self, door, header=None, claims=b"", *, sign=None, raw_header=None):
        """The good text with another header or other claims, truly signed by the key that may."""
        head, body, _ = self.good(door).split(".")
        found = json.loads(decode(head)) | (header or {})
        given = raw_header or json.dumps({name: value for name, value in found.items() if value is not ...}).encode()
        signed = f"{encode(given)}.{encode(claims) if claims else body}"
        return f"{signed}.{encode((sign or self.key(door).sign)(signed.encode()))}"

    def claims(self, door):
        return json.loads(decode(self.good(door).split(".")[1]))


def by_hmac(secret):
    return lambda message: hmac.new(secret, message, hashlib.sha256).digest()


def public(hall, door):
    return base64.urlsafe_b64decode(hall.key(door).public.x + "=")


CASES = {
    "alg none, no signature": (lambda h, d: h.forged(d, {"alg": "none"}, sign=lambda _: b""), "bad_algorithm"),
    "alg none, good signature": (lambda h, d: h.forged(d, {"alg": "none"}), "bad_algorithm"),
    "alg NONE": (lambda h, d: h.forged(d, {"alg": "NONE"}), "bad_algorithm"),
    "HS256 with the public key": (lambda h, d: h.forged(d, {"alg": "HS256"}, sign=by_hmac(public(h, d))), "bad_algorithm"),
    "HS256 with its text": (lambda h, d: h.forged(d, {"alg": "HS256"}, sign=by_hmac(h.key(d).public.x.encode())), "bad_algorithm"),
    "the public key's HMAC as Ed25519": (lambda h, d: h.forged(d, sign=lambda m: by_hmac(public(h, d))(m) * 2), "bad_signature"),
    "EdDSA": (lambda h, d: h.forged(d, {"alg": "EdDSA"}), "bad_algorithm"),
    "crit that nobody knows": (lambda h, d: h.forged(d, {"crit": ["x"], "x": 1}), "malformed"),
    "crit, empty": (lambda h, d: h.forged(d, {"crit": []}), "malformed"),
    "a key of its own": (lambda h, d: h.forged(d, {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": h.key(d).public.x}}), "malformed"),
    "the address of a key": (lambda h, d: h.forged(d, {"jku": h.thief.uri}), "malformed"),
    "the address of a certificate": (lambda h, d: h.forged(d, {"x5u": h.thief.uri}), "malformed"),
    "an address for a key id": (lambda h, d: h.forged(d, {"kid": h.thief.uri}), "unknown_kid"),
    "a path for a key id": (lambda h, d: h.forged(d, {"kid": "../../keys/public.json"}), "unknown_kid"),
    "a line break in the key id": (lambda h, d: h.forged(d, {"kid": "x\r\nset-cookie: a=b"}), "unknown_kid"),
    "no key id": (lambda h, d: h.forged(d, {"kid": ...}), "malformed"),
    "a member twice in the header": (lambda h, d: h.forged(d, raw_header=b'{"alg":"Ed25519","alg":"Ed25519","typ":"x","kid":"y"}'), "malformed"),
    "a claim twice": (lambda h, d: h.forged(d, claims=json.dumps(h.claims(d)).encode()[:-1] + b',"tenant":"acme","tenant":"acme"}'), "malformed"),
    "a claim that nobody knows": (lambda h, d: h.forged(d, claims=json.dumps(h.claims(d) | {"admin": True}).encode()), "malformed"),
    "a life of a day": (lambda h, d: h.forged(d, claims=json.dumps(h.claims(d) | {"exp": h.claims(d)["iat"] + 86_400}).encode()), "too_long_lived"),
    "another's signature": (lambda h, d: h.forged(d, sign=lambda _: secrets.token_bytes(64)), "bad_signature"),
    "padding": (lambda h, d: h.good(d) + "==", "malformed"),
    "one =": (lambda h, d: h.good(d) + "=", "malformed"),
    "a space within": (lambda h, d: h.good(d).replace(".", ". ", 1), "malformed"),
    "stray bits": (lambda h, d: h.good(d)[:-1] + ALPHABET[ALPHABET.index(h.good(d)[-1]) | 1], "malformed"),
    "a fourth part": (lambda h, d: h.good(d) + ".x", "malformed"),
    "9 KiB": (lambda h, d: h.good(d) + "A" * 9000, "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("door", KEY_CLASS)
@pytest.mark.parametrize("case", CASES)
def test_cases_14_and_15_a_hostile_text_opens_no_door(hall, door, case):
    make, why = CASES[case]
    assert why in hall.refused(door, make(hall, door))
    assert hall.thief.asked == []


# An agent's and a person's token are shown at one door, which tells them apart.
STRANGERS = [(door, other) for other in KEY_CLASS for door in KEY_CLASS if door != other and {door, other} != {"bearer", "person"}]
TYPES = (
    "JWT",
    "at+jwt",
    "override+jwt",
    "approval+jwt",
    "person+jwt",
    "dpop+jwt",
    "delegation+jwt",
    "AT+JWT",
    "application/at+jwt",
)
OWN = {
    "bearer": "at+jwt", "override": "override+jwt", "assertion": "client-authentication+jwt", "delegation": "delegation+jwt",
    "statement": "approval+jwt",
}  # fmt: skip


@pytest.mark.parametrize(("door", "other"), STRANGERS)
def test_case_14_a_good_text_of_one_type_opens_no_door_for_another(hall, door, other):
    assert hall.refused(door, hall.good(other))


@pytest.mark.parametrize(("door", "typ"), [(door, typ) for typ in TYPES for door in OWN if OWN[door] != typ])
def test_case_14_a_text_that_claims_another_type_is_refused(hall, door, typ):
    assert json.loads(decode(hall.good(door).split(".")[0]))["typ"] == OWN[door]
    told = hall.refused(door, hall.forged(door, {"typ": typ}))
    assert "wrong_type" in told or "wrong_key_class" in told


def test_case_14_refusals_of_strangers_are_counted_by_their_reason(hall):
    hall.refused("bearer", hall.forged("bearer", {"alg": "none"}))
    hall.refused("bearer", hall.forged("bearer", {"jku": "http://127.0.0.1:1/"}))
    hall.refused("assertion", hall.forged("assertion", {"crit": ["x"]}))

    async def noise():
        store = await open_store(hall.w.settings, Clock())
        try:
            return {row.reason for row in await store.noise()}
        finally:
            await store.close()

    async def told():
        for _ in range(100):
            if {"bad_algorithm", "malformed"} <= await noise():
                return True
            await asyncio.sleep(0.1)
        return False

    assert asyncio.run(told())


@pytest.mark.parametrize(
    "line",
    [
        b"authorization: Bearer %s\r\naegis-override: x\r\n y",
        b"authorization: Bearer %s\n authorization: Bearer x",
        b"authorization: Bearer %s\r\nauthorization: Bearer %s",
        b"authorization: Bearer %s\x00",
        b"authorization: Bearer %s, Bearer %s",
        b"authorization:\tBearer\t%s",
        b"authorization: Bearer %s\r\n\tx",
    ],
)
def test_header_injection_gains_nothing(hall, line):
    token = hall.w.token().encode()
    text = b"GET /v1/tools HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + line.replace(b"%s", token) + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(hall.w.url.rsplit(":", 1)[1])), timeout=10) as wire:
        wire.sendall(text)
        answer = b""
        while chunk := wire.recv(65536):
            answer += chunk
    assert answer.split(b" ", 2)[1] in (b"400", b"401"), answer[:200]
    assert answer.count(b"HTTP/1.1") == 1


def test_case_16_ten_thousand_made_up_key_ids_harm_no_good_caller_and_nothing_is_fetched(on_sqlite):
    """Each is refused by a look-up before any store is asked; the verifier remembers nothing of them."""
    w = on_sqlite
    head, body, signature = w.token().split(".")
    found = json.loads(decode(head))

    def made_up():
        return f"{encode(json.dumps(found | {'kid': secrets.token_urlsafe(32)}).encode())}.{body}.{signature}"

    async def shown(http, token):
        async with http.get(f"{w.url}/v1/tools", headers={"authorization": f"Bearer {token}"}) as answer:
            return answer.status, (await answer.json()).get("detail", "")

    async def flood():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as http:
            good, bad = [], []
            for _ in range(100):
                told = await asyncio.gather(*(shown(http, made_up()) for _ in range(100)), shown(http, w.token()))
                bad += told[:-1]
                good.append(told[-1][0])
            return good, bad

    good, bad = asyncio.run(flood())
    assert good == [200] * 100
    assert len(bad) == 10_000
    assert set(bad) == {(401, "refused: unknown_kid")}
    assert w.app.other_issuers._session is None
    assert len(w.app.verifier._bad) == 0
    assert len(w.app.verifier._good) <= 110
    w.hand.offset = timedelta(0)

    async def noise():
        return [row for row in await w.app.gate.store.noise() if row.reason == "unknown_kid"]

    assert len(asyncio.run_coroutine_threadsafe(noise(), w.app.following._tasks[0].get_loop()).result(10)) <= 2
