"""What differs between two versions of a set: in the text of its rules, and in what it decides.

The calls that are compared are the tests of both sets and the generated hits and near misses of the rules of both: at every edge of
the old set and of the new one. Each generated call is tried twice, as it is and where nothing else stands in its way, so that one
rule that stops everything does not hide what the others lost. Each call is decided by both with the same data of the tenant. A
difference *loosens* when less stands in the way of the call than before.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from aegis.model.decision import Outcome
from aegis.policy.analysis.truth import Atom, atoms
from aegis.policy.ir import Leaf, Policy, Rule, ToolLine
from aegis.policy.native import limit
from aegis.policy.nearmiss import probes
from aegis.policy.permitted import circumstances, laid_under
from aegis.policy.simulate import loosens
from aegis.policy.trial import Trial


class Change(Struct, frozen=True, kw_only=True):
    """One thing that was added, removed or changed; `what` is `rule`, `tool`, `list`, `tenant` or `set`."""

    what: str
    name: str
    change: str
    details: tuple[str, ...] = ()


class Flip(Struct, frozen=True, kw_only=True):
    """A call that the two sets decide differently. `source` says which test or rule the call comes from."""

    given: Mapping[str, Any]
    before: Outcome
    after: Outcome
    before_rules: tuple[str, ...]
    after_rules: tuple[str, ...]
    source: str
    loosens: bool


class Difference(Struct, frozen=True, kw_only=True):
    """Everything that differs; flips that loosen stand first. `compared` is the number of calls that both decided."""

    changes: tuple[Change, ...]
    flips: tuple[Flip, ...]
    compared: int

    @property
    def loosened(self) -> int:
        """How many of the calls have less in their way."""
        return sum(flip.loosens for flip in self.flips)


def diff(old: Policy, new: Policy, tenant_data: Mapping[str, Any] | None = None) -> Difference:
    """What `new` changes."""
    data = tenant_data or {}
    trials = Trial(old, data), Trial(new, data)
    calls = _calls(old, data, "old", trials[0]) | _calls(new, data, "new", trials[1])
    found = [_flip(*trials, old if given["tool"] in old.tools else new, given, source) for source, given in calls.values()]
    flips = [flip for flip in found if flip is not None]
    return Difference(
        changes=tuple(_changes(old, new)),
        flips=tuple(sorted(flips, key=lambda flip: not flip.loosens)),
        compared=len(calls),
    )


def _calls(policy: Policy, data: Mapping[str, Any], age: str, trial: Trial) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The calls of one set, by what they are: equal ones count once."""
    written = [(f"test `{case.name}` of the {age} set", case.given) for case in policy.tests]
    made = [
        (f"rule `{each.rule}` of the {age} set", call.given)
        for each in probes(policy, data)
        for call in (*each.hits, *each.misses)
        if call.writable  # a bare reading of history has no name that another set would know
    ]
    below = circumstances(policy, trial, [given for _, given in (*made, *written)])
    made += [
        (f"{source}, otherwise permitted", laid_under(below[given["tool"]], given))
        for source, given in made
        if given["tool"] in below
    ]
    return {repr(sorted(given.items(), key=lambda item: item[0])): (source, given) for source, given in [*written, *made]}


def _flip(old: Trial, new: Trial, known: Policy, given: Mapping[str, Any], source: str) -> Flip | None:
    """The difference about one call, which the contract lines of `known` fill in."""
    before, after = (trial.run(given, known).decision for trial in (old, new))
    if before.outcome is after.outcome:
        return None
    return Flip(
        given=given,
        before=before.outcome,
        after=after.outcome,
        before_rules=before.rules,
        after_rules=after.rules,
        source=source,
        loosens=loosens(before.outcome, after.outcome),
    )


