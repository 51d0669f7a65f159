"""Ways round a rule that have worked elsewhere: here each is refused by the real gateway, and no tool is ever reached.

The set allows everything, so that only the rule in question stands in the way; a control beside each group shows that the same call
without the trick goes through. The pure part of the hosts and of the documents stands in conformance/policy.
"""

import asyncio
import json
import re
import threading
from datetime import timedelta

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

import aegis
from aegis.app import open_app
from aegis.errors import ConfigError
from aegis.policy.guard import RulesGuard
from aegis.settings import PolicySettings
from aegis.surfaces.cli.main import cli
from gateway.test_engine_opa import judged
from gateway.test_hostile_http import message, raw
from gateway.world import World
from opa.server import binary
from registry.shipped import status, within

SSN = "[0-9]{3}-[0-9]{2}-[0-9]{4}"
TOOLS = {
    "db.run": "{verb: {enum: [select, insert, drop, truncate]}, table: {type: string}}",
    "db.free": "{verb: {type: string}, table: {type: string}}",
    "db.nested": "{statement: {type: object}}",
    "pay.typed": "{amount: {type: integer}, memo: {type: string}}",
    "pay.untyped": "{body: {type: object}}",
    "http.post": "{url: {type: string, format: uri}}",
    "ops.act": "{env: {type: string}, level: {type: integer}, note: {type: string}}",
    "ops.dev": "{env: {type: string}}",
}
REQUIRED = {
    "db.run": "verb",
    "db.free": "verb",
    "db.nested": "statement",
    "pay.typed": "amount",
    "pay.untyped": "body",
    "ops.dev": "env",
}
POLICY = """
apiVersion: aegis.policy/v1
kind: PolicySet
metadata: {name: bypass, tenant: acme, owner: security@acme.example}
spec:
  timezone: UTC
  tools:
    db.run:      {args: {verb: string, table: "string?"}}
    db.free:     {args: {verb: string, table: "string?"}}
    db.nested:   {args: {statement: object}}
    pay.typed:   {args: {amount: integer, memo: "string?"}}
    pay.untyped: {args: {body: object}}
    http.post:   {args: {url: url}}
    ops.act:     {args: {env: "string?", level: "integer?", note: "string?"}}
    ops.dev:     {args: {env: string}}
  rules:
    - {id: everything, effect: allow, tools: ["*"]}
    - {id: db.no-drop, effect: deny, tools: [db.run, db.free], when: {args.verb: {in: [drop, truncate]}}}
    - {id: db.known, effect: deny, tools: [db.free], when: {not: {args.verb: {in: [select, insert]}}}}
    - {id: db.known-type, effect: deny, tools: [db.nested], when: {not: {args.statement.type: {in: [select, insert]}}}}
    - {id: pay.ceiling, effect: deny, tools: [pay.typed], when: {args.amount: {gt: 5000}}}
    - {id: pay.body-ceiling, effect: deny, tools: [pay.untyped], when: {args.body.amount: {gt: 5000}}}
    - {id: pay.memo, effect: sanitize, tools: [pay.typed], when: {args.memo: {matches: "SSN"}}, redact: [{path: /args/memo, with: "regex:SSN"}]}
    - {id: egress.known, effect: deny, tools: [http.post], when: {not: {parsed.url.host: {host_in: [api.good.example]}}}}
    - {id: ops.either, effect: deny, tools: [ops.act], when: {all: [{any: [{args.env: {eq: prod}}, {args.env: {eq: staging}}]}, {args.level: {present: true, gt: 3}}]}}
    - {id: ops.not-dev, effect: deny, tools: [ops.dev], when: {not: {args.env: {eq: dev}}}}
    - {id: ops.seven, effect: deny, tools: [ops.act], when: {args.level: {present: true, eq: 7}}}
    - {id: ops.literal, effect: deny, tools: [ops.act], when: {args.note: {present: true, eq: "fish or chips and peas"}}}
""".replace("SSN", SSN)
CONTRACT = """
apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: {name}, version: 1.0.0, tenant: acme, owner: o@acme.example}}
spec:
  description: Acts.
  effect: write
  resource: ledger
  interrupt: honours_key
  upstream: {{url: "http://127.0.0.1:{port}", timeout_seconds: 5}}
  operations:
    call: {{method: POST, path: /pay/{name}, body: all}}
  input: {{type: object, required: [{required}], properties: {properties}}}
"""


