"""What calls of a caller to a tool can come to, at most.

Every value that is not known counts as possible, and so does whatever the analysis cannot decide. What is left out here therefore
cannot happen: a call that was permitted without an approval where `permit` is false, or held by a rule that is not in `holds`.
Rules in shadow stop nothing and allow nothing. A rule that holds calls for people whom nobody can be denies. A tool that
hand-written Rego decides about may come to anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from aegis.model.authority import covers
from aegis.model.decision import Outcome
from aegis.policy.access.callers import Caller
from aegis.policy.analysis.certain import Scene, contradiction, silence, speech
from aegis.policy.analysis.normal import Alternatives, both
from aegis.policy.analysis.truth import Ground, atoms, place
from aegis.policy.ir import Leaf, Op, Policy, Rule, ToolLine
from aegis.policy.plan.document import Step, Unknown
from aegis.policy.plan.known import known_places
from aegis.policy.versions import parse_version, within

ANY_RULE = "*"
"""Stands for the rules of a tool whose rules are not known here."""


class Possible(Struct, frozen=True, kw_only=True):
    """`always` says that every call inside the contract comes to the same."""

    permit: bool = False
    holds: frozenset[str] = frozenset()
    always: bool = False

    @property
    def nothing(self) -> bool:
        """Whether every call is denied."""
        return not self.permit and not self.holds


NOTHING = Possible(always=True)


class Prover:
    """One set with one tenant's data; `None` is no set at all.

    `versions` are the registered versions of each tool, `hopeless` the rules that hold calls for people whom nobody can be,
    `senders` the agents and roles (`role:NAME`) that may send each message.
    """

    def __init__(
        self,
        policy: Policy | None,
        data: Mapping[str, Any],
        environment: str,
        versions: Mapping[str, Sequence[str]],
        hopeless: frozenset[str] = frozenset(),
        senders: Mapping[str, frozenset[str]] = {},
    ) -> None:
        self._policy = policy
        self._environment = environment
        self._versions = versions
        self._hopeless = hopeless
        self._senders = senders
        self._ground = Ground(policy=policy, tenant_data=data, settled=True) if policy is not None else None
        self._known: dict[tuple[str, str], Possible] = {}

    def possible(self, caller: Caller, tool: str) -> Possible:
        """What calls of this caller can come to."""
        line = self._policy.tools.get(tool) if self._policy is not None else None
        if line is None or not any(covers(scope, tool) for scope in caller.scopes) or not self._may_send(caller, tool):
            return NOTHING
        callable_ = [version for version in self._versions.get(tool, ()) if _accepted(version, line)]
        return _joined(self._version(caller, line, version) for version in callable_)

    def _may_send(self, caller: Caller, tool: str) -> bool:
        """Whether the caller may be one of those who send this message; every tool that is no message has no such bound."""
        if tool not in self._senders or caller.agent_id is None or caller.roles is None:
            return True
        return not self._senders[tool].isdisjoint({caller.agent_id, *(f"role:{role}" for role in caller.roles)})

    def _version(self, caller: Caller, line: ToolLine, version: str) -> Possible:
        policy = self._policy
        assert policy is not None, "a tool line comes from a set"
        if policy.shadow:
            return Possible(permit=True, always=True)
        if any(line.name in module.tools for module in policy.rego):
            return Possible(permit=True, holds=frozenset({ANY_RULE}))
        rules = [rule for rule in policy.rules if rule.covers(line.name) and not rule.shadow]
        known = self._places(caller, line, version, rules)
        key = line.name, repr(sorted(known.items(), key=lambda item: item[0]))
        if key not in self._known:
            assert self._ground is not None, "as above"
            self._known[key] = _Judge(rules, self._hopeless, Scene(line=line, ground=self._ground, known=known)).possible()
        return self._known[key]

    def _places(self, caller: Caller, line: ToolLine, version: str, rules: Sequence[Rule]) -> dict[str, Any]:
        stated = {
            "agent.id": caller.agent_id,
            "agent.roles": None if caller.roles is None or _counts_roles(rules) else [*caller.roles],
            "agent.trust": caller.trust,
            "chain": [] if caller.alone else None,
        }
        context = {name: value for name, value in stated.items() if value is not None}
        context |= {"version": version, "environment": self._environment}
        step = Step(id="call", tool=line.name, args=dict.fromkeys(line.args, Unknown()), context=context)
        return known_places(step, line, {place(atom.path) for rule in rules for atom in atoms(rule.when)})


class _Judge:
    """The rules about one tool, with what is known of its calls."""

    def __init__(self, rules: Sequence[Rule], hopeless: frozenset[str], scene: Scene) -> None:
        self._scene = scene
        self._allows = [rule for rule in rules if rule.effect is Outcome.ALLOW]
        self._denies = [rule for rule in rules if rule.effect is Outcome.DENY or rule.id in hopeless]
        self._held = [rule for rule in rules if rule.effect is Outcome.APPROVAL_NEEDED and rule.id not in hopeless]

    def possible(self) -> Possible:
        """What the calls can come to."""
        passing = [speech(rule) for rule in self._allows]
        quiet = [silence(rule) for rule in self._denies]
        unheld = [silence(rule) for rule in self._held]
        ways = [way for way in (self._all([each, *quiet]) for each in passing) if self._can(way)]
        permit = any(self._can(self._all([way, *unheld])) for way in ways)
        holds = frozenset(rule.id for rule in self._held if any(self._can(self._all([way, speech(rule)])) for way in ways))
        denied = any(self._can(speech(rule)) for rule in self._denies) or self._can(self._all([silence(r) for r in self._allows]))
        return Possible(permit=permit, holds=holds, always=not denied and not (permit and holds))

    def _can(self, wanted: Alternatives | None) -> bool:
        return contradiction(wanted, self._scene) is None

    def _all(self, parts: Sequence[Alternatives | None]) -> Alternatives:
        """The ways in which all are met. A part that would make them too many is left out, which only makes more possible."""
        found: Alternatives = [()]
        for part in parts:
            sound = [each for each in part if self._can([each])] if part is not None else None
            joined = both(found, sound)
            found = found if joined is None else joined
        return found


def _counts_roles(rules: Sequence[Rule]) -> bool:
    """Whether a rule asks how many roles there are: a token may state one twice."""
    sizes = (Op.LONGER_THAN, Op.SHORTER_THAN)
    read = (atom for rule in rules for atom in atoms(rule.when) if atom.path.text == "agent.roles")
    return any(isinstance(atom, Leaf) and atom.op in sizes for atom in read)


def _accepted(version: str, line: ToolLine) -> bool:
    numbers = parse_version(version)
    return not line.version or (numbers is not None and within(numbers, line.version))


def _joined(parts: Iterable[Possible]) -> Possible:
    found = list(parts)
    return Possible(
        permit=any(each.permit for each in found),
        holds=frozenset().union(*(each.holds for each in found)),
        always=len({(each.permit, each.holds) for each in found}) <= 1 and all(each.always for each in found),
    )
