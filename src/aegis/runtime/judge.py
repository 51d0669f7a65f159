"""Asks a policy engine outside this process about the tools that it decides, before the pure decision is made."""

from collections.abc import Mapping
from typing import Any, Protocol

from aegis.errors import CanonicalError
from aegis.model.decision import Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.guard import NAME
from aegis.policy.ir import Policy
from aegis.policy.rego.asked import document

_NO_FORM = Verdict(guard=NAME, effect="error", rule="engine#input", reason="the call has no form that the policy engine could read")


class Engine(Protocol):
    """A policy engine that holds the bundles of tenants. `everything` says that it decides about every tool."""

    everything: bool

    async def ask(self, policy: Policy, document: Mapping[str, Any], *, revision: str) -> tuple[Verdict, ...]:
        """What it says about a call; whatever goes wrong, also another revision than this one, is an `error` verdict."""

    def revision(self, policy: Policy, tenant_data: Mapping[str, Any]) -> str:
        """The revision of the bundle that this set and this data make."""


class EngineJudge:
    """One set of one tenant, as an engine decides by it."""

    def __init__(self, engine: Engine, policy: Policy, tools: frozenset[str], revision: str) -> None:
        self.digest = policy.digest
        self._engine = engine
        self._policy = policy
        self._tools = tools
        self._revision = revision

    def judges(self, tool: str) -> bool:
        """Whether the engine is asked about this tool."""
        return tool in self._tools

    async def ask(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:
        """Its verdicts."""
        try:
            asked = document(proposal, facts, self._policy)
        except CanonicalError:
            return (_NO_FORM,)
        return await self._engine.ask(self._policy, asked, revision=self._revision)