def built(root, policy=POLICY) -> World:
    """A world whose tenant acme has these tools and this set; it is not started."""
    made = World(root, "sqlite:data/aegis.db")
    home = root / "tenants/acme"
    for path in (home / "tools").iterdir():
        path.unlink()
    for name, properties in TOOLS.items():
        required = REQUIRED.get(name, "")
        text = CONTRACT.format(name=name, properties=properties, required=required, port=made.tool.port)
        (home / "tools" / f"{name}.yaml").write_text(text)
    (home / "policy.yaml").write_text(policy)
    (root / "aegis.toml").write_text('[store]\nurl = "sqlite:data/aegis.db"\n')
    return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = built(tmp_path_factory.mktemp("bypass"))
    made.start()
    yield made
    made.close()


@pytest.fixture
def b(tmp_path):
    """A world of one's own, not started yet."""
    made = built(tmp_path)
    yield made
    made.close()


def refused(w, told, code, rule=""):
    """The call was refused for this reason, it stands in the journal, and nothing was done."""
    found = told.json()
    assert (told.status_code >= 400, found["code"]) == (True, code), found
    if rule:
        assert rule in found["rules"], found
    assert w.tool.requests == []
    assert w.tool.done == []
    return found


def not_started(w) -> str:
    """Why the gateway refuses to start."""

    async def start() -> None:
        app = await open_app(w.settings)
        try:
            await app.start()
        finally:
            await app.gate.store.close()

    with pytest.raises(ConfigError) as told:
        asyncio.run(start())
    return str(told.value)


def attempt(w, tool, arguments, key="k"):
    return w.call(tool, arguments, key)


