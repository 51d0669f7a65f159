"""A guardrail and people through one interface: over real HTTP, each with a key of its own."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis.adapters import keyfiles
from gateway.world import world

RULES = """
apiVersion: aegis.guardrail/v1
kind: Guardrail
metadata: {name: limits, tenant: acme}
spec:
  rules:
    - id: small
      answer: approve
      when: {approval.tool: {eq: pay.honours}, shown.amount: {lte: 2000}}
      reason: within the limit
    - {id: round, answer: deny, when: {shown.amount: {eq: 2500}}, reason: looks made up}
"""


@pytest.fixture
def w(tmp_path):
    """A world in which rules ask a role that only a guardrail has, changed by configuration alone."""
    with world(tmp_path) as made:
        made.stop()
        home = made.root / "tenants" / "acme"
        directory = (home / "directory.yaml").read_text()
        (home / "directory.yaml").write_text(directory + "    person:limit-guard: {roles: [limits], automatic: true}\n")
        policy = (home / "policy.yaml").read_text()
        (home / "policy.yaml").write_text(
            policy.replace('approvers: ["role:lead"], quorum: 1', 'approvers: ["role:limits"], quorum: 1')
        )
        keyfiles.create(made.keys, "human", "acme", "person:limit-guard", now=made.hand())
        (made.root / "limits.yaml").write_text(RULES)
        (made.root / "aegis.toml").write_text("")
        made.start()
        yield made


def held(w, amount, key):
    told = w.call("pay.honours", {"amount": amount}, key)
    assert told.json()["code"] == "approval-needed", told.text
    return told.json()["approval_id"]


def guard(w, *more):
    line = [sys.executable, "-m", "aegis", "--dir", str(w.root), "--json", "guardrail", "run", "--as", "person:limit-guard"]
    line += ["--when", str(w.root / "limits.yaml"), "--url", w.url, "--tenant", "acme", *more]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_a_guardrail_takes_the_place_of_people_by_configuration_alone(w):
    small, big, odd = held(w, 1500, "k1"), held(w, 2600, "k2"), held(w, 2500, "k3")
    done = guard(w, "--once")
    assert done.returncode == 0, done.stderr
    said = {
        line["approval_id"]: (line["answer"], line["rule"], line["state"]) for line in map(json.loads, done.stdout.splitlines())
    }
    assert said == {small: ("approve", "small", "approved"), odd: ("deny", "round", "denied")}
    assert w.call("pay.honours", {"amount": 1500}, "k1").status_code == 200
    assert w.call("pay.honours", {"amount": 2500}, "k3").json()["rule"] == "approval#denied"
    assert w.get(f"/v1/approvals/{big}").json()["state"] == "pending"
    answers = [(e["approver"], e["automatic"], e["reason"]) for e in w.events() if e["type"] == "approval"]
    assert answers[0] == ("person:limit-guard", True, "rule `small`: within the limit")
    assert guard(w, "--once").stdout == ""


def test_two_guardrails_at_the_same_moment_answer_once(w):
    asked = [held(w, 1500 + number, f"k{number}") for number in range(4)]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: guard(w, "--once"), range(2)))
    lines = [json.loads(line) for each in done for line in each.stdout.splitlines()]
    assert sorted(line["approval_id"] for line in lines if line.get("state")) == sorted(asked)
    assert [e["type"] for e in w.events()].count("approval") == 4


def test_a_guardrail_may_not_answer_what_is_not_for_it(w):
    policy = w.root / "tenants" / "acme" / "policy.yaml"
    w.stop()
    policy.write_text(policy.read_text().replace("role:limits", "role:lead"))
    w.start()
    approval = held(w, 1500, "k1")
    assert guard(w, "--once").stdout == ""
    assert w.get(f"/v1/approvals/{approval}").json()["state"] == "pending"
    assert w.approve(approval).json()["state"] == "approved"


def test_a_key_that_the_directory_does_not_know_opens_nothing(w):
    directory = w.root / "tenants" / "acme" / "directory.yaml"
    w.stop()
    directory.write_text(directory.read_text().replace("automatic: true", "automatic: true, enabled: false"))
    w.start()
    done = guard(w, "--once")
    assert (done.returncode, done.stdout) == (5, "")
    assert "401" in done.stderr
