"""`aegis workflow plan`: what the gates say, in order, in eighty columns and for programs."""

import json

import pytest

from cli.command import aegis
from gates.plans import GATES, pay, plan
from gateway.world import World


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("plans")
    made = World(root, "sqlite:data/aegis.db")
    (root / "aegis.toml").write_text("")
    (root / "tenants" / "acme" / "gates.yaml").write_text(GATES.format(tenant="acme"))
    yield root
    made.close()


def run(home, made, *more, as_json=False):
    (home / "plan.yaml").write_text(json.dumps(made))
    words = ("--json",) if as_json else ()
    return aegis(home, *words, "workflow", "plan", "plan.yaml", "--tenant", "acme", *more, env={"COLUMNS": "80"})


def test_the_ending_says_what_the_gates_say(home):
    passed = run(home, plan())
    assert (passed.returncode, "pass: submitted as a plan it would start without a person" in passed.stdout) == (0, True), passed
    assert run(home, plan({"pay": pay(500), "more": pay(501, needs=["pay"])}), "--as", "agent:payer").returncode == 4
    assert run(home, plan(run_as="agent:reader")).returncode == 3


def test_what_is_printed_stays_in_eighty_columns(home):
    told = run(home, plan({"pay": pay(500), "more": pay(2000, needs=["pay"])})).stdout
    assert max(map(len, told.splitlines())) <= 80
    for part in ("order", "asks at more", "risk ", "factor", "cost 2 calls of at most 20", "note authority.will_wait"):
        assert part in told


def test_a_program_reads_every_factor_and_the_order(home):
    found = json.loads(run(home, plan({"pay": pay(5), "more": pay(6, needs=["pay"])}), as_json=True).stdout)
    assert found["risk"]["total"] == sum(each["subtotal"] for each in found["risk"]["factors"])
    assert [(each["wave"], each["step"]) for each in found["order"]] == [(1, "pay"), (2, "more")]


def test_input_makes_known_what_a_rule_reads(home):
    ended = run(home, plan({"pay": pay("$input.amount")}), "-i", "amount=9000")
    assert ended.returncode == 3
    assert "never_allowed" in ended.stdout


def test_a_name_that_nobody_knows_is_told(home):
    ended = aegis(home, "workflow", "plan", "nosuch", "--tenant", "acme")
    assert (ended.returncode, "`nosuch`" in ended.stderr) == (2, True)
    assert run(home, plan(), "--as", "agent:nobody").returncode == 2