CEILING = "when: {args.amount: {gt: 5000}}"
DENY = "id: pay.ceiling, effect: deny"
RULE, CONTRACT_CODE, MALFORMED = "policy-violation", "contract-violation", "malformed"
VERBS = {
    "the denied verb": ("db.run", {"verb": "drop"}, RULE, "db.no-drop"),
    "the denied verb, no enumeration": ("db.free", {"verb": "drop"}, RULE, "db.no-drop"),
    "the denied verb inside an object": ("db.nested", {"statement": {"type": "drop"}}, RULE, "db.known-type"),
    "an object for the verb": ("db.run", {"verb": {"type": "drop"}}, CONTRACT_CODE, ""),
    "upper case": ("db.run", {"verb": "DROP"}, CONTRACT_CODE, ""),
    "upper case, no enumeration": ("db.free", {"verb": "DROP"}, RULE, "db.known"),
    "upper case inside an object": ("db.nested", {"statement": {"type": "DROP"}}, RULE, "db.known-type"),
    "a trailing space": ("db.run", {"verb": "drop "}, CONTRACT_CODE, ""),
    "a trailing space, no enumeration": ("db.free", {"verb": "drop "}, RULE, "db.known"),
    "a non-breaking space": ("db.run", {"verb": "drop\u00a0"}, CONTRACT_CODE, ""),
    "a non-breaking space, no enumeration": ("db.free", {"verb": "drop\u00a0"}, RULE, "db.known"),
    "a letter of another script": ("db.free", {"verb": "dr\u043ep"}, RULE, "db.known"),
    "in a list": ("db.run", {"verb": ["drop"]}, CONTRACT_CODE, ""),
    "in a list, no enumeration": ("db.free", {"verb": ["drop"]}, CONTRACT_CODE, ""),
    "in a list inside an object": ("db.nested", {"statement": {"type": ["drop"]}}, RULE, "db.known-type"),
    "missing": ("db.run", {}, CONTRACT_CODE, ""),
    "missing inside an object": ("db.nested", {"statement": {}}, RULE, "db.known-type"),
    "null": ("db.free", {"verb": None}, CONTRACT_CODE, ""),
    "null inside an object": ("db.nested", {"statement": {"type": None}}, RULE, "db.known-type"),
    "a second argument of another name": ("db.run", {"verb": "select", "verb2": "drop"}, CONTRACT_CODE, ""),
    "arguments by number": ("db.run", {"0": "select", "1": "drop"}, CONTRACT_CODE, ""),
    "one level deeper in an open object": ("db.nested", {"statement": {"args": {"type": "select"}}}, RULE, "db.known-type"),
}
AMOUNTS = {
    "the amount itself": ({"amount": 50000}, RULE),
    "with a comma": ({"amount": "50,000"}, CONTRACT_CODE),
    "a word": ({"amount": "lots"}, CONTRACT_CODE),
    "digits as text": ({"amount": "1"}, CONTRACT_CODE),
    "in a list": ({"amount": [50000]}, CONTRACT_CODE),
    "true": ({"amount": True}, CONTRACT_CODE),
    "null": ({"amount": None}, CONTRACT_CODE),
    "missing": ({}, CONTRACT_CODE),
    "one level deeper": ({"args": {"amount": 1}}, CONTRACT_CODE),
    "twice, in another case": ({"amount": 1, "Amount": 50000}, CONTRACT_CODE),
}
CONDITIONS = {
    "(a or b) and c by a": ("ops.act", {"env": "prod", "level": 4}, "ops.either"),
    "(a or b) and c by b": ("ops.act", {"env": "staging", "level": 4}, "ops.either"),
    "not a == b": ("ops.dev", {"env": "prod"}, "ops.not-dev"),
    "not a == b in another case": ("ops.dev", {"env": "DEV"}, "ops.not-dev"),
    "not a == b with a space": ("ops.dev", {"env": "dev "}, "ops.not-dev"),
    "equality with a number": ("ops.act", {"env": "dev", "level": 7}, "ops.seven"),
    "a literal with or and and": ("ops.act", {"env": "dev", "note": "fish or chips and peas"}, "ops.literal"),
}
CLEAR = {
    "neither a nor b": ("ops.act", {"env": "dev", "level": 4}),
    "a without c": ("ops.act", {"env": "prod", "level": 3}),
    "not a == b": ("ops.dev", {"env": "dev"}),
    "another number": ("ops.act", {"env": "dev", "level": 8}),
    "the first words of the literal": ("ops.act", {"env": "dev", "note": "fish"}),
    "the last words of the literal": ("ops.act", {"env": "dev", "note": "chips and peas"}),
    "a permitted verb": ("db.run", {"verb": "select"}),
    "a permitted verb, no enumeration": ("db.free", {"verb": "insert"}),
    "a permitted verb inside an object": ("db.nested", {"statement": {"type": "select"}}),
    "the limit": ("pay.typed", {"amount": 5000}),
    "the limit inside an object": ("pay.untyped", {"body": {"amount": 5000}}),
    "the host in upper case": ("http.post", {"url": "HTTPS://API.GOOD.EXAMPLE/x"}),
}
HOSTS = {
    "user information": ("https://api.good.example:x@evil.example/", CONTRACT_CODE),
    "an @ in the fragment": ("https://evil.example#@api.good.example", CONTRACT_CODE),
    "a backslash": ("https://evil.example\\@api.good.example", CONTRACT_CODE),
    "a trailing dot": ("https://api.good.example./", CONTRACT_CODE),
    "an address": ("https://93.184.216.34/", RULE),
    "an address of the sixth version": ("https://[2001:db8::1]/", RULE),
    "an address in two parts": ("https://127.1/", CONTRACT_CODE),
    "punycode": ("https://xn--pi-6kc.good.example/", RULE),
    "letters of another script": ("https://\u0430pi.good.example/", CONTRACT_CODE),
    "upper case of another host": ("https://API.GOOD.EXAMPLE.EVIL.EXAMPLE/", RULE),
    "below the host": ("https://a.api.good.example/", RULE),
    "another scheme": ("file://api.good.example/etc/passwd", CONTRACT_CODE),
}


