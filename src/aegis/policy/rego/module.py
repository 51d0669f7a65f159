"""All modules of a policy set, and the data that belongs to them.

A tenant owns two roots: `aegis_<tenant>` (code) and `aegisdata/<tenant>` (its numbers and lists); `aegis/lib` and `aegis/fold` are
shared by all tenants of an OPA. `<tenant>` is written as `names.identifier` writes it. The entry point is
`data.aegis_<tenant>.main.decision`: it is always defined and denies whatever it cannot judge.
"""

from collections.abc import Mapping
from typing import Any

from aegis.policy.hosts import entry_complaint
from aegis.policy.ir import Policy
from aegis.policy.rego.conditions import HOSTS, TENANT, Writer
from aegis.policy.rego.custom import name_of
from aegis.policy.rego.lib import FOLD, FOLD_PATH, LIB, LIB_PATH
from aegis.policy.rego.literals import term
from aegis.policy.rego.names import file_of, identifier, root, tool_package
from aegis.policy.rego.tools import tool_module
from aegis.policy.tenantdata import lookup

DATA_ROOT = "aegisdata"


def roots(tenant: str) -> tuple[str, str]:
    """The roots that a bundle of this tenant owns, as `.manifest` writes them."""
    return root(tenant), f"{DATA_ROOT}/{identifier(tenant)}"


def library() -> dict[str, str]:
    """Path -> source of what every tenant needs; its roots are `aegis/lib` and `aegis/fold`."""
    return {LIB_PATH: LIB, FOLD_PATH: FOLD}


def modules(policy: Policy) -> dict[str, str]:
    """Path -> source of the modules of this set; the same set gives the same bytes.

    Raises:
        ConfigError: A hand-written module has not the package that it should have; `custom.problems` says more.
    """
    numbered = {rule.id: number for number, rule in enumerate(sorted(policy.rules, key=lambda rule: rule.id), 1)}
    found = {
        file_of(f"{root(policy.tenant)}.main"): _main(policy),
        file_of(f"{root(policy.tenant)}.rules"): _rules(policy, numbered),
    }
    for name, line in sorted(policy.tools.items()):
        found[file_of(tool_package(policy.tenant, name))] = tool_module(policy, line, numbered)
    for module in policy.rego:
        found[file_of(f"{root(policy.tenant)}.custom.{name_of(module, policy.tenant)}")] = module.text
    return found


def data(policy: Policy, tenant_data: Mapping[str, Any]) -> dict[str, Any]:
    """The data document beside `modules`: what references can read, and the lists of hosts whose entries are all canonical."""
    values = {path: lookup(tenant_data, path.split("."), shape) for path, shape in policy.tenant_shape.items()}
    known = {path: list(value) if isinstance(value, tuple) else value for path, value in values.items() if value is not None}
    tree: dict[str, Any] = {}
    for path, value in known.items():
        _plant(tree, path.split("."), value)
    hosts = {
        path: value
        for path, value in known.items()
        if policy.tenant_shape[path] == "string[]" and not any(entry_complaint(entry) for entry in value)
    }
    return {DATA_ROOT: {identifier(policy.tenant): {TENANT: tree, HOSTS: hosts}}}


def _plant(tree: dict[str, Any], parts: list[str], value: Any) -> None:
    for name in parts[:-1]:
        tree = tree.setdefault(name, {})
    tree[parts[-1]] = value


def _rules(policy: Policy, numbered: Mapping[str, int]) -> str:
    writer = Writer(policy)
    for rule in policy.rules:
        writer.fires(f"fires_{numbered[rule.id]}", rule)
    imports = ["import data.aegis.lib\n"] if "lib." in writer.text else []  # OPA in strict mode refuses one that nothing uses
    return "\n".join([f"package {root(policy.tenant)}.rules\n", *imports, _tenant_data(policy.tenant), writer.text])


def _tenant_data(tenant: str) -> str:
    """A rule that stands for an object also when the data is missing."""
    place = f"data.{DATA_ROOT}.{identifier(tenant)}"
    return f"default tenant_data := {{}}\n\ntenant_data := {place} if is_object({place})\n"


def _main(policy: Policy) -> str:
    """The entry point. What comes out of the tool's package is judged here; whatever has no package, or no answer, denies."""
    tenant, place = policy.tenant, f"data.{DATA_ROOT}.{identifier(policy.tenant)}"
    tools = "\n".join(
        f"of_tool := data.{tool_package(tenant, name)}.hits if input.tool == {term(name)}\n" for name in sorted(policy.tools)
    )
    return f"""package {root(tenant)}.main

import data.aegis.fold
import data.aegis.lib

default decision := {term(_undecided(policy))}

decision := fold.verdict(hits, {term(policy.digest)})

hits := {{{_error("policy#tenant")}}} if {{
\tnot is_ours
}} else := {{{_error("policy#data")}}} if {{
\tnot has_data
}} else := of_tool if {{
\tis_set(of_tool)
}} else := {{hit}} if {{
\tname := lib.contract_rule(object.get(input, ["tool"], null))
\thit := {{"id": name, "effect": "error", "live": true}}
}}

is_ours if {{
\tis_object(input)
\tinput.tenant == {term(tenant)}
}}

has_data if is_object({place})

{tools}"""


def _error(rule: str) -> str:
    return term({"id": rule, "effect": "error", "live": True})


def _undecided(policy: Policy) -> dict[str, Any]:
    """The answer when there is none, for example because a builtin failed."""
    rules = ["policy#error"]
    nothing: dict[str, Any] = {"would_be": None, "shadow": [], "redactions": [], "terms": None, "custom": []}
    return {"outcome": "deny", "rules": rules, "matched": rules, "revision": policy.digest} | nothing
