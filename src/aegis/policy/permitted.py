"""Circumstances in which a tool is permitted.

A generated call at the edge of one rule says little where another rule stops it anyway: without the look at a customer that the
set demands, no call shows that the limit on amounts was raised. So for each tool an input is built, from the hits and near misses
of its rules, in which as little as possible stands in the way; laid under the generated calls, it lets each edge be seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aegis.model.decision import Outcome
from aegis.policy.ir import Policy
from aegis.policy.trial import Trial

Given = Mapping[str, Any]
_TURNS = 2
_IN_THE_WAY = (Outcome.DENY, Outcome.APPROVAL_NEEDED)


def circumstances(policy: Policy, trial: Trial, calls: Iterable[Given]) -> dict[str, Given]:
    """By tool, the least obstructed input that can be put together from `calls`."""
    by_tool: dict[str, list[Given]] = {}
    for given in calls:
        by_tool.setdefault(given["tool"], []).append(given)
    return {tool: _least(policy, trial, tool, pool) for tool, pool in by_tool.items() if tool in policy.tools}


def laid_under(below: Given, given: Given) -> dict[str, Any]:
    """`given` with what it leaves open taken from `below`; what happened before is told by both."""
    found = {**below, **given}
    if past := [*below.get("past", ()), *given.get("past", ())]:
        found["past"] = past
    return found


def _least(policy: Policy, trial: Trial, tool: str, pool: Sequence[Given]) -> Given:
    best: Given = {"tool": tool}
    lowest = _obstacles(policy, trial, best)
    for given in [*pool] * _TURNS:
        if not lowest:
            break
        tried = laid_under(best, given)
        count = _obstacles(policy, trial, tried)
        if count < lowest:
            best, lowest = tried, count
    return best


def _obstacles(policy: Policy, trial: Trial, given: Given) -> int:
    """How many live rules stop the call, plus one when none allows it."""
    decision = trial.run(given).decision
    fired = {*decision.matched, *decision.rules}
    effects = [rule.effect for rule in policy.rules if rule.id in fired and not rule.shadow]
    broken = any("#" in rule for rule in fired)
    return sum(effect in _IN_THE_WAY for effect in effects) + (Outcome.ALLOW not in effects) + broken
