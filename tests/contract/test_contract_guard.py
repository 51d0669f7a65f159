"""The guard that holds a proposal against its contract: an unknown tool, another version, arguments that do not fit, no key."""

import pytest

from aegis.model.contract import contract
from aegis.model.contract_guard import ContractGuard
from aegis.model.decision import Verdict
from aegis.model.document import parse
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal


def stated(version="1.0.0", effect="write"):
    consequences = "\n  resource: account\n  interrupt: neither" if effect == "write" else ""
    return contract(
        parse(
            f"""apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: pay, version: {version}, tenant: acme, owner: o@acme.example}}
spec:
  description: Pay.
  effect: {effect}{consequences}
  upstream: {{url: "http://127.0.0.1:1"}}
  operations: {{call: {{method: POST, path: /pay, body: all}}}}
  input:
    type: object
    required: [amount]
    properties: {{amount: {{type: integer, maximum: 5000}}, to: {{type: object}}}}
""",
            source="pay.yaml",
        )
    )


OLD, NEW = stated("1.0.0"), stated("1.1.0")
GUARD = ContractGuard({"pay": NEW}, {OLD.digest: OLD, NEW.digest: NEW})


def judged(guard=GUARD, **changes) -> tuple[Verdict, ...]:
    plain = {
        "principal": Principal(agent_id="a", tenant="acme", subject="person:x"),
        "tool": "pay",
        "tool_version": "1.1.0",
        "tool_digest": NEW.digest,
        "arguments": {"amount": 5},
        "idempotency_key": "k",
    }
    return guard(Proposal(**{**plain, **changes}), Facts())


def test_what_fits_gets_no_verdict_in_every_version():
    assert judged() == ()
    assert judged(tool_version="1.0.0", tool_digest=OLD.digest) == ()


@pytest.mark.parametrize(
    ("changes", "rule", "field"),
    [
        ({"tool": "pya"}, "pya#unknown", ""),
        ({"tool_digest": "unheard"}, "pay#version", "version"),
        ({"tool_digest": ""}, "pay#version", "version"),
        ({"tool_digest": OLD.digest}, "pay#version", "version"),
        ({"tool_version": "1.0.0"}, "pay#version", "version"),
        ({"idempotency_key": ""}, "pay#idempotency-key", "idempotency_key"),
        ({"arguments": {}}, "pay#contract", "args.amount"),
        ({"arguments": {"amount": "5"}}, "pay#contract", "args.amount"),
        ({"arguments": {"amount": 5.0}}, "pay#contract", "args.amount"),
        ({"arguments": {"amount": 5, "sudo": "SECRET"}}, "pay#contract", "args.sudo"),
        ({"arguments": {"amount": 5, "to": {"x": [0.5]}}}, "pay#contract", "args.to.x.0"),
    ],
)
def test_what_does_not_fit_is_an_error_at_its_place(changes, rule, field):
    [verdict] = judged(**changes)
    assert (verdict.guard, verdict.effect, verdict.rule, verdict.field) == ("contract", "error", rule, field)
    assert "SECRET" not in repr(verdict)


def test_every_violation_is_told_and_the_missing_key_too():
    verdicts = judged(arguments={"amount": 5001, "b": 1, "a": 1}, idempotency_key="")
    assert [verdict.field for verdict in verdicts] == ["args.a", "args.amount", "args.b", "idempotency_key"]
    assert [verdict.limit for verdict in verdicts if verdict.field == "args.amount"] == [5000]


def test_a_read_needs_no_key():
    read = stated(effect="read")
    guard = ContractGuard({"pay": read}, {read.digest: read})
    assert judged(guard, tool_version="1.0.0", tool_digest=read.digest, idempotency_key="") == ()
