"""What is wrong, useless or missing in a set that loads. Each finding has a check, a severity, a place and a sentence.

An *error* is something that cannot be meant: a rule that can never fire. A *warning* probably is not meant. A *note* is something
that a careful author adds: a reason, a test.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from msgspec import Struct

from aegis.model.decision import Outcome
from aegis.policy.analysis import always_fires, covered_by, dead_rules
from aegis.policy.analysis.truth import Atom, atoms
from aegis.policy.coverage import cover
from aegis.policy.ir import Leaf, ListRef, Operand, Policy, Rule, TenantRef

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)


class Finding(Struct, frozen=True, kw_only=True):
    """One thing about one rule, list, tool or reference (`about`); `place` is `file:line:column` where it is known."""

    check: str
    severity: str
    about: str
    text: str
    place: str = ""


def lint(policy: Policy, tenant_data: Mapping[str, Any] | None = None) -> tuple[Finding, ...]:
    """Everything found, gravest first, then in the order of the set."""
    found = chain(
        _dead(policy),
        _loaded(policy),
        _constant(policy),
        _covered(policy),
        _unused(policy),
        _reasons(policy),
        _tests(policy, tenant_data),
    )
    return tuple(sorted(found, key=lambda each: SEVERITIES.index(each.severity)))


def _dead(policy: Policy) -> Iterator[Finding]:
    for rule, place, why in dead_rules(policy):
        yield Finding(check="dead-rule", severity=ERROR, about=rule, text=f"it can never fire: {why}", place=place)


def _loaded(policy: Policy) -> Iterator[Finding]:
    """What was said when the set was loaded, as `file:line:column: warning: text`."""
    for each in policy.warnings:
        place, _, text = each.partition(": warning: ")
        about = text.split("`")[1] if text.count("`") > 1 else ""
        yield Finding(check="doubtful", severity=WARNING, about=about, text=text, place=place)


def _constant(policy: Policy) -> Iterator[Finding]:
    for rule in policy.rules:
        if always_fires(rule, policy):
            text = "its condition holds for every call: say so by leaving `when` out, or mend it"
            yield Finding(check="constant-rule", severity=WARNING, about=rule.id, text=text, place=rule.place)


def _covered(policy: Policy) -> Iterator[Finding]:
    dead = {rule for rule, _, _ in dead_rules(policy)}
    living = [rule for rule in policy.rules if rule.id not in dead]
    spare: set[str] = set()
    for rule in living:
        other = next((each for each in living if each.id not in spare and _replaces(each, rule, policy)), None)
        if other is not None:
            spare.add(rule.id)
            text = f"it does nothing: whenever it fires, `{other.id}` does and has the same effect"
            yield Finding(check="covered-rule", severity=WARNING, about=rule.id, text=text, place=rule.place)
        denier = next((each for each in living if _always_denies(each, rule, policy)), None)
        if denier is not None:
            text = f"what it allows, `{denier.id}` always denies"
            yield Finding(check="denied-allow", severity=WARNING, about=rule.id, text=text, place=rule.place)


def _replaces(other: Rule, rule: Rule, policy: Policy) -> bool:
    """Whether leaving `rule` out would change nothing, because `other` says the same whenever it speaks."""
    same = (other.effect, other.terms, other.redactions, other.shadow) == (rule.effect, rule.terms, rule.redactions, rule.shadow)
    return other is not rule and same and covered_by(rule, other, policy)


def _always_denies(other: Rule, rule: Rule, policy: Policy) -> bool:
    live = not other.shadow or rule.shadow
    return rule.effect is Outcome.ALLOW and other.effect is Outcome.DENY and live and covered_by(rule, other, policy)


def _unused(policy: Policy) -> Iterator[Finding]:
    operands = [operand for rule in policy.rules for operand in _operands(atoms(rule.when))]
    lists = {operand.name for operand in operands if isinstance(operand, ListRef)}
    tested = {test.values for term in policy.terms.values() for match in (term.event, term.other) if match for test in match.tests}
    lists |= {name for name, values in policy.lists.items() if tuple(sorted(values)) in tested}
    refs = {".".join(operand.parts) for operand in operands if isinstance(operand, TenantRef)}
    for name in sorted(policy.lists.keys() - lists):
        yield Finding(check="unused", severity=WARNING, about=name, text=f"no rule uses the list `{name}`")
    for name in sorted(policy.tenant_shape.keys() - refs):
        yield Finding(check="unused", severity=WARNING, about=name, text=f"no rule refers to `tenant.{name}`")


def _operands(found: Iterable[Atom]) -> Iterator[Operand]:
    for atom in found:
        if isinstance(atom, Leaf):
            yield from atom.operands
        else:
            yield from _operands(atoms(atom.condition))


def _reasons(policy: Policy) -> Iterator[Finding]:
    for rule in policy.rules:
        if rule.effect in (Outcome.DENY, Outcome.APPROVAL_NEEDED) and not rule.reason:
            text = "it has no `reason`: whoever is stopped by it is told only its name"
            yield Finding(check="no-reason", severity=NOTE, about=rule.id, text=text, place=rule.place)


def _tests(policy: Policy, tenant_data: Mapping[str, Any] | None) -> Iterator[Finding]:
    for rule in cover(policy, tenant_data).rules:
        if not rule.covered:
            lacks = [
                words for there, words in ((rule.hits, "hit"), (rule.misses or not rule.conditional, "near miss")) if not there
            ]
            text = f"the set's own tests have no {' and no '.join(lacks)} for it; `aegis policy test --write` adds generated ones"
            yield Finding(check="untested", severity=NOTE, about=rule.rule, text=text, place=rule.place)
