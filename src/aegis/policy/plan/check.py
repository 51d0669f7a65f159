"""What may become of each step of a plan.

The conditions of the rules are taken through the same analysis that finds rules that can never fire: a place that the plan knows
has its value, a place that it does not know may hold anything that the contract admits. What is said is certain: `deny` that no
completion of the unknown values is permitted, `allow` that each is. Everything else `depends`, on the places that are named.
Rules in shadow stop nothing, here as there. Chain, scopes, the full schema and halts are looked at when the step is taken.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from aegis.model.decision import Outcome
from aegis.policy.analysis.certain import Scene, contradiction, silence, speech
from aegis.policy.analysis.normal import Alternatives, both
from aegis.policy.analysis.truth import Atom, Ground, atoms, place
from aegis.policy.ir import DEFAULT_DENY, Leaf, Policy, Rule
from aegis.policy.native import limit
from aegis.policy.plan.document import Plan, Step
from aegis.policy.plan.known import known_places, violations
from aegis.policy.shallow import contract_rule

DEPENDS = "depends"


class Why(Struct, frozen=True, kw_only=True):
    """A rule with the field and the limit that stand in the way, and its reason."""

    rule: str
    text: str = ""
    field: str = ""
    limit: Any = None


class StepVerdict(Struct, frozen=True, kw_only=True):
    """`outcome` is `allow`, `approval_needed`, `deny` (never allowed) or `depends`, then on the places `on`."""

    step: str
    tool: str
    outcome: str
    why: tuple[Why, ...] = ()
    on: tuple[str, ...] = ()
    place: str = ""


def check(plan: Plan, policy: Policy, tenant_data: Mapping[str, Any] | None = None) -> tuple[StepVerdict, ...]:
    """A verdict on every step, in order."""
    return tuple(_step(step, policy, tenant_data or {}) for step in plan.steps)


def _step(step: Step, policy: Policy, tenant_data: Mapping[str, Any]) -> StepVerdict:
    line = policy.tools.get(step.tool)
    if line is None:
        return _verdict(step, Outcome.DENY, [Why(rule=contract_rule(step.tool), text="the policy set does not know this tool")])
    if broken := violations(step, line):
        rule = contract_rule(step.tool)
        return _verdict(step, Outcome.DENY, [Why(rule=rule, text=v.reason, field=v.field, limit=v.limit or None) for v in broken])
    if policy.shadow:
        return _verdict(step, Outcome.ALLOW, [])
    if any(step.tool in module.tools for module in policy.rego):
        return _verdict(step, DEPENDS, [Why(rule="engine", text="hand-written Rego decides about this tool")])
    rules = [rule for rule in policy.rules if rule.covers(step.tool) and not rule.shadow]
    places = {place(atom.path) for rule in rules for atom in atoms(rule.when)}
    ground = Ground(policy=policy, tenant_data=tenant_data, settled=True)
    return _Judge(step, rules, Scene(line=line, ground=ground, known=known_places(step, line, places))).verdict()


class _Judge:
    """The rules about one step."""

    def __init__(self, step: Step, rules: Sequence[Rule], scene: Scene) -> None:
        self._step = step
        self._scene = scene
        self._of = {effect: [rule for rule in rules if rule.effect is effect] for effect in Outcome}

    def verdict(self) -> StepVerdict:
        """What may become of it."""
        allows, denies, held = (self._of[effect] for effect in (Outcome.ALLOW, Outcome.DENY, Outcome.APPROVAL_NEEDED))
        if not any(self._possible(self._passes(rule)) for rule in allows):
            return _verdict(self._step, Outcome.DENY, self._blamed(allows, denies))
        unsure = [rule for rule in denies if self._possible(speech(rule))]
        if unsure or self._possible(self._all([silence(rule) for rule in allows])):
            return self._depends(unsure or allows)
        waits = [rule for rule in held if self._possible(speech(rule))]
        if not waits:
            return _verdict(self._step, Outcome.ALLOW, [])
        if self._possible(self._all([silence(rule) for rule in waits])):
            return self._depends(waits)
        return _verdict(self._step, Outcome.APPROVAL_NEEDED, [self._why(rule) for rule in waits])

    def _possible(self, wanted: Alternatives | None) -> bool:
        return contradiction(wanted, self._scene) is None

    def _passes(self, allow: Rule) -> Alternatives | None:
        """The ways in which this rule allows and nothing denies."""
        return self._all([speech(allow), *(silence(rule) for rule in self._of[Outcome.DENY])])

    def _all(self, parts: Sequence[Alternatives | None]) -> Alternatives:
        """The ways in which all are met. A part that would make them too many is left out, which only makes more possible."""
        found: Alternatives = [()]
        for part in parts:
            sound = [each for each in part if self._possible([each])] if part is not None else None
            joined = both(found, sound)
            found = found if joined is None else joined
        return found

    def _blamed(self, allows: Sequence[Rule], denies: Sequence[Rule]) -> list[Why]:
        """Why it can never be allowed: rules that must deny; else that nothing can allow; else the rules that deny together."""
        must = [rule for rule in denies if not self._possible(silence(rule))]
        if must:
            return [self._why(rule) for rule in must]
        if not any(self._possible(speech(rule)) for rule in allows):
            none = Why(rule=DEFAULT_DENY, text="no rule can allow this call")
            return [none, *(self._why(rule) for rule in allows)]
        return [self._why(rule) for rule in denies if self._possible(speech(rule))]

    def _why(self, rule: Rule) -> Why:
        """A rule with the first comparison whose place is known, or the first of all."""
        leaves = [atom for atom in atoms(rule.when) if isinstance(atom, Leaf)]
        known = [leaf for leaf in leaves if place(leaf.path) in self._scene.known]
        shown = next(iter([*known, *leaves]), None)
        if shown is None:
            return Why(rule=rule.id, text=rule.reason)
        return Why(rule=rule.id, text=rule.reason, field=shown.path.text, limit=limit(shown))

    def _depends(self, rules: Sequence[Rule]) -> StepVerdict:
        read: list[Atom] = [atom for rule in rules for atom in atoms(rule.when)]
        on = {atom.path.text for atom in read if place(atom.path) not in self._scene.known}
        return _verdict(self._step, DEPENDS, [self._why(rule) for rule in rules], tuple(sorted(on)))


def _verdict(step: Step, outcome: str, why: Sequence[Why], on: tuple[str, ...] = ()) -> StepVerdict:
    return StepVerdict(step=step.id, tool=step.tool, outcome=str(outcome), why=tuple(why), on=on, place=step.place)
