"""`engine: opa` over HTTP: a real server answers as native evaluation does, and every fault denies."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from hypothesis import HealthCheck, find, settings
from msgspec.structs import replace
from tests.opa.server import Server, binary
from tests.policy import strategies
from tests.policy.variants import Variants

from aegis.adapters.opa import OpaEngine, parser
from aegis.errors import CanonicalError
from aegis.model.decision import Outcome
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.ir import RegoModule
from aegis.policy.rego import custom, module
from aegis.policy.rego.asked import document

NOW = datetime(2026, 1, 7, 12, 0, tzinfo=UTC)
CALL = Proposal(principal=Principal(tenant="acme", agent_id="a", subject="s"), tool="probe.run", arguments={})
FACTS = Facts(now=NOW)
SET = strategies.loaded(
    {
        "apiVersion": "aegis.policy/v1",
        "kind": "PolicySet",
        "metadata": {"name": "open", "tenant": "acme", "owner": "tests@acme.example"},
        "spec": {"tools": {"probe.run": {"args": {}}}, "rules": [{"id": "all", "effect": "allow", "tools": ["*"]}]},
    }
)
ALLOWED = {
    "outcome": "allow",
    "would_be": None,
    "rules": ["all"],
    "matched": ["all"],
    "shadow": [],
    "redactions": [],
    "terms": None,
    "custom": [],
    "revision": SET.digest,
}


class Says:
    name = "rules"

    def __init__(self, said):
        self.said = said

    def __call__(self, *_):
        return self.said


def files(policy=SET, tenant_data=None):
    return {**module.library(), **module.modules(policy), "data.json": module.data(policy, tenant_data or {})}


@asynccontextmanager
async def engine(url, deadline=timedelta(seconds=5)):
    found = OpaEngine(url, deadline=deadline)
    await found.start()
    try:
        yield found
    finally:
        await found.close()


async def asked(url, *, policy=SET, revision=None, deadline=timedelta(seconds=5)):
    async with engine(url, deadline) as opa:
        return await opa.ask(policy, document(CALL, FACTS, policy), revision=revision or policy.digest)


@asynccontextmanager
async def answering(handler):
    """A server of our own that answers what it likes."""
    app = web.Application()
    app.router.add_post("/v1/data/aegis_acme/main/decision", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def says(body, status=200):
    async def handler(request):
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status, content_type="application/json")

    return handler


async def test_a_real_server_answers():
    with Server(files()) as opa:
        said = await asked(opa.url)
    assert [(each.rule, str(each.effect)) for each in said] == [("all", "allow")]


async def test_a_real_server_decides_hundreds_of_calls_as_native_evaluation_does():
    binary()
    several = find(strategies.policies(), lambda found: len(found["spec"]["rules"]) > 5, settings=_FIND)
    policy = strategies.loaded(several)
    guard = RulesGuard(policy, {})
    base = replace(CALL, tool_version="1.2.0", arguments={"text": "red", "body": {}, "url": "https://api.good.example/"})
    variants = Variants(7, several, {}, [(base, FACTS)])
    compared = 0
    with Server(files(policy)) as server:
        async with engine(server.url) as opa:
            for _ in range(300):
                proposal, facts = variants.call()
                try:
                    given = document(proposal, facts, policy)
                except CanonicalError:
                    continue
                said = await opa.ask(policy, given, revision=policy.digest)
                found, wanted = decide(proposal, facts, [Says(said)]), decide(proposal, facts, [guard])
                assert replace(found, reasons=()) == replace(wanted, reasons=())
                compared += 1
    assert compared > 200


_FIND = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck), database=None)


async def test_a_real_server_asks_hand_written_modules_too():
    text = (
        'package aegis_acme.custom.fx\n\nhits contains {"id": "fx.no", "effect": "deny", "live": true} if input.agent.id == "a"\n'
    )
    mixed = replace(SET, rego=(RegoModule(file="custom/fx.rego", text=text, tools=("probe.run",)),))
    with Server(files(mixed)) as server:
        async with engine(server.url) as opa:
            said = await opa.ask(mixed, document(CALL, FACTS, mixed), revision=mixed.digest)
            other = replace(CALL, principal=replace(CALL.principal, agent_id="b"))
            unsaid = await opa.ask(mixed, document(other, FACTS, mixed), revision=mixed.digest)
    assert [(each.rule, str(each.effect)) for each in said] == [("all", "allow"), ("fx.no", "deny")]
    assert [each.rule for each in unsaid] == ["all"]


async def test_another_revision_denies():
    with Server(files()) as opa:
        said = await asked(opa.url, revision="sha256:other")
        assert [(each.rule, each.effect) for each in said] == [("opa#revision", "error")]
        newer = replace(SET, digest="sha256:newer")
        said = await asked(opa.url, policy=newer)
        assert [each.rule for each in said] == ["opa#revision"]


async def test_a_set_that_is_not_loaded_denies():
    with Server({"a.rego": "package a\n"}) as opa:
        said = await asked(opa.url)
    assert [(each.rule, each.effect) for each in said] == [("opa#answer", "error")]


async def test_a_builtin_that_fails_denies():
    broken = files()
    broken["aegis_acme/rules.rego"] = (
        'package aegis_acme.rules\n\nfires_1 if count(split("a", input.tool)) > to_number(input.tool)\n'
    )
    with Server(broken) as opa:
        said = await asked(opa.url)
    assert [(each.rule, each.effect) for each in said] == [("opa#answer", "error")]


async def test_a_server_that_has_gone_denies_and_one_that_is_back_answers():
    with Server(files()) as opa:
        async with engine(opa.url) as found:
            given = document(CALL, FACTS, SET)
            assert [each.rule for each in await found.ask(SET, given, revision=SET.digest)] == ["all"]
            opa.stop()
            gone = await found.ask(SET, given, revision=SET.digest)
    assert [(each.rule, each.effect) for each in gone] == [("opa#unavailable", "error")]


async def test_no_answer_before_the_deadline_denies():
    async def handler(request):
        await asyncio.sleep(30)

    async with answering(handler) as url:
        said = await asked(url, deadline=timedelta(milliseconds=50))
    assert [(each.rule, each.effect) for each in said] == [("opa#unavailable", "error")]


async def test_an_answer_that_never_ends_denies():
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 1024)
            await asyncio.sleep(0.01)

    async with answering(handler) as url:
        said = await asked(url, deadline=timedelta(milliseconds=100))
    assert [(each.rule, each.effect) for each in said] == [("opa#unavailable", "error")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"result": ALLOWED}, 500),
        ({"result": ALLOWED}, 201),
        ({"result": ALLOWED}, 302),
        ({}, 200),
        ({"result": None}, 200),
        ({"result": True}, 200),
        ({"result": {"allow": True}, "provenance": {}}, 200),
        ([{"result": ALLOWED}], 200),
        ("allow", 200),
        ("", 200),
        ('{"result": ' + "[" * 100_000, 200),
        ('{"result": "' + "x" * 2_000_000 + '"}', 200),
        ({"result": ALLOWED | {"outcome": "permit"}}, 200),
        ({"result": ALLOWED | {"matched": ["all", "other"]}}, 200),
        ({"result": ALLOWED | {"rules": ["other"], "matched": ["other"]}}, 200),
    ],
    ids=range(15),
)
async def test_another_answer_than_was_agreed_denies(body, status):
    async with answering(says(body, status)) as url:
        said = await asked(url)
    assert [each.effect for each in said] == ["error"]
    assert decide(CALL, FACTS, [Says(said)]).outcome is Outcome.DENY


@pytest.mark.parametrize(
    ("bundles", "rules"),
    [
        (None, ["all"]),
        ({}, ["all"]),
        ({"acme": {"revision": "r2"}}, ["opa#revision"]),
        ({"acme": {"revision": "r1"}}, ["all"]),
        ({"lib": {"revision": "l7"}, "acme": {"revision": "r1"}}, ["all"]),
        ({"acme": {}}, ["opa#revision"]),
        ({"acme": "r1"}, ["opa#revision"]),
        (["r1"], ["opa#revision"]),
    ],
)
async def test_the_bundle_behind_an_answer_must_be_the_expected_one(bundles, rules):
    async with answering(says({"result": ALLOWED, "provenance": {"bundles": bundles}})) as url:
        said = await asked(url, revision="r1" if bundles else SET.digest)
    assert [each.rule for each in said] == rules


async def test_a_call_without_a_form_in_json_is_not_sent():
    sent = []

    async def handler(request):
        sent.append(request)
        return web.json_response({"result": ALLOWED})

    async with answering(handler) as url, engine(url) as opa:
        for value in (float("nan"), float("inf"), "\ud800", object()):
            said = await opa.ask(SET, {"args": {"a": value}}, revision=SET.digest)
            assert [(each.rule, each.effect) for each in said] == [("opa#input", "error")]
    assert sent == []


async def test_an_engine_that_has_not_started_denies():
    said = await OpaEngine("http://127.0.0.1:9").ask(SET, {}, revision=SET.digest)
    assert [(each.rule, each.effect) for each in said] == [("opa#unavailable", "error")]


async def test_whoever_gives_up_waiting_is_not_held():
    async def handler(request):
        await asyncio.sleep(30)

    async with answering(handler) as url, engine(url, timedelta(seconds=30)) as opa:
        waiting = asyncio.create_task(opa.ask(SET, {}, revision=SET.digest))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_calls_at_the_same_time_get_their_own_answers():
    with Server(files()) as server:
        async with engine(server.url) as opa:
            known = document(CALL, FACTS, SET)
            unknown = document(replace(CALL, tool="probe.other"), FACTS, SET)
            asks = [opa.ask(SET, given, revision=SET.digest) for given in [known, unknown] * 50]
            said = await asyncio.gather(*asks)
    assert [each[0].rule for each in said] == ["all", "probe.other#contract"] * 50


def test_the_parser_of_a_real_opa_checks_modules():
    parse = parser(binary())
    good = 'package aegis_acme.custom.fx\n\nhits contains {"id": "fx.a", "effect": "deny", "live": true} if input.args.a > 1\n'
    assert custom.tree_problems(parse(good), "acme") == ()
    assert any("http.send" in each for each in custom.tree_problems(parse(good + "x := http.send({})\n"), "acme"))
    with pytest.raises(ValueError, match="line 4"):
        parse(good + "x := ]\n")


def test_a_parser_that_is_not_there_says_so():
    with pytest.raises(ValueError, match="gave no syntax tree"):
        parser("/nowhere/opa")("package a\n")
