"""Hits and near misses of a rule: calls of which it is known, because they were evaluated, whether the rule fires."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.model.decision import Outcome
from aegis.policy.analysis.truth import Atom, Ground, atoms, place
from aegis.policy.guard import RulesGuard
from aegis.policy.ir import ANY_TOOL, Leaf, Op, Policy, Rule, ToolLine
from aegis.policy.nearmiss.before import told
from aegis.policy.nearmiss.calls import assemble, edited, given_already, whole_call
from aegis.policy.nearmiss.solve import pools, solutions
from aegis.policy.nearmiss.tenant import for_rule
from aegis.policy.nearmiss.values import ABSENT
from aegis.policy.past import ROOT

READABLE = 2000
"""A longer text or input is not something that a person would read in a file."""
_CONTEXTS = 8
"""How many different hits are varied to look for misses."""


class Probe(Struct, frozen=True, kw_only=True):
    """A call about which a rule has been asked. `given` is the input of a test; `about` is the place that was moved."""

    rule: str
    fires: bool
    given: Mapping[str, Any]
    about: str = ""

    @property
    def writable(self) -> bool:
        """Whether a test can say it in few words; a reading that no events were found for has none."""
        short = len(repr(self.given)) <= READABLE
        return short and not any(path.startswith(f"{ROOT}.") for path in self.given)


class Probes(Struct, frozen=True, kw_only=True):
    """The calls found for one rule. `why` says why there is no hit, or no near miss; empty when there are both."""

    rule: str
    hits: tuple[Probe, ...] = ()
    misses: tuple[Probe, ...] = ()
    why: str = ""


def probes(policy: Policy, tenant_data: Mapping[str, Any] | None = None) -> tuple[Probes, ...]:
    """Hits and near misses of every rule, in the order of the set."""
    return tuple(probe(policy, rule, tenant_data) for rule in policy.rules)


def probe(policy: Policy, rule: Rule, tenant_data: Mapping[str, Any] | None = None) -> Probes:
    """Hits and near misses of a rule. A value of the tenant's data that is not at hand is invented, and stands in the input."""
    data, stated = for_rule(rule, policy, tenant_data or {})
    found: dict[str, Probe] = {}
    for line in _lines(policy, rule):
        asked = _Asked(policy, rule, line, data, stated)
        for each in asked.probes():
            found.setdefault(repr((each.fires, sorted(each.given.items(), key=lambda item: item[0]))), each)
        if {each.fires for each in found.values()} == {True, False}:
            break
    hits = tuple(each for each in found.values() if each.fires)
    misses = tuple(each for each in found.values() if not each.fires)
    return Probes(rule=rule.id, hits=hits, misses=misses, why=_why(rule, hits, misses))


def few(found: Probes) -> tuple[Probe, ...]:
    """Those that are worth keeping as tests: a hit, and for each place the nearest call on the other side of its edge."""
    nearest: dict[str, Probe] = {}
    for each in found.misses:
        nearest.setdefault(each.about, each)
    return tuple(each for each in (*found.hits[:1], *nearest.values()) if each.writable)


def as_case(each: Probe, *, shadow: bool, number: int) -> dict[str, Any]:
    """The test that a probe makes: plain data, as it stands under `tests:`."""
    about = f" on {each.about}" if each.about else ""
    kind = "fires" if each.fires else "does not fire"
    expect: dict[str, Any] = {"not_rules": [each.rule]}
    if each.fires:
        expect = {"shadow": [each.rule]} if shadow else {"rules": [each.rule]}
    return {"name": f"{each.rule} {kind}{about} (generated {number})", "input": dict(each.given), "expect": expect}


