"""From what the Rego entry point answers to verdicts.

An answer names rules; what they say to people, what they oblige to and whom they ask stands in the set, and is taken from there.
Only hits of hand-written modules bring their own effect, redactions and terms. Every answer is then judged again from its verdicts:
unless that gives what the answer says, it is not believed. Whatever is wrong with it becomes one error verdict, which denies.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError
from aegis.model.decision import ApprovalTerms, Decision, Outcome, Redaction, Verdict
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import NAME, spoken_by
from aegis.policy.ir import CONTRACT, SHADOW_SET, Policy
from aegis.policy.native import compile_rule
from aegis.policy.pointer import NotAPointer, tokens
from aegis.policy.rego.custom import name_of
from aegis.policy.rego.tools import terms_of
from aegis.policy.toollines import is_dotted

ANSWER, REVISION = "opa#answer", "opa#revision"
_REASONS = {
    "policy#tenant": "the policy set belongs to another tenant",
    "policy#data": "the tenant's data is missing in the policy engine",
    "policy#error": "the policy engine could not judge the call",
}
_NOBODY = Proposal(principal=Principal(tenant="", agent_id="", subject=""), tool="", arguments={})


class _Hit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a hand-written module says."""

    id: str
    effect: Outcome
    live: bool
    custom: bool
    redactions: tuple[Redaction, ...] = ()
    terms: "_Terms | None" = None


class _Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    approver_sets: tuple[tuple[str, ...], ...]
    quorum: int
    ttl_seconds: int
    not_requester: bool


class _Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that an answer holds."""

    outcome: Outcome
    would_be: Outcome | None
    rules: tuple[str, ...]
    matched: tuple[str, ...]
    shadow: tuple[str, ...]
    redactions: tuple[Redaction, ...]
    terms: _Terms | None
    custom: tuple[_Hit, ...]
    revision: str


class _Says:
    """A guard that says what an answer said."""

    name = NAME

    def __init__(self, verdicts: tuple[Verdict, ...]) -> None:
        self._verdicts = verdicts

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        return self._verdicts


class Reader:
    """Reads the answers about one set."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        compiled = {rule.id: compile_rule(rule.when, rule.effect, policy, {}) for rule in policy.rules}
        self._rules = {rule.id: spoken_by(rule, policy, compiled[rule.id]) for rule in policy.rules}
        self._names = _names(policy)

    def verdicts(self, answer: Any) -> tuple[Verdict, ...]:
        """What each rule says that the answer names; or one error verdict when the answer cannot be believed."""
        try:
            found = msgspec.convert(answer, _Answer)
        except (msgspec.ValidationError, ValueError):
            return (refusal(ANSWER, "the policy engine did not answer in the words that were agreed"),)
        if found.revision != self._policy.digest:
            return (refusal(REVISION, "the policy engine has another revision of the policy set"),)
        custom = {hit.id: hit for hit in found.custom}
        live = [self._named(rule, custom, live=True) for rule in found.matched]
        shadow = [self._named(rule, custom, live=False) for rule in found.shadow]
        verdicts = tuple(verdict for verdict in live + shadow if verdict is not None)
        if len(verdicts) != len(live + shadow) or not _consistent(answer, verdicts):
            return (refusal(ANSWER, "the answer of the policy engine contradicts itself or the policy set"),)
        return verdicts

    def _named(self, rule: str, custom: Mapping[str, _Hit], *, live: bool) -> Verdict | None:
        """The verdict behind an id; nothing when no such rule can have spoken in this way."""
        known = self._rules.get(rule)
        if known is not None:
            return known if known.live is live else None
        if live and rule == SHADOW_SET:
            return _ALLOWED_IN_SHADOW if self._policy.shadow else None
        if live and self._is_error(rule):
            return refusal(rule, _REASONS.get(rule, "the call breaks the contract or a hand-written module could not judge"))
        hit = custom.get(rule)
        if hit is None or not hit.custom or hit.live is not live or not rule.startswith(self._names) or not _feasible(hit):
            return None
        return Verdict(guard=NAME, effect=hit.effect, rule=rule, redactions=hit.redactions, terms=_terms(hit.terms), live=live)

    def _is_error(self, rule: str) -> bool:
        tool, mark, rest = rule.partition("#")
        if f"{mark}{rest}" == CONTRACT:
            return is_dotted(tool)
        return rule in _REASONS or (rest in ("hit", "missing") and f"{tool}." in self._names)


def verdicts(answer: Any, policy: Policy) -> tuple[Verdict, ...]:
    """As `Reader.verdicts`, for one answer."""
    return Reader(policy).verdicts(answer)


def refusal(rule: str, reason: str) -> Verdict:
    """An error verdict, which denies."""
    return Verdict(guard=NAME, effect="error", rule=rule, reason=reason)


def plain(decision: Decision) -> dict[str, Any]:
    """A decision in the words of an answer, without `custom` and `revision`."""
    return {
        "outcome": str(decision.outcome),
        "would_be": None if decision.would_be is None else str(decision.would_be),
        "rules": list(decision.rules),
        "matched": list(decision.matched),
        "shadow": list(decision.shadow),
        "redactions": [{"stage": str(each.stage), "path": each.path, "form": each.form} for each in decision.redactions],
        "terms": terms_of(decision.terms) if decision.terms is not None else None,
    }


def _consistent(answer: dict[str, Any], verdicts: tuple[Verdict, ...]) -> bool:
    """Whether these verdicts, judged here, come out as the engine says. An approval is looked at later, by the host alone."""
    judged = plain(decide(_NOBODY, Facts(), [_Says(verdicts)]))
    return all(answer[key] == value for key, value in judged.items())


def _names(policy: Policy) -> tuple[str, ...]:
    """How ids of hand-written modules start; a module without a name can say nothing."""
    found = []
    for module in policy.rego:
        try:
            found.append(f"{name_of(module, policy.tenant)}.")
        except ConfigError:
            continue
    return tuple(found)


def _feasible(hit: _Hit) -> bool:
    """Whether the host can do what a hit asks for: it must turn out before the call, not after it."""
    try:
        _terms(hit.terms)
        for each in hit.redactions:
            tokens(each.path)
    except (NotAPointer, OverflowError):
        return False
    return True


def _terms(terms: _Terms | None) -> ApprovalTerms | None:
    if terms is None:
        return None
    return ApprovalTerms(
        approver_sets=terms.approver_sets,
        quorum=terms.quorum,
        ttl=timedelta(seconds=terms.ttl_seconds),
        not_requester=terms.not_requester,
    )


_ALLOWED_IN_SHADOW = Verdict(
    guard=NAME, effect=Outcome.ALLOW, rule=SHADOW_SET, reason="the policy set is in shadow: it records and stops nothing"
)
__all__ = ["Reader", "verdicts", "refusal", "plain"]
