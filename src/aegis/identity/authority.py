"""Denies what a token's grants do not open: another tool, an argument out of its limit, one call too many, no money left."""

from collections.abc import Iterator, Mapping

from aegis.model.authority import Grant, Limit, breaches
from aegis.model.contract import Contract
from aegis.model.decision import Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.model.workflow_contract import WorkflowContract


class AuthorityGuard:
    """Holds each call against what was handed down to its caller. `contracts` by digest say what a call costs."""

    name = "authority"

    def __init__(self, contracts: Mapping[str, Contract]) -> None:
        self._contracts = contracts

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:
        """A deny verdict for each way in which the call goes beyond the token."""
        who = proposal.principal
        if who.grants is None and who.budget_micros is None:
            return ()
        found = [*self._used_up(proposal, facts)]
        if who.grants is not None:
            grant = who.authority.grant(proposal.tool)
            found += (
                [self._deny("tool", "this tool was not handed down", "tool")] if grant is None else self._beyond(grant, proposal)
            )
        return tuple(found)

    def _beyond(self, grant: Grant, proposal: Proposal) -> Iterator[Verdict]:
        if grant.digest not in ("", proposal.tool_digest):
            yield self._deny("digest", "the tool is not the one that was handed down: its contract has changed", "tool")
        for path, limit in breaches(grant, proposal.arguments):
            yield self._deny("limit", "the argument is outside what was handed down", f"arguments.{path}", _words(limit))

    def _used_up(self, proposal: Proposal, facts: Facts) -> Iterator[Verdict]:
        contract = self._contracts.get(proposal.tool_digest)
        cost = contract.cost_micros if contract else 0
        for left in facts.allowances:
            if left.calls is not None and left.calls < 1:
                yield self._deny("calls", "the calls that were handed down are used up", "tool")
            if left.budget_micros is not None and isinstance(contract, WorkflowContract):
                yield self._deny("budget", "a run would not be bound by the money that was handed down", "tool")
            elif left.budget_micros is not None and cost > left.budget_micros:
                yield self._deny("budget", "the money that was handed down is used up", "tool")

    def _deny(self, rule: str, reason: str, field: str, limit: object = None) -> Verdict:
        return Verdict(guard=self.name, effect="deny", rule=f"authority.{rule}", reason=reason, field=field, limit=limit)


def _words(limit: Limit) -> str:
    """Bounds as an event and an answer tell them: numbers as they are; texts may be somebody's account, and are not."""
    found = [f"{name} {value}" for name, value in (("max", limit.max), ("min", limit.min)) if value is not None]
    found += [f"one of {len(limit.among)} values"] if limit.among is not None else []
    return ", ".join([*found, *(["a pattern"] if limit.regex else [])])
