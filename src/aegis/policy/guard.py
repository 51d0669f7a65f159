"""The rules of a policy set as a guard.

For a call: the shallow contract first; if it holds, every rule that covers the tool is tested, in order of id. What fires speaks,
also in shadow (`live=False`). A set that is in shadow as a whole lets its rules speak in shadow only and adds the live verdict
`shadow-set`, which allows: `decide` leaves that one out when it works out what would have been. The contract is never in shadow.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.model.decision import Outcome, PolicyRef, Redaction, Stage, Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.ir import SHADOW_SET, Policy, Rule
from aegis.policy.native import Compiled, compile_rule
from aegis.policy.pointer import present, tokens
from aegis.policy.shallow import Shallow, Violation, contract_rule
from aegis.policy.view import View
from aegis.policy.zone import zone

NAME = "rules"
_ALLOWED_IN_SHADOW = (
    Verdict(guard=NAME, effect=Outcome.ALLOW, rule=SHADOW_SET, reason="the policy set is in shadow: it records and stops nothing"),
)

_NOT_ASKED = Verdict(
    guard=NAME, effect="error", rule="engine#missing", reason="this tool is decided by a policy engine that is not at hand"
)


class _Ready(Struct, frozen=True):
    """A rule that can be asked. `edits` are the places of which one must hold something for a request to be sanitized."""

    compiled: Compiled
    verdict: Verdict
    plain: bool
    edits: tuple[tuple[str, ...], ...]

    def verdict_on(self, view: View) -> Verdict | None:
        """What the rule says, or nothing."""
        if not self.compiled.fires(view):
            return None
        if self.edits and not any(present(view.args, place) for place in self.edits):
            return None
        if self.plain:
            return self.verdict
        field, limit = self.compiled.witness(view)
        return replace(self.verdict, field=field, limit=limit)


class RulesGuard:
    """Asks one policy set, for the tenant that it belongs to, with that tenant's data.

    Immutable once built: compiling happens here, off the path of any request, and decisions under way keep their guard. What an
    engine outside this process must decide (`elsewhere`, and every tool that hand-written Rego is about) is not evaluated here: its
    verdicts stand in `facts.engine`, and without them the call is denied.
    """

    name = NAME

    def __init__(
        self, policy: Policy, tenant_data: Mapping[str, Any] | None = None, *, elsewhere: frozenset[str] = frozenset()
    ) -> None:
        self.elsewhere = elsewhere | {tool for module in policy.rego for tool in module.tools}
        self._tenant = policy.tenant
        self._zone = zone(policy.timezone)
        self._shadow = policy.shadow
        ready = [(rule, _ready(rule, policy, tenant_data or {})) for rule in sorted(policy.rules, key=lambda rule: rule.id)]
        self._tools = {
            name: (Shallow(line), tuple(each for rule, each in ready if rule.covers(name))) for name, line in policy.tools.items()
        }
        self.policy: PolicyRef = policy.ref

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:
        """Every rule that fires, sorted by id; or the violations of the contract."""
        if proposal.principal.tenant != self._tenant:
            return (_error("policy#tenant", Violation(field="tenant", reason="the policy set belongs to another tenant")),)
        found = self._tools.get(proposal.tool)
        if found is None:
            unknown = Violation(field="tool", reason="the policy set does not know this tool")
            return (_error(contract_rule(proposal.tool), unknown),)
        shallow, ready = found
        violations, parsed = shallow.check(proposal.arguments, proposal.tool_version)
        if violations:
            return tuple(_error(contract_rule(proposal.tool), each) for each in violations)
        if proposal.tool in self.elsewhere:
            return facts.engine.get(self.policy.digest, (_NOT_ASKED,))
        view = View(proposal, facts, parsed, self._zone, shallow.line)
        spoken = tuple([verdict for each in ready if (verdict := each.verdict_on(view)) is not None])
        return spoken + _ALLOWED_IN_SHADOW if self._shadow else spoken


def _ready(rule: Rule, policy: Policy, tenant_data: Mapping[str, Any]) -> _Ready:
    compiled = compile_rule(rule.when, rule.effect, policy, tenant_data)
    plain = rule.effect is Outcome.ALLOW or compiled.fixed is not None
    edits = tuple(_inside(each) for each in rule.redactions if each.stage is Stage.REQUEST)
    return _Ready(compiled, spoken_by(rule, policy, compiled), plain, edits)


def spoken_by(rule: Rule, policy: Policy, compiled: Compiled) -> Verdict:
    """What the rule says when it fires; field and limit are named where only one comparison can have made it."""
    fixed = None if rule.effect is Outcome.ALLOW else compiled.fixed
    field, limit = fixed or ("", None)
    return Verdict(
        guard=NAME,
        effect=rule.effect,
        rule=rule.id,
        reason=rule.reason,
        field=field,
        limit=limit,
        redactions=rule.redactions,
        terms=rule.terms,
        live=not (rule.shadow or policy.shadow),
    )


def _inside(redaction: Redaction) -> tuple[str, ...]:
    """The place below the arguments."""
    return tokens(redaction.path)[1:]


def _error(rule: str, violation: Violation) -> Verdict:
    return Verdict(
        guard=NAME,
        effect="error",
        rule=rule,
        reason=violation.reason,
        field=violation.field,
        limit=violation.limit or None,
    )
