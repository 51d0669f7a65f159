"""The guard that holds a proposal against its tool's contract, before any rule has a say."""

from collections.abc import Mapping

from aegis.model.contract import Contract
from aegis.model.decision import Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.model.schema import Violation


class ContractGuard:
    """Refuses unknown tools and versions, arguments that do not fit, and writes without an idempotency key."""

    name = "contract"

    def __init__(self, newest: Mapping[str, Contract], by_digest: Mapping[str, Contract]) -> None:
        self._newest = newest
        self._by_digest = by_digest

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """One error verdict for each violation."""
        tool = proposal.tool
        if tool not in self._newest:
            return (self._error(f"{tool}#unknown", "no such tool in this tenant"),)
        found = self._by_digest.get(proposal.tool_digest)
        if found is None or (found.name, found.version) != (tool, proposal.tool_version):
            return (
                self._error(f"{tool}#version", "no such version of the tool", field="version", limit=self._newest[tool].version),
            )
        verdicts = tuple(self._violation(tool, violation) for violation in found.check_input(proposal.arguments))
        if found.effect != "read" and not proposal.idempotency_key:
            why = f"a {found.effect} needs an idempotency key, so that a repetition is not a second action"
            verdicts += (self._error(f"{tool}#idempotency-key", why, field="idempotency_key"),)
        return verdicts

    def _violation(self, tool: str, violation: Violation) -> Verdict:
        field = "args" + violation.path.replace("/", ".")
        return self._error(f"{tool}#contract", violation.text, field=field, limit=violation.limit)

    def _error(self, rule: str, reason: str, *, field: str = "", limit: object = None) -> Verdict:
        return Verdict(guard=self.name, effect="error", rule=rule, reason=reason, field=field, limit=limit)
