"""A tenant's policy in files, and out of bundles: reads, compiles, watches, and puts together what a bundle holds.

TENANT/policy.yaml   the set
TENANT/data.yaml     the data that its rules refer to (optional)
TENANT/**.rego       hand-written modules, if the set names any
"""

import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aegis.adapters import messages
from aegis.adapters.catalogue import read
from aegis.crypto.es256 import PrivateKey
from aegis.errors import ConfigError
from aegis.identity.keyset import KeySet
from aegis.model.contract import Contract
from aegis.model.document import parse
from aegis.policy.analysis import dead_rules
from aegis.policy.bundle.bundle import Bundle, Sources, Target, build
from aegis.policy.bundle.library import build_library
from aegis.policy.ir import Policy
from aegis.policy.language import load as load_policy
from aegis.policy.rego import custom, module
from aegis.policy.rego_lines import rego_files
from aegis.policy.selftest import run_tests
from aegis.policy.tenantdata import problems

MAX_TOLD = 8
FILE, DATA, TOOLS = "policy.yaml", "data.yaml", "tools"


def load(home: Path, tenant: str, contracts: Mapping[str, Contract] | None = None) -> tuple[Policy, dict[str, Any]]:
    """The policy of a tenant, checked, and its data. `contracts` are the registered ones; they are read if they are not given.

    Raises:
        DocumentError: The document is wrong, at its place.
        ConfigError: There is none, it is of another tenant, or the data does not have the declared shape.
    """
    path = home / FILE
    if not path.is_file():
        raise ConfigError(f"{path}: not found; without a policy nothing is allowed")
    known = contracts if contracts is not None else messages.registered(home, tenant).by_digest
    policy, sources = load_file(path, known)
    if policy.tenant != tenant:
        raise ConfigError(f"{path}: is of tenant `{policy.tenant}`, but lies below tenant `{tenant}`")
    return policy, sources.tenant_data


def load_file(path: Path, contracts: Mapping[str, Contract]) -> tuple[Policy, Sources]:
    """The set in a file, with the data and the modules that lie beside it, and all of that as a bundle takes it.

    Raises:
        DocumentError: The document is wrong, at its place.
        ConfigError: The data does not have the declared shape, or a file cannot be read.
    """
    text, data = read(path), _data(path.parent / DATA)
    files = _modules(path, text)
    policy = load_policy(text, source=str(path), contracts=contracts, files=files)
    if wrong := problems(policy.tenant_shape, data):
        raise ConfigError(f"{path.parent / DATA}: {'; '.join(wrong)}")
    used = {line.name: line.contract_digest for line in policy.tools.values() if line.contract_digest}
    return policy, Sources(policy=text, tenant_data=data, contracts=used, rego={each.file: each.text for each in policy.rego})


def compiled(bundle: Bundle, contracts: Mapping[str, Contract]) -> tuple[Policy, dict[str, Any]]:
    """The set in a bundle, compiled with exactly the contracts that it was built with, and its data.

    Raises:
        DocumentError: It does not compile here, at its place.
        ConfigError: The data does not have the declared shape.
    """
    found = bundle.sources
    used = {digest: contracts[digest] for digest in found.contracts.values() if digest in contracts}
    policy = load_policy(found.policy, source=f"{bundle.tenant}/{FILE}", contracts=used, files=found.rego)
    if wrong := problems(policy.tenant_shape, found.tenant_data):
        raise ConfigError(f"{bundle.tenant}/{DATA}: {'; '.join(wrong)}")
    return policy, found.tenant_data


def bundled(policy: Policy, sources: Sources, key: PrivateKey) -> bytes:
    """The signed bundle of a set.

    Raises:
        BundleError: It does not fit into a bundle.
    """
    target = Target(modules=module.modules(policy), data=module.data(policy, sources.tenant_data))
    return build(tenant=policy.tenant, name=policy.name, policy_digest=policy.digest, sources=sources, target=target, key=key)


def library(tenant: str, key: PrivateKey) -> bytes:
    """The signed bundle of what all tenants share in an OPA, for one that verifies the scope of this tenant."""
    return build_library(module.library(), scope=tenant, key=key)


def owner(path: Path) -> str:
    """The tenant that the set in a file says it is of; the language checks the rest of it."""
    document = parse(read(path), source=str(path)).value
    metadata = document.get("metadata") if isinstance(document, dict) else None
    tenant = metadata.get("tenant") if isinstance(metadata, dict) else None
    if not isinstance(tenant, str):
        raise ConfigError(f"{path}: `metadata.tenant` says whose set it is: not found")
    return tenant