@pytest.mark.parametrize("name", list(VERBS))
def test_a_denied_verb_stays_denied_however_it_is_sent(shared, name):
    tool, arguments, code, rule = VERBS[name]
    refused(shared, attempt(shared, tool, arguments), code, rule)


@pytest.mark.parametrize("body", [["drop"], ["select", "drop"], "drop"], ids=str)
def test_arguments_without_names_are_no_arguments(shared, body):
    told = shared.post("/v1/tools/db.run/call", {"arguments": body}, idempotency_key="k")
    refused(shared, told, MALFORMED)


@pytest.mark.parametrize("name", list(AMOUNTS))
def test_an_amount_above_the_limit_passes_in_no_disguise_where_it_has_a_type(shared, name):
    arguments, code = AMOUNTS[name]
    refused(shared, attempt(shared, "pay.typed", arguments), code, "pay.ceiling" if code == RULE else "")


@pytest.mark.parametrize("name", [name for name in AMOUNTS if name != "twice, in another case"])
def test_nor_where_it_has_none_because_what_is_unknown_makes_the_rule_fire(shared, name):
    refused(shared, attempt(shared, "pay.untyped", {"body": AMOUNTS[name][0]}), RULE, "pay.body-ceiling")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "9007199254740993"])
def test_a_number_that_readers_hold_differently_is_no_message(shared, number):
    body = f'{{"arguments":{{"amount":{number}}}}}'.encode()
    refused(shared, shared.post("/v1/tools/pay.typed/call", body, idempotency_key="k"), MALFORMED)


def test_an_amount_that_stands_there_twice_is_no_message(shared):
    body = b'{"arguments":{"amount":50000,"amount":1}}'
    refused(shared, shared.post("/v1/tools/pay.typed/call", body, idempotency_key="k"), MALFORMED)


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_a_condition_means_all_of_what_it_says(shared, name):
    tool, arguments, rule = CONDITIONS[name]
    refused(shared, attempt(shared, tool, arguments), RULE, rule)


@pytest.mark.parametrize("name", list(HOSTS))
def test_only_the_true_host_counts(shared, name):
    url, code = HOSTS[name]
    refused(shared, attempt(shared, "http.post", {"url": url}), code, "egress.known" if code == RULE else "")


COMPRESSED = {
    "compressed": lambda w, body: message(w, b"Content-Encoding: gzip", path=b"/v1/tools/pay.typed/call", body=body),
    "cut": lambda w, body: message(
        w, b"Content-Length: " + str(len(body) + 40).encode(), path=b"/v1/tools/pay.typed/call", body=body, length=False
    ),
}


@pytest.mark.parametrize("name", list(COMPRESSED))
def test_a_body_that_is_cut_or_compressed_is_not_acted_on(shared, name):
    raw(shared, COMPRESSED[name](shared, b'{"arguments":{"amount":1}}'), half_close=True)
    assert shared.tool.requests == []


def test_the_same_limit_stands_at_every_door(shared):
    wanted = ("policy-violation", "pay.ceiling", "args.amount", 5000)
    arguments = {"amount": 5001}
    found = [attempt(shared, "pay.typed", arguments).json()]
    found.append(shared.post("/v1/decide", {"tool": "pay.typed", "arguments": arguments}, idempotency_key="d").json())
    with aegis.Client(shared.url, shared.token) as client, pytest.raises(aegis.PolicyViolation) as by_sdk:
        client.call("pay.typed", arguments, key="s")
    found.append(by_sdk.value.problem)
    assert [(each["code"], each["rule"], each["field"], each["limit"]) for each in found] == [wanted] * 3
    words = ["call", "pay.typed", "--url", shared.url, "-a", "amount=5001", "--key", "c"]
    ran = CliRunner().invoke(cli, words, standalone_mode=False, env={"AEGIS_TOKEN": shared.token()})
    assert isinstance(ran.exception, aegis.PolicyViolation), (ran.output, ran.exception)
    assert ran.exception.problem["rule"] == "pay.ceiling"
    assert shared.tool.requests == []


