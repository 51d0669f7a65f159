"""A candidate against a real journal: arguments out of the vault, history worked out from the stream itself."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.policy.strategies import loaded

from aegis.adapters import keyfiles, sqlite
from aegis.adapters.kekfiles import KekFiles
from aegis.journal.unit import Unit
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.runtime import record
from aegis.runtime.learn import Simulation, tools_seen
from aegis.runtime.vault import Vault

START = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = {
    "apiVersion": "aegis.policy/v1",
    "kind": "PolicySet",
    "metadata": {"name": "one", "tenant": "acme", "owner": "tests@acme.example"},
}
ALLOW = {"id": "base", "effect": "allow", "tools": ["pay"]}
TOOLS = {"pay": {"args": {"n": "integer"}, "history": ["n"]}}


def policy(*rules):
    return loaded(HEAD | {"spec": {"tools": TOOLS, "rules": [ALLOW, *rules]}})


def limited(**condition):
    ((word, body),) = condition.items()
    return {"id": "cap", "effect": "deny", "tools": ["pay"], "when": {"history": {word: {"event": {"tool": "pay"}} | body}}}


@pytest.fixture
async def journal(tmp_path):
    """Ten calls, one an hour, of two runs by turns; the arguments of the last were not kept."""
    store = await sqlite.open_store(tmp_path / "aegis.db", clock=lambda: START)
    keyfiles.create(tmp_path / "keys", "kek", "acme", "", now=START)
    vault = Vault(store, KekFiles(tmp_path / "keys"))
    deciding = policy()
    for number in range(10):
        who = Principal(tenant="acme", agent_id="agent:a", subject="person:b", txn=f"run-{number % 2}", trust=3)
        proposal = Proposal(
            principal=who, tool="pay", arguments={"n": 10}, request_id=f"r{number}", request_hash=f"sha256:{number}"
        )
        facts = Facts(now=START + timedelta(hours=number))
        made = decide(proposal, facts, [RulesGuard(deciding)], policy=deciding.ref)
        sealed = (
            await vault.seal("acme", f"d{number}", "arguments", msgspec.json.encode(proposal.arguments)) if number < 9 else None
        )
        event = record.decision(
            proposal, made, event_id=f"d{number}", now=facts.now, instance="i", door="http", trace_id="", span_id="",
            latency_us=1, sealed=sealed, effect="write", facts=facts,
        )  # fmt: skip
        await store.commit(Unit(tenant="acme", events=(event,), payloads=(sealed,) if sealed else ()))
    yield store, vault
    await store.close()


async def simulated(journal, candidate, since=START):
    store, vault = journal
    simulation = Simulation(store, vault, candidate, {})
    after, _ = await simulation.span(since)
    return [judged async for judged in simulation.run(since, after)]


async def flips(journal, candidate, since=START):
    return [each.request_id for each in await simulated(journal, candidate, since) if each.compared and each.compared.kind]


async def test_the_same_rules_change_nothing_and_what_was_not_kept_is_named(journal):
    found = await simulated(journal, policy())
    assert Counter(each.lost for each in found) == {"": 9, "not kept": 1}
    assert [each.request_id for each in found if each.lost] == ["r9"]
    assert await flips(journal, policy()) == []


async def test_a_limit_over_history_is_worked_out_from_the_recorded_calls(journal):
    often = policy(limited(count_within={"same": ["run.id"], "within": "24h", "gt": 3}))
    assert await flips(journal, often) == ["r6", "r7", "r8"]
    much = policy(limited(sum_within={"of": "args.n", "within": "3h", "gt": 30}))
    assert await flips(journal, much) == ["r3", "r4", "r5", "r6", "r7", "r8"]


async def test_calls_before_the_period_count_in_its_windows_and_are_not_listed(journal):
    often = policy(limited(count_within={"same": ["run.id"], "within": "24h", "gt": 3}))
    assert await flips(journal, often, START + timedelta(hours=8)) == ["r8"]
    assert len(await simulated(journal, often, START + timedelta(hours=8))) == 2


async def test_the_tools_of_the_journal_are_known(journal):
    assert await tools_seen(journal[0], "acme") == {"pay"}


async def test_what_was_erased_with_its_key_is_named(journal, tmp_path):
    store, _ = journal
    with closing(sqlite3.connect(tmp_path / "aegis.db")) as database, database:
        database.execute("DELETE FROM data_key")
    fresh = Vault(store, KekFiles(tmp_path / "keys"))
    assert Counter(each.lost for each in await simulated((store, fresh), policy())) == {"erased": 9, "not kept": 1}
