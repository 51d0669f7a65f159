"""What `aegis check` asks beside loading everything."""

from collections.abc import Mapping

from aegis.adapters import policies
from aegis.adapters.http_upstream import credential
from aegis.errors import ConfigError
from aegis.policy.selftest import run_tests
from aegis.runtime.tenant import Tenant
from aegis.settings import Settings


def policy_tests(settings: Settings, tenant: str) -> list[tuple[str, str]]:
    """(`ok` or `failed`, text) for every test that the tenant's policy carries, and its warnings."""
    policy, data = policies.load(settings.tenants / tenant, tenant)
    results = [("ok" if r.passed else "failed", "; ".join((r.name, *r.problems))) for r in run_tests(policy, data)]
    return results + [("ok", f"warning: {warning}") for warning in policy.warnings]


def missing_credentials(settings: Settings, tenants: Mapping[str, Tenant]) -> list[str]:
    """What is wrong with the credentials by which the gateway would reach the tools."""
    found = []
    for tenant in tenants.values():
        for contract in tenant.by_digest.values():
            try:
                credential(contract, settings.root)
            except ConfigError as error:
                found.append(str(error))
    return found