# What follows lets calls through, so it has a world of its own.


def test_the_controls_go_through(b):
    b.start()
    told = {name: attempt(b, tool, arguments, f"k{number}") for number, (name, (tool, arguments)) in enumerate(CLEAR.items())}
    assert {name: each.text for name, each in told.items() if each.status_code != 200} == {}
    assert len(b.tool.done) == len(CLEAR)


def test_every_secret_in_a_text_is_covered_before_the_tool_sees_it(b):
    b.start()
    told = attempt(b, "pay.typed", {"amount": 1, "memo": "078-05-1120 and 219-09-9999, 078-05-1120"})
    assert (told.status_code, told.json()["decision"]) == (200, "sanitize")
    (request,) = b.tool.requests
    sent = json.loads(request["body"])["memo"]
    assert sent.count("*") == 3 * len("078-05-1120")
    assert re.search("[0-9]", sent) is None


# Sets that a reader would take for safe.

ONLY_DENY = POLICY.replace('    - {id: everything, effect: allow, tools: ["*"]}\n', "")
NO_RULES = POLICY[: POLICY.index("  rules:")] + "  rules: []\n"


@pytest.mark.parametrize("policy", [ONLY_DENY, NO_RULES], ids=["only deny rules", "no rules"])
def test_what_no_rule_allows_is_denied(tmp_path, policy):
    made = built(tmp_path, policy)
    try:
        made.start()
        refused(made, attempt(made, "pay.typed", {"amount": 1}), RULE, "default-deny")
    finally:
        made.close()


def test_without_a_set_the_gateway_does_not_start(b):
    (b.root / "tenants/acme/policy.yaml").unlink()
    assert "without a policy nothing is allowed" in not_started(b)
    code, rows = check(b)
    assert code == 1
    assert [row for row in rows if "without a policy nothing is allowed" in row["text"]]


