"""More attempts to get past what was handed down, bound or pinned: each through the real HTTP surface."""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from msgspec.structs import replace

from aegis.crypto.digest import sha256
from aegis.model.authority import Limit
from aegis.runtime import recorded
from attacks.evidence import denied_by, noise, of_type, refused_with
from authority.agents import Bot, child_of, with_keys
from gateway.world import World
from provenance.hands import aegis, demand, denied, edit, within, write

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
    for name, value in (("aegis-tenant", "globex"), ("aegis-agent-id", "agent:other")):
        assert payer.ask(headers={name: value}).status_code == 403
    told = [what.split(":")[0] for what in refused_with(w)]
    assert told == ["wrong_owner", "wrong_audience", "tenant_mismatch", "agent_mismatch"]
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


@pytest.fixture
def narrow_gate(tmp_path):
    """A gateway that takes one request at a time."""
    w = World(tmp_path, "sqlite:data/aegis.db")
    w.settings = replace(w.settings, gateway=replace(w.settings.gateway, max_in_flight=1))
    try:
        with_keys(w)
        w.start()
        yield w
    finally:
        w.close()


def test_nobody_takes_the_places_of_those_who_call_tools_by_sending_slowly(narrow_gate):
    w = narrow_gate
    host, port = w.url.removeprefix("http://").split(":")
    head = (
        f"POST /v1/token HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(head.encode() + b"a=")
        within(5, lambda: Bot(w, "agent:payer").ask().status_code == 503)
        assert w.call(PAY, {"amount": 1}, "k").status_code == 200


# being counted


@pytest.mark.parametrize("what", [{"tools": [{"tool": "pay.costly", "calls": 1}]}, {"scopes": ["pay.costly"], "budget_micros": 15}])
def test_whoever_says_of_its_own_call_that_it_did_nothing_gets_no_second_one(w, what):
    desk = Bot(w, "agent:desk").get()
    payer, _ = child_of(desk, "agent:payer", **what)
    asked = {"tool": "pay.costly", "arguments": {"amount": 1}, **payer.named()}
    decided = payer.post("/v1/decide", asked, idempotency_key="k")
    assert decided.status_code == 200
    assert payer.post("/v1/decide", asked, idempotency_key="k").status_code == 200, "to ask again is no second use"
    path = f"/v1/decide/{decided.json()['request_id']}/outcome"
    assert payer.post(path, {"done": False}).json()["state"] == "reopened"
    for told in (payer.post("/v1/decide", asked, idempotency_key="k"), payer.call("pay.costly", {"amount": 1}, "k")):
        assert told.json()["rule"] in ("authority.calls", "authority.budget")


def test_a_request_id_that_is_taken_is_refused_on_record(w):
    desk = Bot(w, "agent:desk").get()
    handed = desk.delegated("agent:payer", scopes=["pay.*"])
    for agent in ("agent:desk", "agent:other"):
        told = Bot(w, agent).get().post("/v1/delegations", {"to": "agent:payer"}, aegis_request_id=handed["request_id"])
        assert (told.status_code, told.json()["code"]) == (409, "request-id-reused")
    assert len(refused_with(w)) == 2


def test_what_was_handed_down_is_not_told_by_the_refusals(w):
    desk = Bot(w, "agent:desk").get()
    limits = {"memo": {"in": ["DE00 1234"], "regex": "DE00 .*"}, "amount": {"max": 7}}
    payer, _ = child_of(desk, "agent:payer", tools=[{"tool": PAY, "limits": limits}])
    told = payer.call(PAY, {"amount": 8, "memo": "XX99 5678"}, "k")
    assert told.json()["rule"] == "authority.limit"
    assert [each["limit"] for each in told.json()["reasons"]] == ["max 7", "one of 1 values, a pattern"]
    kept = json.dumps(w.events())
    for text in (told.text, kept):
        assert "DE00" not in text
        assert "XX99" not in text


# what lies in the folders


def instructed(w, prompt="prompts/payer.md"):
    """Let the payer work by instructions that lie in the tenant's folder."""
    home = w.root / "tenants/acme"
    (home / "prompts").mkdir()
    write(home / prompt, "Pay what is due.\n")
    text = (home / "directory.yaml").read_text()
    write(home / "directory.yaml", text.replace("agent:payer: {", f"agent:payer: {{prompt: {prompt}, "))
    digest = sha256((home / prompt).read_bytes())
    within(10, lambda: Bot(w, "agent:payer").ask().status_code == 403)
    return home, home / prompt, digest


def test_what_is_wrong_with_instructions_is_told_to_the_operator_only(on_sqlite):
    w = on_sqlite
    home, prompt, digest = instructed(w)
    assert Bot(w, "agent:payer", prompt=digest).ask().status_code == 200
    for broken in (prompt.unlink, lambda: write(home / "trust.yaml", "secret: [")):
        broken()
        told = Bot(w, "agent:payer", prompt=digest).ask().json()
        assert told["rule"] == "token.artifact_missing"
        assert str(w.root) not in told["detail"] + "".join(refused_with(w))
        assert "YAML" not in told["detail"]


def test_who_removes_the_demands_of_a_tenant_does_not_lift_them(on_sqlite):
    w = on_sqlite
    home, prompt, digest = instructed(w)
    demand(w, f'{{artifacts: [{{file: prompts/payer.md, kind: prompt, digest: "{digest}"}}]}}')
    within(10, lambda: w.app.toolbox.demanding("acme"))
    write(prompt, "Pay whatever you are told.\n")
    changed = Bot(w, "agent:payer", prompt=sha256(prompt.read_bytes()))
    assert changed.ask().json()["rule"] == "token.artifact_digest_mismatch"
    (home / "trust.yaml").unlink()
    assert changed.ask().json()["rule"] == "token.artifact_missing"
    (home / "trust.yaml").mkdir()
    assert changed.ask().json()["rule"] == "token.artifact_missing"


def test_a_pipe_in_the_folder_of_one_tenant_does_not_stop_the_others(on_sqlite):
    w = on_sqlite
    home = w.root / "tenants/acme"
    for name in ("tools/pipe.yaml", "issuers.yaml", "tools/records.read.yaml.dsse.json"):
        os.mkfifo(home / name)
    (home / "tools/zero.yaml").symlink_to("/dev/zero")
    demand(w, "{tools: [{tools: [records.read], signatures: 1}]}")
    edit(w, "description: Reads.", "description: Reads and sends it to you.", tenant="globex")
    within(10, lambda: denied(w, "tool#digest_mismatch", tenant="globex"))
    assert w.call(PAY, {"amount": 1}, "k").status_code == 200


# the record


def test_a_decision_is_found_under_very_many_refusals_before_it_and_after_it(on_sqlite, monkeypatch):
    w = on_sqlite
    monkeypatch.setattr(recorded, "PAGE", 40)
    payer = Bot(w, "agent:payer").get()

    def refusals(count):
        with ThreadPoolExecutor(16) as pool, httpx.Client(limits=httpx.Limits(max_connections=16)) as client:
            headers = {**payer.auth("POST", PATH), "content-type": "application/json", "aegis-request-id": "req_x"}
            told = pool.map(
                lambda _: client.post(w.url + PATH, content=b"{", headers=headers, timeout=30).status_code, range(count)
            )
            assert set(told) == {400}

    refusals(41)
    asked = {"arguments": {"amount": 1}}
    assert payer.post(PATH, asked, aegis_request_id="req_x", idempotency_key="k").status_code == 200
    refusals(41)
    for token in (w.person_token(), payer.access):
        view = w.get("/v1/requests/req_x", token).json()
        assert [event["decision"] for event in view["events"] if event["type"] == "decision"] == ["allow"]
        assert view["agent_id"] == "agent:payer"
    assert "allow" in aegis(w, "explain", "req_x", "--tenant", "acme").splitlines()[0]
