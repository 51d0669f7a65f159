"""More attempts to get past what was handed down, bound or pinned: each through the real HTTP surface."""

import json

import httpx
import pytest

from aegis.model.authority import Limit
from attacks.evidence import denied_by, noise, of_type, refused_with
from authority.agents import Bot

PAY = "pay.honours"
PATH = f"/v1/tools/{PAY}/call"


def sent(w, remote, proof, *, host="", path=PATH, key="k"):
    headers = {
        "authorization": f"DPoP {remote.access}",
        "dpop": proof,
        "content-type": "application/json",
        "idempotency-key": key,
        **({"host": host} if host else {}),
    }
    return httpx.post(w.url + path, content=json.dumps({"arguments": {"amount": 1}}), headers=headers, timeout=30)


# proofs


def test_a_proof_for_another_path_is_not_moved_by_the_host_header(w):
    remote = Bot(w, "agent:remote", bound=True).get()
    proof = remote.proof("POST", "/v1/decide", token=remote.access)
    host = w.url.removeprefix("http://")
    for moved in (f"{host}/v1/decide?", f"{host}/v1/decide#", f"{host}/v1/decide;", f"x@{host}", "[", "[::1", f"{host}, {host}"):
        told = sent(w, remote, proof, host=moved)
        assert (told.status_code, told.json()["code"]) == (400, "malformed"), moved
    assert w.tool.done == []
    assert remote.call(PAY, {"amount": 1}, "k").status_code == 200
    assert noise(w) == {"malformed": 7}


@pytest.mark.parametrize("url", ["http://[::1", "http://[", "http://[x]/", "http://a\u2100b/x", "//", "", "\ud7ff"])
def test_an_address_that_cannot_be_taken_apart_is_another_address(on_sqlite, url):
    w = on_sqlite
    remote = Bot(w, "agent:remote", bound=True).get()
    told = sent(w, remote, remote.proof("POST", PATH, token=remote.access, url=url))
    assert (told.status_code, told.json()["detail"]) == (401, "refused: pop_invalid")
    told = remote.ask(headers={"dpop": remote.proof("POST", "/v1/token", url=url)})
    assert (told.status_code, told.json()["detail"]) == (401, "refused: pop_invalid")


def test_an_encoded_question_mark_does_not_shorten_the_address(on_sqlite):
    w = on_sqlite
    remote = Bot(w, "agent:remote", bound=True).get()
    for path in ("/v1/requests/a%3Fb", "/v1/requests/a%23b"):
        proof = remote.proof("GET", "/v1/requests/a", token=remote.access)
        told = httpx.get(w.url + path, headers={"authorization": f"DPoP {remote.access}", "dpop": proof})
        assert (told.status_code, told.json()["code"]) == (400, "malformed")


# the token service


def test_a_token_request_that_names_another_agent_or_tenant_than_its_assertion_is_refused_on_record(w):
    payer = Bot(w, "agent:payer")
    for form in ({"client_id": "agent:other"}, {"audience": "https://aegis/globex"}):
        told = payer.ask(**form)
        assert (told.status_code, told.json()["code"]) == (403, "token-refused")
    assert [what.split(":")[0] for what in refused_with(w)] == ["wrong_owner", "wrong_audience"]
    assert payer.ask(client_id="agent:payer", audience="https://aegis/acme").status_code == 200
    assert not of_type(w, "refusal", "globex")


def test_a_budget_that_no_token_could_hold_is_malformed(on_sqlite):
    payer = Bot(on_sqlite, "agent:payer")
    for text in ("9007199254740992", "9999999999999999", "-1", "1.0", "\u0661", "1e3", " 1"):
        told = payer.ask(budget_micros=text)
        assert (told.status_code, told.json()["field"]) == (400, "budget_micros"), text
    assert payer.ask(budget_micros="9007199254740991").status_code == 200


# narrowing


def test_an_empty_list_of_scopes_does_not_hand_everything_down(w):
    desk = Bot(w, "agent:desk").get()
    told = desk.hand("agent:payer", scopes=[])
    assert (told.status_code, told.json()["field"]) == (400, "/scopes")
    handed = desk.delegated("agent:payer", tools=[])
    payer = Bot(w, "agent:payer").get(delegation=handed["delegation"])
    assert payer.call(PAY, {"amount": 1}, "k").json()["rule"] == "authority.tool"


@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": ["pay.x\tpay.y"]},
        {"scopes": ["pay.\u202ex"]},
        {"task": "a\u00a0b"},
        {"task": "a\nb"},
        {"tools": [{"tool": f"pay.t{n}", "tool_digest": "d" * 250} for n in range(64)]},
    ],
)
def test_what_nobody_could_redeem_is_not_handed_down(on_sqlite, wanted):
    w = on_sqlite
    desk = Bot(w, "agent:desk").get()
    told = desk.hand("agent:payer", **wanted)
    assert (told.status_code, told.json()["rule"]) == (403, "delegation.malformed")
    assert denied_by(w) == ["delegation.malformed"]
    assert [event["decision"] for event in of_type(w, "delegation")] == ["deny"], "nothing stays under way that nobody can end"


# keeping the gateway busy

HEAVY = r"(?i)(\pL{1,3}|[a-z]%d)*"


def patterns(count, pattern=HEAVY):
    """Tools with so many patterns, all different."""
    each = [{f"a{n}": {"regex": pattern % (m * 32 + n)} for n in range(32)} for m in range(count // 32)]
    return [{"tool": f"pay.t{m}", "limits": limits} for m, limits in enumerate(each)]


def test_patterns_that_cost_much_to_read_are_counted_first_and_read_for_nobody_unknown(on_sqlite):
    w = on_sqlite
    desk = Bot(w, "agent:desk").get()
    told = desk.hand("agent:payer", tools=patterns(2048))
    assert (told.status_code, told.json()["field"]) == (400, "tools")
    assert "at most 16" in told.json()["detail"]
    told = desk.hand("agent:payer", tools=[{"tool": PAY, "limits": {"memo": {"regex": r"(\pL*){1,100}"}}}])
    assert "too much memory" in told.json()["detail"]
    details = json.dumps(patterns(512, "[a-z]{%d}("), separators=(",", ":"))
    told = desk.ask(assertion="a.b.c", authorization_details=details)
    assert (told.status_code, told.json()["code"]) == (401, "unauthenticated"), "nobody is not told what is wrong with it"
    told = desk.ask(authorization_details=details)
    assert (told.status_code, told.json()["field"]) == (400, "tools")


def test_a_text_too_long_to_be_matched_is_outside_the_limit():
    assert Limit(regex="x*").holds("x" * 4096)
    assert not Limit(regex="x*").holds("x" * 4097)
