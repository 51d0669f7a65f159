"""A guardrail and people through one interface: over real HTTP, each with a key of its own."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from aegis.adapters import keyfiles
from aegis.surfaces.cli.main import main
from gateway.world import World

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
    made = World(tmp_path, "sqlite:data/aegis.db")
    try:
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
    finally:
        made.close()


def held(w, amount, key):
    told = w.call("pay.honours", {"amount": amount}, key)
    assert told.json()["code"] == "approval-needed", told.text
    return told.json()["approval_id"]


def words(w):
    return ["--dir", str(w.root), "--json", "guardrail", "run", "--as", "person:limit-guard", "--once",
            "--when", str(w.root / "limits.yaml"), "--url", w.url, "--tenant", "acme"]  # fmt: skip


def guard(w):
    """The command in this process: its exit code, and what it wrote."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(words(w))
    return ended.value.code, out.getvalue(), err.getvalue()


def test_a_guardrail_takes_the_place_of_people_by_configuration_alone(w):
    small, big, odd = held(w, 1500, "k1"), held(w, 2600, "k2"), held(w, 2500, "k3")
    code, out, err = guard(w)
    assert (code, err) == (0, "")
    said = {line["approval_id"]: (line["answer"], line["rule"], line["state"]) for line in map(json.loads, out.splitlines())}
    assert said == {small: ("approve", "small", "approved"), odd: ("deny", "round", "denied")}
    assert w.call("pay.honours", {"amount": 1500}, "k1").status_code == 200
    assert w.call("pay.honours", {"amount": 2500}, "k3").json()["rule"] == "approval#denied"
    assert w.get(f"/v1/approvals/{big}").json()["state"] == "pending"
    answers = [(e["approver"], e["automatic"], e["reason"]) for e in w.events() if e["type"] == "approval"]
    assert answers[0] == ("person:limit-guard", True, "rule `small`: within the limit")
    assert guard(w)[1] == ""


def test_two_guardrails_at_the_same_moment_answer_once(w):
    asked = [held(w, 1500 + number, f"k{number}") for number in range(4)]
    line = [sys.executable, "-m", "aegis", *words(w)]
    running = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [json.loads(line) for each in running for line in each.communicate(timeout=60)[0].splitlines()]
    assert sorted(line["approval_id"] for line in lines if line.get("state")) == sorted(asked)
    assert [e["type"] for e in w.events()].count("approval") == 4


def test_a_guardrail_may_not_answer_what_is_not_for_it(w):
    policy = w.root / "tenants" / "acme" / "policy.yaml"
    w.stop()
    policy.write_text(policy.read_text().replace("role:limits", "role:lead"))
    w.start()
    approval = held(w, 1500, "k1")
    assert guard(w)[1] == ""
    assert w.get(f"/v1/approvals/{approval}").json()["state"] == "pending"
    assert w.approve(approval).json()["state"] == "approved"


def test_a_key_that_the_directory_does_not_know_opens_nothing(w):
    directory = w.root / "tenants" / "acme" / "directory.yaml"
    w.stop()
    directory.write_text(directory.read_text().replace("automatic: true", "automatic: true, enabled: false"))
    w.start()
    code, out, err = guard(w)
    assert (code, out) == (5, "")
    assert "401" in err
