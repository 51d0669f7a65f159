"""Calls worth trying for each tool: the tests of a set, and the generated calls at the edges of its rules."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from aegis.policy.conditions import leaves
from aegis.policy.ir import Policy
from aegis.policy.nearmiss import probes
from aegis.policy.past import ROOT

Given = Mapping[str, Any]
MOST = 160
"""As many are kept for each tool."""
_CALLERS_OWN = ("agent.", "chain", "tenant", "environment", "version")


def pools(policy: Policy, data: Mapping[str, Any]) -> dict[str, list[Given]]:
    """Inputs worth trying, by tool, without what belongs to the caller and to the tenant."""
    found: dict[str, dict[str, Given]] = {tool: {} for tool in policy.tools}
    for tool, given in _inputs(policy, data):
        kept = {path: value for path, value in given.items() if not path.startswith(_CALLERS_OWN)}
        if len(found[tool]) < MOST:
            found[tool].setdefault(repr(sorted(kept.items(), key=lambda item: item[0])), {**kept, "tool": tool})
    return {tool: [*pool.values()] for tool, pool in found.items()}


def _inputs(policy: Policy, data: Mapping[str, Any]) -> Iterator[tuple[str, Given]]:
    """The tests of the set, and the calls at the edge of each rule, for every tool that the rule is about and that takes them."""
    yield from ((case.given["tool"], case.given) for case in policy.tests if case.given["tool"] in policy.tools)
    for rule, each in zip(policy.rules, probes(policy, data), strict=True):
        for call in (*each.hits, *each.misses):
            taken = {path.split(".")[1] for path in call.given if path.startswith("args.")}
            for line in policy.tools.values() if _told(call.given) else ():
                if rule.covers(line.name) and taken <= line.args.keys():
                    yield line.name, call.given


def _told(given: Given) -> bool:
    """Whether the input tells events of the past, and not only what a reading of them came to."""
    return not any(path.startswith(f"{ROOT}.") for path in given)


def looking_back(policy: Policy, tool: str) -> Policy:
    """As much of the set as it takes to fill a call of the tool in: only rules that look back matter for that."""
    rules = (rule for rule in policy.rules if rule.covers(tool) and any(leaf.path.parts[0] == ROOT for leaf in leaves(rule.when)))
    return replace(policy, rules=tuple(rules), tests=(), rego=())