class PolicyDesk:
    """The policies of a working directory, as `runtime.rollout` asks for them."""

    def __init__(self, tenants: Path, keys: Callable[[], KeySet], *, engine: bool = False) -> None:
        """`engine`: an OPA is at hand, which hand-written Rego needs."""
        self._engine = engine
        self._tenants = tenants
        self._keys = keys
        self._contracts: dict[str, Mapping[str, Contract]] = {}
        self._kept: dict[str, Mapping[str, Contract]] = {}
        self._modules: dict[str, tuple[str, ...]] = {}

    def know(self, tenant: str, contracts: Mapping[str, Contract], policy: Policy | None) -> None:
        """Take in what the process started with: its contracts by digest, and the set of the files."""
        self._contracts[tenant] = contracts
        self._modules[tenant] = tuple(each.file for each in policy.rego) if policy else ()

    def contracts(self, tenant: str) -> Mapping[str, Contract]:
        """The contracts by digest that sets in files are compiled with."""
        return self._contracts[tenant]

    def take(self, tenant: str, contracts: Mapping[str, Contract]) -> None:
        """Compile sets in files with these contracts from now on."""
        self._contracts[tenant] = contracts

    def keep(self, tenant: str, contracts: Mapping[str, Contract]) -> None:
        """Bundles may have been built with these contracts as well; they need exactly those that they name."""
        self._kept[tenant] = {**self._kept.get(tenant, {}), **contracts}

    def stamps(self, tenants: Iterable[str]) -> dict[str, Hashable]:
        """For each tenant something that changes when its files do: inode, size and time of each."""
        return {tenant: tuple(_stamp(file) for file in self._files(tenant)) for tenant in tenants}

    def has_files(self, tenant: str) -> bool:
        """Whether the tenant has a set in files."""
        return (self._tenants / tenant / FILE).exists()

    def from_files(self, tenant: str) -> tuple[Policy, dict[str, Any]]:
        """The set of the tenant's files."""
        policy, data = load(self._tenants / tenant, tenant, self._contracts[tenant])
        require_servable(policy, at_hand=self._engine)
        self.know(tenant, self._contracts[tenant], policy)
        return policy, data

    def compiled(self, bundle: Bundle) -> tuple[Policy, dict[str, Any]]:
        """The set in a bundle."""
        policy, data = compiled(bundle, {**self._kept.get(bundle.tenant, {}), **self._contracts[bundle.tenant]})
        require_servable(policy, at_hand=self._engine)
        return policy, data

    def failures(self, policy: Policy, data: Mapping[str, Any]) -> list[str]:
        """The tests of the set that fail."""
        return [result.name for result in run_tests(policy, data) if not result.passed]

    def keys(self) -> KeySet:
        """The public keys, as they are now."""
        return self._keys()

    def _files(self, tenant: str) -> list[str]:
        """Plain text: they are looked at several times a second."""
        return [f"{self._tenants}/{tenant}/{name}" for name in (FILE, DATA, *self._modules.get(tenant, ()))]


def require_servable(policy: Policy, *, at_hand: bool) -> None:
    """Refuse a set that loads but must not decide.

    Its hand-written Rego needs an OPA where none is at hand (`at_hand`), or may not be loaded; or it has a rule that can never
    fire, which protects nobody although somebody meant it to.
    """
    if dead := dead_rules(policy):
        raise ConfigError("; ".join(f"{place}: rule `{rule}` can never fire: {why}" for rule, place, why in dead[:MAX_TOLD]))
    if policy.rego and not at_hand:
        tools = ", ".join(sorted({f"`{tool}`" for each in policy.rego for tool in each.tools}))
        raise ConfigError(f"hand-written Rego decides about {tools}, which needs an OPA: set `policy.opa_url`")
    if wrong := custom.problems(policy):
        raise ConfigError("; ".join(wrong))


def _data(path: Path) -> dict[str, Any]:
    data = parse(read(path), source=str(path)).value if path.is_file() else {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping")
    return data


def _modules(path: Path, text: str) -> dict[str, str]:
    """The hand-written modules that the document names and that are there; the language says which are missing."""
    named = {name: path.parent / name for name in rego_files(parse(text, source=str(path)).value)} if "rego" in text else {}
    return {name: read(file) for name, file in named.items() if file.is_file()}


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path costs five times the call
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
