"""The keys of another issuer: fetched when needed, seldom, from one address only, and never in a way that harms good traffic."""

import asyncio
import json

import pytest

from aegis.adapters import jwksource
from aegis.adapters.jwksource import GOOD_SECONDS, MAX_WAITING, PAUSE_SECONDS, RENEW_SECONDS, JwkSource
from aegis.errors import IdentityError
from keys.issuer import Key, KeyServer

KEY, OTHER = Key("ES256", "one"), Key("ES256", "two")


class Hours:
    """A clock that tests turn."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Served:
    """A key set behind a function that counts; `fails` and `gate` say how it answers."""

    def __init__(self):
        self.keys, self.times, self.fails, self.gate = [KEY], 0, False, asyncio.Event()
        self.gate.set()

    async def __call__(self):
        self.times += 1
        await self.gate.wait()
        if self.fails:
            raise OSError("no way there")
        return json.dumps({"keys": [key.jwk() for key in self.keys]}).encode()


@pytest.fixture
def made():
    served, clock = Served(), Hours()
    return JwkSource("https://login.example", served, clock=clock), served, clock


async def reason(source, kid):
    with pytest.raises(IdentityError) as refused:
        await source.find(kid)
    return refused.value.reason


async def test_keys_are_fetched_when_the_first_token_comes_and_kept(made):
    source, served, clock = made
    assert served.times == 0
    for _ in range(5):
        assert (await source.find("one")).algorithm == "ES256"
        clock.now += RENEW_SECONDS / 6
    assert served.times == 1


async def test_ten_thousand_made_up_ids_cost_one_fetch_in_ten_seconds_and_good_ones_do_not_wait(made):
    source, served, clock = made
    await source.find("one")
    clock.now += PAUSE_SECONDS
    served.gate.clear()
    flood = [asyncio.create_task(reason(source, f"made-up-{number}")) for number in range(10_000)]
    await asyncio.sleep(0)
    assert source._waiting == MAX_WAITING
    async with asyncio.timeout(1):
        assert (await source.find("one")).algorithm == "ES256"
    served.gate.set()
    assert set(await asyncio.gather(*flood)) == {"unknown_kid"}
    assert served.times == 2
    for number in range(10_000):
        await reason(source, f"again-{number}")
    assert served.times == 2
    clock.now += PAUSE_SECONDS
    await reason(source, "later")
    assert served.times == 3
    assert len(source._keys) == 1  # nothing is remembered by id


async def test_a_new_key_of_the_issuer_is_found_at_once_when_the_last_fetch_is_a_while_ago(made):
    source, served, clock = made
    await source.find("one")
    served.keys = [KEY, OTHER]
    assert await reason(source, "two") == "unknown_kid"
    clock.now += PAUSE_SECONDS
    assert (await source.find("two")).algorithm == "ES256"


async def test_a_key_that_the_issuer_took_out_is_out_after_five_minutes(made):
    source, served, clock = made
    await source.find("one")
    served.keys = [OTHER]
    clock.now += RENEW_SECONDS
    await source.find("one")
    clock.now += 1
    assert await reason(source, "one") == "unknown_kid"


async def test_while_the_issuer_does_not_answer_its_keys_are_believed_for_an_hour_and_no_longer(made):
    source, served, clock = made
    await source.find("one")
    served.fails = True
    clock.now += GOOD_SECONDS
    assert (await source.find("one")).algorithm == "ES256"
    clock.now += PAUSE_SECONDS
    assert await reason(source, "one") == "issuer_unreachable"
    served.fails = False
    assert await reason(source, "one") == "issuer_unreachable"  # it was asked less than ten seconds ago
    clock.now += PAUSE_SECONDS
    assert (await source.find("one")).algorithm == "ES256"


async def test_a_broken_answer_takes_no_key_away(made):
    source, served, clock = made
    await source.find("one")
    served.keys = None
    clock.now += RENEW_SECONDS + 1
    assert (await source.find("one")).algorithm == "ES256"


async def test_a_token_without_a_key_id_is_for_the_only_key(made):
    source, served, clock = made
    assert (await source.find("")).algorithm == "ES256"
    served.keys = [KEY, OTHER]
    clock.now += RENEW_SECONDS + 1
    assert await reason(source, "") == "unknown_kid"


@pytest.fixture
def server():
    made = KeyServer()
    made.keys = [KEY.jwk()]
    yield made
    made.close()


async def fetched(server, mood):
    server.mood = mood
    session = jwksource.session()
    try:
        return await jwksource.fetch(session, server.uri)
    finally:
        await session.close()


async def test_a_key_set_is_fetched_without_cookies_and_unpacked(server):
    assert json.loads(await fetched(server, "ok")) == {"keys": [KEY.jwk()]}
    ((path, headers),) = server.asked
    sent = {name.lower(): value for name, value in headers.items()}
    assert path == "/keys"
    assert sent["accept-encoding"] == "identity"
    assert not {"cookie", "authorization", "referer"} & sent.keys()


@pytest.mark.parametrize("mood", ["broken", "gone", "redirect", "huge", "packed"])
async def test_what_is_not_plainly_a_key_set_is_not_taken_and_nothing_is_followed(server, mood):
    with pytest.raises(Exception, match=r"status|longer|packed"):
        await fetched(server, mood)
    assert [path for path, _ in server.asked] == ["/keys"]


async def test_an_issuer_that_hangs_is_given_up(server, monkeypatch):
    monkeypatch.setattr(jwksource, "TIMEOUT_SECONDS", 0.2)
    server.gate.clear()
    with pytest.raises(TimeoutError):
        await fetched(server, "ok")
    server.gate.set()


async def test_a_proxy_of_the_environment_is_not_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert json.loads(await fetched(server, "ok"))