class _Asked:
    """One rule about one tool, with a guard that knows nothing else."""

    def __init__(self, policy: Policy, rule: Rule, line: ToolLine, data: Mapping[str, Any], stated: Mapping[str, Any]) -> None:
        # Alone, so that what a call costs does not grow with the set.
        used = {atom.path.parts[1] for atom in atoms(rule.when) if atom.path.parts[0] == ROOT}
        terms = {name: term for name, term in policy.terms.items() if name in used}
        self._policy = replace(policy, rules=(rule,), tests=(), terms=terms, rego=(), shadow=False)
        self._rule = rule
        self._line = line
        self._data = data
        self._stated = stated
        self._guard = RulesGuard(self._policy, data)
        self._fixed = given_already(line, policy.tenant)
        self._edited = edited(rule, line)

    def probes(self) -> Iterator[Probe]:
        """Hits, and calls that differ from one of them in a single place."""
        if self._rule.when is None:
            yield from self._tried({}, "")
            return
        ground = Ground(policy=self._policy, tenant_data=self._data, quiet=self._rule.effect is Outcome.SANITIZE)
        found = list(self._solved(ground))
        if not any(self._fires(each) for each in found) and self._rule.effect is not Outcome.ALLOW:
            found = list(self._solved(ground, lenient=True))
        values = {name: pool for name, pool in pools(self._rule.when, ground).items() if name not in self._fixed}
        for chosen in [each for each in found if self._fires(each)][:_CONTEXTS]:
            yield from self._tried(chosen, "")
            for name, pool in values.items():
                for value in pool:
                    yield from self._tried({**chosen, name: value}, name)

    def _solved(self, ground: Ground, *, lenient: bool = False) -> Iterator[dict[str, Any]]:
        when = self._rule.when
        assert when is not None, "a rule without a condition has nothing to solve"
        seen = set()
        targets: list[Atom | None] = [*atoms(when), None]
        for target in targets:
            for chosen in solutions(when, ground, target, self._fixed, lenient=lenient)[: 1 if target is not None else None]:
                if repr(chosen) not in seen:
                    seen.add(repr(chosen))
                    yield chosen

    def _tried(self, chosen: Mapping[str, Any], about: str) -> Iterator[Probe]:
        given = self._assembled(chosen)
        fires = None if given is None else self._asked(given)
        if given is not None and fires is not None:
            shown = next((atom.path.text for atom in atoms(self._rule.when) if place(atom.path) == about), about)
            yield Probe(rule=self._rule.id, fires=fires, given={**self._with_past(given, fires), **self._stated}, about=shown)

    def _with_past(self, given: dict[str, Any], fires: bool) -> dict[str, Any]:
        """The input with events of the past in place of readings, where they make the rule do the same."""
        if not any(path.startswith(f"{ROOT}.") for path in given):
            return given
        found = told(self._policy, given, self._data)
        return found if found is not None and self._asked(found) is fires else given

    def _assembled(self, chosen: Mapping[str, Any]) -> dict[str, Any] | None:
        """The input with these values; what the rule would edit stands there too, unless a place above it shall be absent."""
        gone = tuple(f"{name}." for name, value in chosen.items() if value is ABSENT)
        edited = {name: value for name, value in self._edited.items() if not name.startswith(gone)}
        return assemble({**edited, **chosen}, self._line)

    def _fires(self, chosen: Mapping[str, Any]) -> bool:
        given = self._assembled(chosen)
        return given is not None and self._asked(given) is True

    def _asked(self, given: Mapping[str, Any]) -> bool | None:
        """Whether the rule fires; nothing when the call breaks the contract."""
        verdicts = self._guard(*whole_call(self._policy, given, self._data))
        if any(verdict.effect == "error" for verdict in verdicts):
            return None
        return any(verdict.rule == self._rule.id for verdict in verdicts)


def _lines(policy: Policy, rule: Rule) -> list[ToolLine]:
    names = [*policy.tools] if ANY_TOOL in rule.tools else [*rule.tools]
    reads = any(atom.path.parts[0] in ("tool", "tool_labels") for atom in atoms(rule.when))
    return [policy.tools[name] for name in (names if reads else names[:4])]


def _why(rule: Rule, hits: tuple[Probe, ...], misses: tuple[Probe, ...]) -> str:
    if hits and misses:
        return ""
    if rule.when is None:
        return "it has no condition, so nothing nearly misses it" if hits else "no call that fits the contract could be made"
    patterns = sorted({atom.path.text for atom in atoms(rule.when) if isinstance(atom, Leaf) and atom.op is Op.MATCHES})
    hint = (
        f"; texts for the pattern at {', '.join(f'`{text}`' for text in patterns)} may be beyond the generator" if patterns else ""
    )
    return f"no call was found that makes it {'fire' if not hits else 'miss'}{hint}"
