"""The example tenants below examples/: each loads, passes its own tests natively and in OPA, and uses the language whole."""

import json
import shutil
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from tests.policy import oracle

from aegis.adapters import catalogue, directory, messages, policies
from aegis.identity.directory import parse_directory
from aegis.model.document import parse
from aegis.policy.coverage import cover
from aegis.policy.fmt import fmt
from aegis.policy.guard import RulesGuard
from aegis.policy.lint import ERROR, WARNING, lint
from aegis.policy.selftest import call, run_tests
from aegis.policy.trial import stated_data
from aegis.surfaces.cli.main import cli
from aegis.surfaces.cli.setup import make_keys

EXAMPLES = Path(__file__).parents[2] / "examples"
TENANTS = sorted(path.parent for path in EXAMPLES.rglob("policy.yaml"))
LEAST_PERCENT = 80

every_tenant = pytest.mark.parametrize("home", TENANTS, ids=lambda home: home.name)


@cache
def _loaded(home):
    return policies.load(home, home.name)


@every_tenant
def test_an_example_loads_without_warnings_and_lint_finds_nothing(home):
    policy, data = _loaded(home)
    assert policy.warnings == ()
    assert [each for each in lint(policy, data) if each.severity in (ERROR, WARNING)] == []


@every_tenant
def test_an_example_is_laid_out_in_the_usual_way(home):
    text = (home / policies.FILE).read_text()
    assert fmt(text, source=policies.FILE) == text


@every_tenant
def test_every_tool_of_an_example_has_a_contract_and_every_contract_a_line(home):
    policy, _ = _loaded(home)
    contracts = messages.registered(home, home.name).newest
    assert policy.tools.keys() == contracts.keys()
    for name, line in policy.tools.items():
        schema = contracts[name].input_schema
        assert line.args.keys() == schema["properties"].keys()
        assert {arg for arg, said in line.args.items() if not said.optional} == set(schema.get("required", ()))


@every_tenant
def test_roles_that_rules_and_approvals_name_are_held_by_somebody(home):
    policy, _ = _loaded(home)
    people = parse_directory(parse((home / directory.FILE).read_text(), source=directory.FILE)).people
    roles = {f"role:{role}" for person in people.values() for role in person.roles}
    known = roles | set(people)
    for rule in policy.rules:
        for names in rule.terms.approver_sets if rule.terms else ():
            assert known.issuperset(names), rule.id


@every_tenant
def test_the_tests_of_an_example_pass(home):
    policy, data = _loaded(home)
    assert [(result.place, result.problems) for result in run_tests(policy, data) if not result.passed] == []


@every_tenant
def test_every_rule_has_a_hit_and_a_near_miss_and_critical_tools_are_covered(home):
    policy, data = _loaded(home)
    found = cover(replace(policy, shadow=False), data)  # a set in shadow governs nothing: count what it would govern
    assert [rule.rule for rule in found.rules if not rule.covered] == []
    assert any(tool.critical for tool in found.tools)
    assert found.critical_percent >= LEAST_PERCENT


@every_tenant
def test_real_opa_answers_every_test_of_an_example_alike(home):
    policy, data = _loaded(home)
    for stated, cases in _by_data(policy, data):
        guard = RulesGuard(policy, stated)
        with oracle.Opa(policy, stated) as opa:
            for case in cases:
                proposal, facts = call(policy, case.given, stated)
                assert opa.answer(proposal, facts) == oracle.native(guard, proposal, facts), case.place


def _by_data(policy, data):
    """The tests of a set by the tenant's data that they state: an engine holds one."""
    found = {}
    for case in policy.tests:
        stated = stated_data(data, case.given)
        found.setdefault(json.dumps(stated, sort_keys=True), (stated, []))[1].append(case)
    return found.values()


def test_aegis_check_finds_nothing_in_a_working_directory_made_of_the_examples(tmp_path, monkeypatch):
    (tmp_path / "aegis.toml").write_text('[store]\nurl = "sqlite:data/aegis.db"\n')
    for home in TENANTS:
        shutil.copytree(home, tmp_path / "tenants" / home.name)
        make_keys(tmp_path / "keys", home.name, ())
        for contract in catalogue.load(home / policies.TOOLS, home.name).newest.values():
            if contract.upstream.credential and contract.upstream.credential.env:
                monkeypatch.setenv(contract.upstream.credential.env, "invented")
    ran = CliRunner().invoke(cli, ["--dir", str(tmp_path), "--json", "check"], standalone_mode=False)
    results = json.loads(ran.stdout)["results"]
    assert [row for row in results if row["state"] != "ok" or "warning" in row["text"]] == []
    assert {row["what"] for row in results} >= {f"tenant {home.name}" for home in TENANTS}
