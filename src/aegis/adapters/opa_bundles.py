"""The OPA that holds the tenants' bundles: asked over HTTP, and believed only when it answers by the very bundle that is meant."""

from collections.abc import Mapping
from typing import Any

from aegis.adapters.opa import OpaEngine
from aegis.model.decision import Verdict
from aegis.policy.bundle.bundle import Sources, Target, revision_of
from aegis.policy.ir import Policy
from aegis.policy.rego import module


class BundledOpa:
    """Implements `runtime.judge.Engine`. `everything`: every tool is decided there, not only those that need hand-written Rego."""

    def __init__(self, engine: OpaEngine, *, everything: bool) -> None:
        self.everything = everything
        self._engine = engine

    async def ask(self, policy: Policy, document: Mapping[str, Any], *, revision: str) -> tuple[Verdict, ...]:
        """What OPA says."""
        return await self._engine.ask(policy, document, revision=revision)

    def revision(self, policy: Policy, tenant_data: Mapping[str, Any]) -> str:
        """The revision of the bundle of this set and data."""
        contracts = {line.name: line.contract_digest for line in policy.tools.values() if line.contract_digest}
        sources = Sources(
            policy=policy.text,
            tenant_data=dict(tenant_data),
            contracts=contracts,
            rego={each.file: each.text for each in policy.rego},
        )
        return revision_of(sources, Target(modules=module.modules(policy), data=module.data(policy, tenant_data)))
