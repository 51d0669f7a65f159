"""Rules that can never fire, that always fire, or that another rule covers; each only when it is certain."""

from collections.abc import Sequence

from aegis.model.decision import Outcome, Stage
from aegis.policy.analysis.domains import Place, critical
from aegis.policy.analysis.normal import Alternatives, Demand, Wanted, alternatives, both
from aegis.policy.analysis.truth import Ground, place
from aegis.policy.ir import ANY_TOOL, Leaf, Policy, Quantified, Quantifier, Rule, ToolLine
from aegis.policy.native import limit
from aegis.policy.versions import within


def dead_rules(policy: Policy) -> tuple[tuple[str, str, str], ...]:
    """(rule, `file:line:column`, why) of every rule that no call inside the contracts can make fire, whatever the tenant's data."""
    found = ((rule, _why_dead(rule, policy)) for rule in policy.rules)
    return tuple((rule.id, rule.place, why) for rule, why in found if why)


def always_fires(rule: Rule, policy: Policy) -> bool:
    """Whether a rule has a condition that every call inside the contracts meets."""
    if rule.when is None or _edits(rule):
        return False
    silent = _silence(rule)
    return all(_contradiction(silent, line, policy) is not None for line in lines(rule, policy) if callable_(line))


def covered_by(rule: Rule, other: Rule, policy: Policy) -> bool:
    """Whether `other` fires on every call on which `rule` fires, for each tool of `rule`."""
    about = lines(rule, policy)
    if _edits(other) or not about or not all(other.covers(line.name) for line in about):
        return False
    if other.when is None:
        return True
    wanted = both(_speech(rule), _silence(other))
    return all(_contradiction(wanted, line, policy) is not None for line in about if callable_(line))


def lines(rule: Rule, policy: Policy) -> list[ToolLine]:
    """The contract lines of the tools that a rule is about."""
    return [*policy.tools.values()] if ANY_TOOL in rule.tools else [policy.tools[name] for name in rule.tools]


def callable_(line: ToolLine) -> bool:
    """Whether some version of the tool can meet the range of its contract line."""
    return not line.version or any(within(version, line.version) for version in critical(line.version))


def _why_dead(rule: Rule, policy: Policy) -> str:
    """Why it can never fire; empty when it may."""
    about = lines(rule, policy)
    able = [line for line in about if callable_(line)]
    if about and not able:
        return f"no version of `{about[0].name}` is inside its range `{about[0].version_text}`"
    if rule.when is None:
        return ""
    wanted = _speech(rule)
    reasons = [_contradiction(wanted, line, policy) for line in able]
    found = [reason for reason in reasons if reason is not None]
    return found[0] if found and len(found) == len(reasons) else ""


def _speech(rule: Rule) -> Alternatives | None:
    """The ways in which the rule fires."""
    demand = Demand.TRUE if rule.effect is Outcome.ALLOW else Demand.NOT_FALSE
    return alternatives(rule.when, demand, quiet=rule.effect is Outcome.SANITIZE)


def _silence(rule: Rule) -> Alternatives | None:
    """The ways in which it does not."""
    demand = Demand.NOT_TRUE if rule.effect is Outcome.ALLOW else Demand.FALSE
    return alternatives(rule.when, demand, quiet=rule.effect is Outcome.SANITIZE)


def _edits(rule: Rule) -> bool:
    """Whether the rule needs something to edit besides its condition."""
    return any(each.stage is Stage.REQUEST for each in rule.redactions)


def _contradiction(wanted: Alternatives | None, line: ToolLine, policy: Policy, within_: str = "") -> str | None:
    """Why none of the alternatives is possible, in the words of the first; nothing when one may be.

    `within_` stands before the names of places inside an element, which are none of the places of a call.
    """
    if wanted is None:
        return None
    first = ""
    for each in wanted:
        reason = _impossible(each, line, policy, within_)
        if reason is None:
            return None
        first = first or reason
    return first or "nothing is left that it could say"


def _impossible(wanted: Sequence[Wanted], line: ToolLine, policy: Policy, within_: str) -> str | None:
    """Which place cannot be as demanded; nothing when each can by itself."""
    ground = Ground(policy=policy)
    places: dict[str, list[Wanted]] = {}
    for each in wanted:
        places.setdefault(within_ + place(each.atom.path), []).append(each)
        if isinstance(each.atom, Quantified) and _hollow(each, policy):
            return f"no element of `{each.atom.path.text}` can meet the condition on elements"
    for name, found in places.items():
        if not Place(name, found, line, ground).possible():
            return _told(found)
    return None


def _hollow(wanted: Wanted, policy: Policy) -> bool:
    """Whether an element is demanded that cannot be. Elements may lack anything, so only what must be true is looked at."""
    atom = wanted.atom
    assert isinstance(atom, Quantified), "asked of quantified conditions only"
    if wanted.demand is not Demand.TRUE or atom.quantifier is Quantifier.NONE:
        return False
    inner = alternatives(atom.condition, Demand.TRUE)
    # Any tool will do: elements are not part of a contract line.
    anything = ToolLine(name="", args={})
    return _contradiction(inner, anything, policy, "[].") is not None


def _told(wanted: Sequence[Wanted]) -> str:
    """What is demanded of one place, in the words of the rule."""
    said = [
        f"{'' if each.demand.positive else 'not '}`{each.atom.op}` {_shown(each.atom)}"
        for each in wanted
        if isinstance(each.atom, Leaf)
    ]
    return f"`{wanted[0].atom.path.text}` can never meet {' and '.join(said)}" + (" at once" if len(said) > 1 else "")


def _shown(leaf: Leaf) -> str:
    bound = limit(leaf)
    if isinstance(bound, tuple):
        return f"[{', '.join(map(str, bound))}]"
    return str(bound).lower() if isinstance(bound, bool) else str(bound)
