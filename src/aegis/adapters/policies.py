"""Reads a tenant's policy from `policy.yaml` and the data that its rules refer to from `data.yaml`."""

from pathlib import Path
from typing import Any

from aegis.adapters.catalogue import read
from aegis.errors import ConfigError
from aegis.model.document import parse
from aegis.policy.ir import Policy
from aegis.policy.language import load as load_policy
from aegis.policy.tenantdata import problems

FILE, DATA = "policy.yaml", "data.yaml"


def load(home: Path, tenant: str) -> tuple[Policy, dict[str, Any]]:
    """The policy of a tenant, checked, and its data.

    Raises:
        DocumentError: The document is wrong, at its place.
        ConfigError: There is none, it is of another tenant, or the data does not have the declared shape.
    """
    path = home / FILE
    if not path.is_file():
        raise ConfigError(f"{path}: not found; without a policy nothing is allowed")
    policy = load_policy(read(path), source=str(path))
    if policy.tenant != tenant:
        raise ConfigError(f"{path}: is of tenant `{policy.tenant}`, but lies below tenant `{tenant}`")
    data_path = home / DATA
    data = parse(read(data_path), source=str(data_path)).value if data_path.is_file() else {}
    if not isinstance(data, dict):
        raise ConfigError(f"{data_path}: expected a mapping")
    if wrong := problems(policy.tenant_shape, data):
        raise ConfigError(f"{data_path}: {'; '.join(wrong)}")
    return policy, data