def test_a_condition_that_raises_denies(b, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    b.start()
    monkeypatch.setattr(RulesGuard, "__call__", broken)
    found = refused(b, attempt(b, "pay.typed", {"amount": 1}), RULE)
    assert "everything" not in found["rules"]
    (event,) = [event for event in b.events(found["request_id"]) if event["type"] == "decision"]
    assert event["decision"] == "deny"


def test_an_engine_that_is_not_there_denies_with_its_own_reason(b):
    b.settings = replace(b.settings, policy=PolicySettings(engine="opa", opa_url="http://127.0.0.1:9", opa_timeout_ms=300))
    b.start()
    refused(b, attempt(b, "pay.typed", {"amount": 1}), RULE, "opa#unavailable")
    ready = b.get("/readyz")
    assert (ready.status_code, "policy engine" in ready.text) == (503, True)


REGO = """package aegis_acme.custom.limit

hits contains {"id": "limit.over", "effect": "deny", "live": true} if input.args.amount > 5000
"""


@pytest.mark.parametrize("engine", ["native", "opa"])
def test_null_does_not_pass_a_limit_in_rego(b, engine):
    binary()
    home = b.root / "tenants/acme"
    (home / "limit.rego").write_text(REGO)
    rego = "  rego: [{file: limit.rego, tools: [pay.typed]}]\n  rules:\n"
    (home / "policy.yaml").write_text(
        POLICY.replace("  rules:\n", rego).replace(f"    - {{{DENY}", f"    - {{mode: shadow, {DENY}")
    )
    with judged(b, engine=engine):
        refused(b, attempt(b, "pay.typed", {"amount": None}), CONTRACT_CODE)
        refused(b, attempt(b, "pay.typed", {"amount": 5001}), RULE, "limit.over")
        refused(b, attempt(b, "pay.untyped", {"body": {"amount": None}}), RULE, "pay.body-ceiling")
        assert attempt(b, "pay.typed", {"amount": 5000}, "control").status_code == 200


# Documents: what is not understood never loads, so it is never half of a rule.

DOCUMENTS = {
    "an operator that does not exist": (CEILING, "when: {args.amount: {above: 5000}}", "unknown operator `above`"),
    "an operator as a sign": (CEILING, 'when: {args.amount: {">": 5000}}', "unknown operator `>`"),
    "two conditions by sign": (CEILING, 'when: {"args.amount && args.memo": {gt: 5000}}', "has no argument `amount && args`"),
    "an expression": (CEILING, 'when: "args.amount > 5000 && args.memo"', "expected a mapping"),
    "an expression as the limit": (CEILING, 'when: {args.amount: {gt: "5000 or 1"}}', "expected an integer"),
    "a number as text": (CEILING, 'when: {args.amount: {gt: "1e5"}}', "expected an integer"),
    "a number with an exponent": (CEILING, "when: {args.amount: {gt: 1e5}}", "expected an integer"),
    "another field as the limit": (CEILING, "when: {args.amount: {gt: {ref: args.limit}}}", "references start with `tenant.`"),
    "another field by name": (CEILING, "when: {args.amount: {gt: args.limit}}", "expected an integer"),
    "a path that no contract has": (CEILING, "when: {args.amout: {gt: 5000}}", "has no argument `amout`"),
    "a path below a number": (CEILING, "when: {args.amount.value: {gt: 5000}}", "only an object has members"),
    "a path without its root": (CEILING, "when: {amount.value: {gt: 5000}}", "no such path `amount.value`"),
    "no condition at all": (CEILING, "when: {}", "empty mapping"),
    "a condition by another name": (CEILING, "if: {args.amount: {gt: 5000}}", "unknown key `if`"),
    "an effect that warns": (DENY, "id: pay.ceiling, effect: warn", "warn"),
    "an effect that logs": (DENY, "id: pay.ceiling, effect: log", "log"),
    "an effect that blocks": (DENY, "id: pay.ceiling, effect: block", "block"),
    "sanitize without saying what": (DENY, "id: pay.ceiling, effect: sanitize", "`redact` is missing"),
    "approval by nobody": (DENY, "id: pay.ceiling, effect: approval_needed", "`approval` is missing"),
    "a tool that does not exist": (
        "tools: [pay.typed], when: {args.amount",
        "tools: [pay.type], when: {args.amount",
        "unknown tool",
    ),
    "a second rule of one id": (DENY, "id: db.known, effect: deny", "rule `db.known` exists already"),
}


def check(w):
    """Exit code and rows of `aegis check`."""
    ran = CliRunner().invoke(cli, ["--dir", str(w.root), "--json", "check"], standalone_mode=False)
    return ran.return_value, json.loads(ran.stdout)["results"]


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A world that is never started, for `aegis check`."""
    made = built(tmp_path_factory.mktemp("documents"))
    yield made
    made.close()


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_a_document_that_is_not_understood_refuses_to_load_at_its_place(still, name):
    old, new, words = DOCUMENTS[name]
    assert POLICY.count(old) == 1, old
    (still.root / "tenants/acme/policy.yaml").write_text(POLICY.replace(old, new))
    code, rows = check(still)
    (failed,) = [row for row in rows if row["what"] == "tenant acme"]
    assert (code, failed["state"]) == (1, "failed")
    assert re.search(r"policy\.yaml:[0-9]+:[0-9]+: ", failed["text"]), failed
    assert words in failed["text"]


def test_a_set_that_loads_again_passes_the_check(still):
    (still.root / "tenants/acme/policy.yaml").write_text(POLICY)
    assert check(still)[0] == 0


def test_a_running_gateway_keeps_the_rules_that_it_understood(b):
    b.start()
    path = b.root / "tenants/acme/policy.yaml"
    path.write_text(POLICY.replace(CEILING, "when: {args.amount: {above: 5000}}"))
    within(15, lambda: status(b).refused)
    refused(b, attempt(b, "pay.typed", {"amount": 5001}), RULE, "pay.ceiling")
    b.stop()
    assert "unknown operator `above`" in not_started(b)


def test_a_rule_that_is_titled_block_and_only_redacts_is_pointed_out(still):
    path = still.root / "tenants/acme/policy.yaml"
    path.write_text(POLICY.replace("id: pay.memo", "id: pay.block-memo"))
    code, rows = check(still)
    assert code == 0
    assert [row for row in rows if "`pay.block-memo` says `block` but its effect is sanitize" in row["text"]]
    path.write_text(POLICY)


# Approvals and records.

HELD = """
    - id: pay.look
      effect: approval_needed
      tools: [pay.typed]
      when: {args.amount: {gte: 1000}}
      approval: {approvers: ["role:ROLE"], quorum: 1, ttl: 10m, not_requester: true}
"""


@pytest.fixture
def held(tmp_path, request):
    made = built(tmp_path, POLICY.rstrip() + HELD.replace("ROLE", getattr(request, "param", "lead")))
    made.start()
    yield made
    made.close()


@pytest.mark.parametrize("held", ["saint"], indirect=True)
def test_without_anybody_who_could_approve_the_call_is_denied_and_never_approved(held):
    refused(held, attempt(held, "pay.typed", {"amount": 1000}), RULE, "approval#nobody")
    assert held.get("/v1/approvals", held.person_token()).json()["approvals"] == []
    held.hand.offset = timedelta(minutes=11)
    refused(held, held.call("pay.typed", {"amount": 1000}, "k", held.token()), RULE, "approval#nobody")


def test_an_agent_does_not_approve_its_own_call(held):
    approval = refused(held, attempt(held, "pay.typed", {"amount": 1000}), "approval-needed")["approval_id"]
    card = held.get(f"/v1/approvals/{approval}", held.person_token()).json()
    stolen = held.statement(card)
    for agent in ("agent:payer", "agent:other"):
        told = held.post(f"/v1/approvals/{approval}/answer", {"statement": stolen}, held.token(agent))
        assert told.status_code in (401, 403, 404), told.text
    assert held.approve(approval, approver="agent:payer").status_code in (400, 401, 403, 409)
    refused(held, attempt(held, "pay.typed", {"amount": 1000}), "approval-needed")


def test_nor_does_who_it_acts_for(held):
    token = held.token(subject="person:alice")
    approval = refused(held, held.call("pay.typed", {"amount": 1000}, "k", token), "approval-needed")["approval_id"]
    assert held.approve(approval, "person:alice").status_code == 409
    refused(held, held.call("pay.typed", {"amount": 1000}, "k", token), "approval-needed")


def test_nor_does_a_child_approve_the_call_of_its_parent(held):
    parent = held.post("/v1/decide", {"tool": "pay.typed", "arguments": {"amount": 1}}, idempotency_key="plan").json()["request_id"]
    approval = refused(held, attempt(held, "pay.typed", {"amount": 1000}), "approval-needed")["approval_id"]
    card = held.get(f"/v1/approvals/{approval}", held.person_token()).json()
    child = held.token("agent:other", parent=("agent:payer", parent))
    told = held.post(f"/v1/approvals/{approval}/answer", {"statement": held.statement(card)}, child)
    assert told.status_code in (401, 403, 404), told.text
    refused(held, attempt(held, "pay.typed", {"amount": 1000}), "approval-needed")


def test_the_record_is_written_before_the_tool_acts(b):
    b.start()
    b.tool.mood = "wait-before"
    b.tool.gate.clear()
    told = []
    call = threading.Thread(target=lambda: told.append(attempt(b, "pay.typed", {"amount": 1})))
    call.start()
    assert b.tool.arrived.wait(20)
    decided = [event for event in b.events() if event["type"] == "decision"]
    assert [(event["decision"], event["rules"]) for event in decided] == [("allow", ["everything"])]
    assert b.tool.done == []
    b.tool.gate.set()
    call.join(20)
    assert told[0].status_code == 200
