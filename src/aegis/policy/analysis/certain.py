"""Rules that can never fire, that always fire, or that another rule covers; each only when it is certain."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from aegis.model.decision import Outcome, Stage
from aegis.policy.analysis.domains import Place, critical
from aegis.policy.analysis.normal import Alternatives, Demand, Wanted, alternatives, both
from aegis.policy.analysis.truth import Ground, place
from aegis.policy.ir import ANY_TOOL, Leaf, Policy, Quantified, Quantifier, Rule, ToolLine
from aegis.policy.native import limit
from aegis.policy.versions import within


class Scene(Struct, frozen=True, kw_only=True):
    """Calls of one tool, of which some places may be known.

    `prefix` stands before the names of places inside an element, which are none of the places of a call.
    """

    line: ToolLine
    ground: Ground
    known: Mapping[str, Any] = {}
    prefix: str = ""


def dead_rules(policy: Policy) -> tuple[tuple[str, str, str], ...]:
    """(rule, `file:line:column`, why) of every rule that no call inside the contracts can make fire, whatever the tenant's data."""
    found = ((rule, _why_dead(rule, policy)) for rule in policy.rules)
    return tuple((rule.id, rule.place, why) for rule, why in found if why)


def always_fires(rule: Rule, policy: Policy) -> bool:
    """Whether a rule has a condition that every call inside the contracts meets."""
    if rule.when is None or _edits(rule):
        return False
    silent = silence(rule)
    return all(contradiction(silent, _scene(line, policy)) is not None for line in lines(rule, policy) if callable_(line))


def covered_by(rule: Rule, other: Rule, policy: Policy) -> bool:
    """Whether `other` fires on every call on which `rule` fires, for each tool of `rule`."""
    about = lines(rule, policy)
    if _edits(other) or not about or not all(other.covers(line.name) for line in about):
        return False
    if other.when is None:
        return True
    wanted = both(speech(rule), silence(other))
    return all(contradiction(wanted, _scene(line, policy)) is not None for line in about if callable_(line))


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
    wanted = speech(rule)
    reasons = [contradiction(wanted, _scene(line, policy)) for line in able]
    found = [reason for reason in reasons if reason is not None]
    return found[0] if found and len(found) == len(reasons) else ""


def speech(rule: Rule) -> Alternatives | None:
    """The ways in which the rule fires."""
    demand = Demand.TRUE if rule.effect is Outcome.ALLOW else Demand.NOT_FALSE
    return alternatives(rule.when, demand, quiet=rule.effect is Outcome.SANITIZE)


def silence(rule: Rule) -> Alternatives | None:
    """The ways in which it does not."""
    demand = Demand.NOT_TRUE if rule.effect is Outcome.ALLOW else Demand.FALSE
    return alternatives(rule.when, demand, quiet=rule.effect is Outcome.SANITIZE)


def _scene(line: ToolLine, policy: Policy) -> Scene:
    return Scene(line=line, ground=Ground(policy=policy))


def _edits(rule: Rule) -> bool:
    """Whether the rule needs something to edit besides its condition."""
    return any(each.stage is Stage.REQUEST for each in rule.redactions)


def contradiction(wanted: Alternatives | None, scene: Scene) -> str | None:
    """Why none of the alternatives is possible, in the words of the first; nothing when one may be."""
    if wanted is None:
        return None
    first = ""
    for each in wanted:
        reason = _impossible(each, scene)
        if reason is None:
            return None
        first = first or reason
    return first or "nothing is left that it could say"


def _impossible(wanted: Sequence[Wanted], scene: Scene) -> str | None:
    """Which place cannot be as demanded; nothing when each can by itself."""
    places: dict[str, list[Wanted]] = {}
    for each in wanted:
        places.setdefault(scene.prefix + place(each.atom.path), []).append(each)
        if isinstance(each.atom, Quantified) and _hollow(each, scene):
            return f"no element of `{each.atom.path.text}` can meet the condition on elements"
    for name, found in places.items():
        if not Place(name, found, scene.line, scene.ground, scene.known).possible():
            return _told(found)
    return None


def _hollow(wanted: Wanted, scene: Scene) -> bool:
    """Whether an element is demanded that cannot be. Elements may lack anything, so only what must be true is looked at."""
    atom = wanted.atom
    assert isinstance(atom, Quantified), "asked of quantified conditions only"
    if wanted.demand is not Demand.TRUE or atom.quantifier is Quantifier.NONE:
        return False
    inner = alternatives(atom.condition, Demand.TRUE)
    # Any tool will do: elements are not part of a contract line.
    anything = Scene(line=ToolLine(name="", args={}), ground=scene.ground, prefix="[].")
    return contradiction(inner, anything) is not None


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