def _changes(old: Policy, new: Policy) -> Iterable[Change]:
    for name in ("mode", "timezone", "name", "tenant", "owner"):
        before, after = _of_set(old, name), _of_set(new, name)
        if before != after:
            yield Change(what="set", name=name, change="changed", details=(f"{before} -> {after}",))
    rules = {rule.id: rule for rule in old.rules}, {rule.id: rule for rule in new.rules}
    yield from _named("rule", *rules, _rule_words)
    yield from _named("tool", old.tools, new.tools, _tool_words)
    yield from _named("list", old.lists, new.lists, _list_words)
    yield from _named("tenant", old.tenant_shape, new.tenant_shape, lambda one, two: [f"{one} -> {two}"] if one != two else [])


def _of_set(policy: Policy, name: str) -> str:
    return ("shadow" if policy.shadow else "enforce") if name == "mode" else str(getattr(policy, name))


def _named(what: str, old: Mapping[str, Any], new: Mapping[str, Any], words: Any) -> Iterable[Change]:
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield Change(what=what, name=name, change="removed")
        elif name not in old:
            yield Change(what=what, name=name, change="added")
        elif told := tuple(words(old[name], new[name])):
            yield Change(what=what, name=name, change="changed", details=told)


def _rule_words(one: Rule, two: Rule) -> Iterable[str]:
    if one.effect is not two.effect:
        yield f"effect: {one.effect} -> {two.effect}"
    if set(one.tools) != set(two.tools):
        yield f"tools: {', '.join(one.tools)} -> {', '.join(two.tools)}"
    if one.shadow is not two.shadow:
        yield f"mode: {'shadow' if one.shadow else 'enforce'} -> {'shadow' if two.shadow else 'enforce'}"
    if one.stage is not two.stage:
        yield f"stage: {one.stage} -> {two.stage}"
    if _meaning(one) != _meaning(two):
        yield from _condition_words(one, two)
    if one.terms != two.terms:
        yield "approval: other approvers, quorum or time"
    if set(one.redactions) != set(two.redactions):
        yield "redact: other places or forms"
    if one.reason != two.reason:
        yield "reason: other words"


def _condition_words(one: Rule, two: Rule) -> Iterable[str]:
    """The comparisons that came and went; or that they are joined in another way."""
    before, after = ([_comparison(atom) for atom in atoms(rule.when)] for rule in (one, two))
    gone = [text for text in before if text not in after]
    come = [text for text in after if text not in before]
    yield from (f"when: no longer {text}" for text in gone)
    yield from (f"when: now {text}" for text in come)
    if not gone and not come:
        yield "when: the same comparisons, joined in another way"


def _meaning(rule: Rule) -> str:
    return repr(rule.when)


def _comparison(atom: Atom) -> str:
    if not isinstance(atom, Leaf):
        inner = "; ".join(_comparison(each) for each in atoms(atom.condition))
        return f"`{atom.path.text}` {atom.quantifier} of ({inner})"
    bound = limit(atom)
    shown = f"[{', '.join(map(str, bound))}]" if isinstance(bound, tuple) else str(bound)
    return f"`{atom.path.text}` {atom.op} {shown}"


def _tool_words(one: ToolLine, two: ToolLine) -> Iterable[str]:
    if one.version_text != two.version_text:
        yield f"version: {one.version_text or 'any'} -> {two.version_text or 'any'}"
    if one.critical is not two.critical:
        yield "now critical" if two.critical else "no longer critical"
    for name in sorted(one.args.keys() | two.args.keys()):
        before, after = one.args.get(name), two.args.get(name)
        if before != after:
            shown = [f"{each.kind}{'?' * each.optional}" if each else "nothing" for each in (before, after)]
            yield f"argument {name}: {shown[0]} -> {shown[1]}"
    if one.labels != two.labels:
        yield "other labels"
    if set(one.history) != set(two.history):
        yield f"history: {', '.join(one.history) or 'nothing'} -> {', '.join(two.history) or 'nothing'}"


def _list_words(one: tuple[Any, ...], two: tuple[Any, ...]) -> Iterable[str]:
    yield from (f"no longer {value}" for value in one if value not in two)
    yield from (f"now {value}" for value in two if value not in one)
