"""What the tests of a set exercise.

A test *hits* a rule when the rule fires in it, live or in shadow. It *nearly misses* a rule when the rule is silent but would have
fired had a single one of its comparisons come out otherwise. A critical tool is *governed* when a rule allows it and something can
still stop it (a deny or approval rule, or a condition of every allow rule); it is *exercised* when some test permits it and some
test stops it. Generated tests are counted apart: they show that a rule works as written, not that it was written as meant.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from aegis.model.decision import Decision, Outcome
from aegis.policy.analysis.truth import atoms
from aegis.policy.explain import FAILS, HOLDS, RuleAccount, explain
from aegis.policy.ir import AllOf, Condition, Leaf, Not, Policy, Quantified, Rule
from aegis.policy.nearmiss import Probes
from aegis.policy.trial import Trial

_TRUTH: Mapping[str, bool | None] = {HOLDS: True, FAILS: False}


class RuleCoverage(Struct, frozen=True, kw_only=True):
    """How often tests make a rule fire, and nearly; `generated` counts the same for generated calls."""

    rule: str
    place: str
    conditional: bool
    hits: int = 0
    misses: int = 0
    generated_hits: int = 0
    generated_misses: int = 0

    @property
    def covered(self) -> bool:
        """Whether there is a hit, and a near miss where there can be one."""
        return self.hits > 0 and (self.misses > 0 or not self.conditional)


class ToolCoverage(Struct, frozen=True, kw_only=True):
    """How a tool of the set is looked after; `lacking` says in words what is missing."""

    tool: str
    critical: bool
    tests: int
    lacking: tuple[str, ...] = ()

    @property
    def covered(self) -> bool:
        """Whether it is governed and exercised."""
        return not self.lacking


class Coverage(Struct, frozen=True, kw_only=True):
    """Rules and tools of a set; `ungoverned` are tools known elsewhere that the set does not know."""

    rules: tuple[RuleCoverage, ...]
    tools: tuple[ToolCoverage, ...]
    ungoverned: tuple[str, ...] = ()

    @property
    def rules_percent(self) -> int:
        """Share of the rules that tests hit and nearly miss."""
        return percent(sum(rule.covered for rule in self.rules), len(self.rules))

    @property
    def critical_percent(self) -> int:
        """Share of the critical tools that are governed and exercised."""
        critical = [tool for tool in self.tools if tool.critical]
        return percent(sum(tool.covered for tool in critical), len(critical))


class _Tried(Struct, frozen=True):
    """A test that was run: its decision, and what every rule had to say."""

    tool: str
    decision: Decision
    accounts: tuple[RuleAccount, ...]


def cover(
    policy: Policy,
    tenant_data: Mapping[str, Any] | None = None,
    *,
    generated: Iterable[Probes] = (),
    seen: Iterable[str] = (),
) -> Coverage:
    """What the set's own tests exercise. `seen` are tools of the catalogue or of recorded traffic."""
    trial = Trial(policy, tenant_data or {})
    tried = [_run(policy, trial, case.given) for case in policy.tests]
    made = {each.rule: each for each in generated}
    return Coverage(
        rules=tuple(_rule(rule, tried, made.get(rule.id)) for rule in policy.rules),
        tools=tuple(_tool(name, policy, tried) for name in policy.tools),
        ungoverned=tuple(sorted(set(seen) - policy.tools.keys())),
    )


def percent(part: int, whole: int) -> int:
    """A share, rounded down; of nothing, all is covered."""
    return 100 * part // whole if whole else 100


def _run(policy: Policy, trial: Trial, given: Mapping[str, Any]) -> _Tried:
    tried = trial.run(given)
    told = explain(
        tried.decision,
        tool=tried.proposal.tool,
        agent_id=tried.proposal.principal.agent_id,
        policy=policy,
        proposal=tried.proposal,
        facts=tried.facts,
        tenant_data=tried.tenant_data,
    )
    return _Tried(tried.proposal.tool, tried.decision, told.rules)


def _rule(rule: Rule, tried: Sequence[_Tried], made: Probes | None) -> RuleCoverage:
    about = [each for each in tried if rule.covers(each.tool)]
    fired = [rule.id in {*each.decision.matched, *each.decision.shadow} for each in about]
    near = [not hit and _nearly(rule, each) for hit, each in zip(fired, about, strict=True)]
    return RuleCoverage(
        rule=rule.id,
        place=rule.place,
        conditional=rule.when is not None,
        hits=sum(fired),
        misses=sum(near),
        generated_hits=len(made.hits) if made else 0,
        generated_misses=len(made.misses) if made else 0,
    )


def _nearly(rule: Rule, tried: _Tried) -> bool:
    """Whether one comparison that came out otherwise would have made the rule fire."""
    account = next((each for each in tried.accounts if each.rule == rule.id), None)
    if account is None or rule.when is None or account.fires:
        return False
    said = [_TRUTH.get(each.result) for each in account.comparisons]
    wanted = (True,) if rule.effect is Outcome.ALLOW else (True, None)
    others = [
        {id(atom): value for atom, value in zip(atoms(rule.when), [*said[:index], flipped, *said[index + 1 :]], strict=True)}
        for index in range(len(said))
        for flipped in (True, False)
    ]
    return any(kleene(rule.when, values) in wanted for values in others)


def kleene(condition: Condition, values: Mapping[int, bool | None]) -> bool | None:
    """A condition whose comparisons (by identity) have these values."""
    if isinstance(condition, Leaf | Quantified):
        return values[id(condition)]
    if isinstance(condition, Not):
        inner = kleene(condition.condition, values)
        return None if inner is None else not inner
    parts = [kleene(part, values) for part in condition.conditions]
    decides = not isinstance(condition, AllOf)
    if decides in parts:
        return decides
    return None if None in parts else not decides


def _tool(name: str, policy: Policy, tried: Sequence[_Tried]) -> ToolCoverage:
    about = [each.decision for each in tried if each.tool == name]
    outcomes = {each.outcome for each in about if not any(rule.endswith("#contract") for rule in each.rules)}
    stopped = bool(outcomes & {Outcome.DENY, Outcome.APPROVAL_NEEDED})
    lacking = [*_ungoverned(name, policy)]
    lacking += [] if outcomes - {Outcome.DENY} else ["no test permits it"]
    lacking += [] if stopped else ["no test stops it"]
    return ToolCoverage(tool=name, critical=policy.tools[name].critical, tests=len(about), lacking=tuple(lacking))


def _ungoverned(name: str, policy: Policy) -> Iterable[str]:
    live = [rule for rule in policy.rules if rule.covers(name) and not (rule.shadow or policy.shadow)]
    allowing = [rule for rule in live if rule.effect is Outcome.ALLOW]
    if not allowing:
        yield "no live rule allows it"
    elif not any(rule.effect in (Outcome.DENY, Outcome.APPROVAL_NEEDED) for rule in live) and any(
        rule.when is None for rule in allowing
    ):
        yield "nothing can stop it: no deny or approval rule, and a rule that allows it has no condition"
