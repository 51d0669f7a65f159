"""Decision in process: 66 rules, 20 tools, for 1 and for 1000 tenants, the whole `decide` with the guards of the policy room."""

import gc
import json
from datetime import UTC, datetime
from statistics import quantiles
from time import perf_counter_ns
from typing import Any

from aegis.model.decision import Guard
from aegis.model.facts import Facts
from aegis.model.principal import Link, Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.guards import HaltedGuard
from aegis.policy.language import load
from aegis.policy.readings import ReadingsGuard, RefusalGuard

TOOLS = 20
NOW = datetime(2026, 1, 7, 11, 0, tzinfo=UTC)
ARGS = {"amount_minor": "integer", "iban": "string", "purpose": "string", "memo": "string?", "url": "url?"}


def document(tenant: str) -> dict[str, Any]:
    """A set of 66 rules: six for every tool, three for each of the 20 tools."""
    rules: list[dict[str, Any]] = [
        {"id": "core.depth", "effect": "deny", "tools": ["*"], "when": {"chain": {"longer_than": 4}}},
        {"id": "core.trust", "effect": "deny", "tools": ["*"], "when": {"chain": {"any": {"trust": {"lt": 2}}}}},
        {"id": "core.env", "effect": "deny", "tools": ["*"], "when": {"environment": {"in": ["lab", "scratch"]}}},
        {"id": "core.agent", "effect": "deny", "tools": ["*"], "when": {"agent.id": {"in": ["agent-retired"]}}},
        {
            "id": "core.night",
            "effect": "deny",
            "tools": ["*"],
            "mode": "shadow",
            "when": {"now.time": {"outside": ["06:00", "22:00"]}},
        },
        {"id": "core.low-trust", "effect": "deny", "tools": ["*"], "when": {"agent.trust": {"lt": 1}}},
    ]
    for index in range(TOOLS):
        tool = [f"tool.t{index}"]
        some = {"amount_minor": {"gt": {"ref": "tenant.limits.most"}}}
        rules += [
            {
                "id": f"t{index}.allow",
                "effect": "allow",
                "tools": tool,
                "when": {"all": [{"agent.roles": {"contains": "worker"}}, {"args.purpose": {"in": ["treatment", "billing"]}}]},
            },
            {
                "id": f"t{index}.ceiling",
                "effect": "deny",
                "tools": tool,
                "when": {f"args.{key}": value for key, value in some.items()},
            },
            {
                "id": f"t{index}.iban",
                "effect": "deny",
                "tools": tool,
                "when": {"not": {"args.iban": {"matches": "^(?:DE|FR|NL)[0-9]{2}[A-Z0-9]{10,30}$"}}},
            },
        ]
    return {
        "apiVersion": "aegis.policy/v1",
        "kind": "PolicySet",
        "metadata": {"name": "bench", "tenant": tenant, "owner": "bench@acme.example"},
        "spec": {
            "timezone": "Europe/Berlin",
            "tenant": {"limits": {"most": "integer"}},
            "tools": {f"tool.t{index}": {"version": ">=1.0.0 <2.0.0", "args": ARGS} for index in range(TOOLS)},
            "rules": rules,
        },
    }


def guards(tenant: str) -> tuple[Guard, ...]:
    """All guards of the policy room for one tenant."""
    policy = load(json.dumps(document(tenant)), source=tenant)
    effects = dict.fromkeys(policy.tools, "write")
    return (RulesGuard(policy, {"limits": {"most": 500_000}}), HaltedGuard(effects), ReadingsGuard(), RefusalGuard())


def proposal(tenant: str, index: int) -> Proposal:
    """A call that passes every rule, so that every rule of its tool is tested; every fourth has a URL to parse."""
    arguments: dict[str, Any] = {"amount_minor": 4000 + index, "iban": "DE89370400440532013000", "purpose": "billing"}
    if index % 4 == 0:
        arguments["url"] = "https://api.good.example/v1/charges?limit=3"
    principal = Principal(
        tenant=tenant,
        agent_id=f"agent-{index % 7}",
        subject="person:ana",
        roles=("clerk", "worker"),
        scopes=("tool.*",),
        trust=3,
        chain=(Link(agent_id="agent-planner", trust=4), Link(agent_id="agent-root", trust=5)),
    )
    return Proposal(
        principal=principal,
        tool=f"tool.t{index % TOOLS}",
        arguments=arguments,
        tool_version="1.2.0",
        environment="production",
        request_id=f"req_{index}",
        request_hash="sha256:one",
    )


def measure(tenants: int, decisions: int = 40_000) -> dict[str, Any]:
    """Microseconds per decision over `decisions` calls spread over `tenants`."""
    started = perf_counter_ns()
    of = [(f"tenant{number}", guards(f"tenant{number}")) for number in range(tenants)]
    built = perf_counter_ns() - started
    calls = [(proposal(name, index), asked) for index in range(max(200, tenants)) for name, asked in [of[index * 7919 % tenants]]]
    facts = Facts(now=NOW, environment="production")
    for call, asked in calls[:200]:
        assert decide(call, facts, asked).permits
    taken = []
    gc.collect()
    for index in range(decisions):
        call, asked = calls[index % len(calls)]
        before = perf_counter_ns()
        decide(call, facts, asked)
        taken.append(perf_counter_ns() - before)
    cuts = quantiles(taken, n=1000)
    return {
        "tenants": tenants,
        "p50_us": round(cuts[499] / 1000, 1),
        "p99_us": round(cuts[989] / 1000, 1),
        "p999_us": round(cuts[998] / 1000, 1),
        "per_second": round(1e9 * decisions / sum(taken)),
        "load_ms_per_tenant": round(built / tenants / 1e6, 1),
    }


def run() -> list[dict[str, Any]]:
    """One row for each number of tenants."""
    return [
        {"name": "decide", "rules": 66, "tools": TOOLS, **measure(1)},
        {"name": "decide", "rules": 66, "tools": TOOLS, **measure(1000)},
    ]
