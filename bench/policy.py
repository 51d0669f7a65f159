"""What deciding by rules costs against the number of rules and of tenants: native evaluation, and a real OPA beside it.

The same calls go to all engines in the same run. `opa` is Open Policy Agent as a library in this process (requirements/opa.txt);
`opa http` is an OPA server on loopback asked by the gateway's own adapter, where a binary is at hand (AEGIS_OPA or PATH). Native rows
are the rules guard alone; `bench.decide` has the whole decision. JSON and the input document count for OPA only, which needs them.
"""

import asyncio
import gc
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from time import perf_counter_ns
from typing import Any

from bench.decide import ARGS, NOW, TOOLS, document, proposal

from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.guard import RulesGuard
from aegis.policy.ir import Policy
from aegis.policy.language import load
from aegis.policy.rego import module
from aegis.policy.rego.asked import document as asked
from aegis.policy.rego.names import entry_point

DATA = {"limits": {"most": 500_000}}
FACTS = Facts(now=NOW, environment="production")
CALLS = 200
_IBAN = {"not": {"args.iban": {"matches": "^(?:DE|FR|NL)[0-9]{2}[A-Z0-9]{10,30}$"}}}


def sized(tenant: str, rules: int) -> Policy:
    """A set of so many rules over up to 20 tools; those of a call's tool are all asked, and none of them objects."""
    text = document(tenant)
    tools = min(TOOLS, max(1, rules // 5))
    text["spec"]["tools"] = {f"tool.t{index}": {"version": ">=1.0.0 <2.0.0", "args": ARGS} for index in range(tools)}
    allows = [
        {"id": f"t{index}.allow", "effect": "allow", "tools": [f"tool.t{index}"], "when": {"agent.roles": {"contains": "worker"}}}
        for index in range(tools)
    ]
    more = [
        {"id": f"r{number}", "effect": "deny", "tools": [f"tool.t{number % tools}"], "when": when}
        for number in range(rules - tools)
        for when in [({"args.amount_minor": {"gt": 500_000 + number}}, _IBAN, {"agent.trust": {"lt": 1}})[number % 3]]
    ]
    text["spec"]["rules"] = allows + more
    return load(json.dumps(text), source=tenant)


def calls(tenants: list[str]) -> list[Proposal]:
    """Calls of the one tool, spread over the tenants."""
    return [proposal(tenants[number * 7919 % len(tenants)], 20 * number) for number in range(max(CALLS, len(tenants)))]


def timed(work: Callable[[Proposal], Any], of: list[Proposal], times: int) -> dict[str, Any]:
    """Microseconds of `work` over `times` calls."""
    for call in of[:CALLS]:
        work(call)
    taken = []
    gc.collect()
    for number in range(times):
        call = of[number % len(of)]
        before = perf_counter_ns()
        work(call)
        taken.append(perf_counter_ns() - before)
    return _told(taken)


def _told(taken: list[int]) -> dict[str, Any]:
    cuts = quantiles(taken, n=100)
    return {"p50_us": round(cuts[49] / 1000, 1), "p99_us": round(cuts[98] / 1000, 1)}


def native(policies: dict[str, Policy], of: list[Proposal]) -> dict[str, Any]:
    """The rules guard."""
    guards = {tenant: RulesGuard(policy, DATA) for tenant, policy in policies.items()}
    for call in of[:CALLS]:
        assert {verdict.rule for verdict in guards[call.principal.tenant](call, FACTS)} == {"t0.allow"}
    return timed(lambda call: guards[call.principal.tenant](call, FACTS), of, 10_000)


def library(policies: dict[str, Policy], of: list[Proposal]) -> dict[str, Any] | None:
    """OPA in this process."""
    try:
        from opa_bindings.engine import OpaEngine
    except ImportError:
        return None
    with OpaEngine() as engine:
        for path, text in _files(policies).items():
            engine.add_policy(path, text)
        engine.add_data(_data(policies))
        return timed(
            lambda call: engine.eval_document(
                entry_point(call.principal.tenant), asked(call, FACTS, policies[call.principal.tenant])
            ),
            of,
            1_000,
        )


def server(policies: dict[str, Policy], of: list[Proposal]) -> dict[str, Any] | None:
    """An OPA server on loopback, asked by the gateway's adapter."""
    if not (os.environ.get("AEGIS_OPA") or shutil.which("opa")):
        return None
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from opa.server import Server

    files: dict[str, Any] = {**_files(policies), "data.json": _data(policies)}
    with Server(files=files) as opa:
        return asyncio.run(_asked(opa.url, policies, of))


async def _asked(url: str, policies: dict[str, Policy], of: list[Proposal]) -> dict[str, Any]:
    from aegis.adapters.opa import OpaEngine

    engine = OpaEngine(url)
    await engine.start()
    taken = []
    try:
        for number in range(CALLS + 1_000):
            call = of[number % len(of)]
            policy = policies[call.principal.tenant]
            before = perf_counter_ns()
            found = await engine.ask(policy, asked(call, FACTS, policy), revision=policy.digest)
            if number >= CALLS:
                taken.append(perf_counter_ns() - before)
            assert {verdict.rule for verdict in found} == {"t0.allow"}, found
    finally:
        await engine.close()
    return _told(taken)


def _files(policies: dict[str, Policy]) -> dict[str, str]:
    found = dict(module.library())
    for policy in policies.values():
        found |= module.modules(policy)
    return found


def _data(policies: dict[str, Policy]) -> dict[str, Any]:
    merged: dict[str, Any] = {module.DATA_ROOT: {}}
    for policy in policies.values():
        merged[module.DATA_ROOT] |= module.data(policy, DATA)[module.DATA_ROOT]
    return merged


def run() -> list[dict[str, Any]]:
    """One row for each engine, number of rules, number of tenants."""
    rows = []
    for rules, tenants in ((10, 1), (100, 1), (1000, 1), (10, 1000)):
        policies = {f"tenant{number}": sized(f"tenant{number}", rules) for number in range(tenants)}
        of = calls(list(policies))
        base = native(policies, of)
        rows.append({"engine": "native", "rules": rules, "tenants": tenants, **base, "to_native": 1.0})
        for name, engine in (("opa", library), ("opa http", server)):
            # The library compiles everything anew with each module that it is given: thousands of them take minutes.
            found = engine(policies, of) if tenants == 1 or engine is server else None
            if found is not None:
                ratio = round(found["p50_us"] / base["p50_us"], 1)
                rows.append({"engine": name, "rules": rules, "tenants": tenants, **found, "to_native": ratio})
    return rows
