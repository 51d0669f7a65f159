"""Laws of the access matrix: what it calls impossible never happens, what it shows was decided so."""

import random

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.policy.strategies import calls, loaded, policies, single, tenant_data

from access.tenants import EXAMPLES, example
from aegis.app import load_tenants
from aegis.model.decision import Outcome
from aegis.policy.access.callers import Caller
from aegis.policy.access.inputs import pools as inputs
from aegis.policy.access.matrix import matrix
from aegis.policy.access.proof import ANY_RULE, Prover
from aegis.policy.access.witness import Search
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.nearmiss import whole_call
from aegis.policy.selftest import run_tests
from aegis.runtime.reach import agent_askers, ground, reach, role_askers
from messages.post import Post


def known(data, value):
    """A value, or that nobody knows it."""
    return value if data.draw(st.booleans()) else None


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_law_no_call_comes_to_what_the_proof_rules_out(data):
    document = data.draw(st.one_of(policies(), single("allow"), single("deny")))
    policy, tenant = loaded(document), data.draw(tenant_data())
    proposal, facts = data.draw(calls(document, fitting=True))
    facts = replace(facts, environment=proposal.environment)
    who = proposal.principal
    caller = Caller(
        agent_id=known(data, who.agent_id),
        roles=known(data, who.roles),
        trust=known(data, who.trust),
        scopes=("*",),
        alone=not who.chain and data.draw(st.booleans()),
    )
    possible = Prover(policy, tenant, proposal.environment, {proposal.tool: [proposal.tool_version]}).possible(
        caller, proposal.tool
    )
    decision = decide(proposal, facts, [RulesGuard(policy, tenant)])
    event("nothing" if possible.nothing else "always" if possible.always else "open")
    if decision.outcome is Outcome.APPROVAL_NEEDED:
        assert {*decision.rules} <= possible.holds
    elif decision.permits:
        assert possible.permit
    elif possible.always and not possible.nothing:
        assert any(rule.endswith("#contract") for rule in decision.rules)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_law_where_nobody_can_approve_a_held_call_counts_as_denied(data):
    document = data.draw(policies())
    policy, tenant = loaded(document), data.draw(tenant_data())
    proposal, facts = data.draw(calls(document, fitting=True))
    facts = replace(facts, environment=proposal.environment)
    held = [rule.id for rule in policy.rules if rule.effect is Outcome.APPROVAL_NEEDED]
    hopeless = data.draw(st.frozensets(st.sampled_from(held))) if held else frozenset()
    caller = Caller(agent_id=None, roles=None, trust=None, scopes=("*",))
    prover = Prover(policy, tenant, proposal.environment, {proposal.tool: [proposal.tool_version]}, hopeless)
    decision = decide(proposal, facts, [RulesGuard(policy, tenant)])
    if decision.outcome is Outcome.APPROVAL_NEEDED and not hopeless & {*decision.rules}:
        assert {*decision.rules} <= prover.possible(caller, proposal.tool).holds
    elif decision.permits:
        assert prover.possible(caller, proposal.tool).permit


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_cell_that_says_none_is_contradicted_by_no_call(name, tmp_path):
    """Calls at every edge of the rules, and with arguments mixed at random, put into the mouth of each caller."""
    tenant = example(name, tmp_path)
    here = ground(tenant)
    askers = [*role_askers(tenant.directory), *agent_askers(tenant.directory)]
    found = {(row.kind, row.name): row for row in matrix(here, askers).rows}
    search = Search(here.policy, here.data, here.contracts, here.judge, here.environment)
    pools, dice = inputs(here.policy, here.data), random.Random(7)
    for asker in askers:
        cells = found[asker.kind, asker.name].cells
        for tool in (tool for tool, cell in cells.items() if cell.none):
            for _ in range(40):
                caller = dice.choice(asker.callers)
                mixed = {path: value for each in dice.choices(pools.get(tool) or [{}], k=3) for path, value in each.items()}
                whole = search.sample(here.contracts[tool][0]) | mixed | {"tool": tool, "agent.id": caller.agent_id or "agent:x"}
                whole |= {
                    "agent.roles": [*(caller.roles or ())],
                    "agent.scopes": [*caller.scopes],
                    "agent.trust": 5 if caller.trust is None else caller.trust,
                }
                decision = search.decide(whole, here.contracts[tool][0])
                assert decision.outcome is Outcome.DENY, (asker.name, tool, whole)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_witness_is_decided_as_it_is_claimed_by_every_guard_and_passes_as_a_test_of_the_set(name, tmp_path):
    tenant = example(name, tmp_path)
    here = ground(tenant)
    made = reach(tenant)
    witnesses = [
        each for row in made.rows for cell in row.cells.values() for each in (*cell.permits.values(), *cell.holds.values())
    ]
    assert len(witnesses) > 1
    cells = [cell for row in made.rows for cell in row.cells.values()]
    assert all(each.outcome is of and of is not Outcome.DENY for cell in cells for of, each in cell.permits.items())
    assert all(
        each.outcome is Outcome.APPROVAL_NEEDED and rule in each.rules for cell in cells for rule, each in cell.holds.items()
    )
    case = here.policy.tests[0]
    for each in witnesses:
        proposal, _ = whole_call(here.policy, each.given, here.data)
        contract = tenant.by_digest[each.digest]
        assert contract.check_input(proposal.arguments) == ()
        rules = replace(
            case,
            given=each.given,
            expect=replace(case.expect, outcome=each.outcome, rules=(), not_rules=(), shadow=(), would_be=None),
        )
        assert [result.problems for result in run_tests(replace(here.policy, tests=(rules,)), here.data)] == [()], each.given
        agent = tenant.directory.agents[each.given["agent.id"]]
        assert {*each.given["agent.roles"]} <= {*agent.roles}
        assert each.given["agent.trust"] == agent.trust


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_was_seen_is_what_the_proof_leaves_open(name, tmp_path):
    tenant = example(name, tmp_path)
    here = ground(tenant)
    versions = {tool: [each.version for each in found] for tool, found in here.contracts.items()}
    prover = Prover(here.policy, here.data, here.environment, versions)
    askers = {(each.kind, each.name): each for each in (*role_askers(tenant.directory), *agent_askers(tenant.directory))}
    for row in reach(tenant).rows:
        for tool, cell in row.cells.items():
            possible = [prover.possible(caller, tool) for caller in askers[row.kind, row.name].callers]
            assert not cell.permits or any(each.permit for each in possible)
            assert cell.holds.keys() <= {rule for each in possible for rule in each.holds} | {ANY_RULE}


def test_a_message_is_reached_by_those_whom_its_contract_names(tmp_path):
    world = Post(tmp_path, "sqlite:data/aegis.db")
    try:
        tenant = load_tenants(world.settings)["acme"]
    finally:
        world.close()
    cells = {row.name: row.cells for row in reach(tenant).rows}
    assert cells["agent:payer"]["message.order"].words == "allow/sanitize/approval if"
    assert cells["agent:payer"]["message.note"].words == "allow"
    assert [cells[name]["message.note"].words for name in ("agent:store", "agent:ann", "agent:seller")] == ["none"] * 3
    assert cells["agent:seller"]["message.order"].words == "none"  # its contract names the role, and a rule denies it
