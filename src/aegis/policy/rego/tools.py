"""One package for each tool: its shallow contract, and which rules are about it.

Effect, mode and obligations stand in the hit as constants. Were they looked up in data, an entry that is missing would lose a deny.
"""

from typing import Any

from aegis.model.decision import ApprovalTerms
from aegis.policy.ir import CONTRACT, SHADOW_SET, Argument, Kind, Policy, Rule, ToolLine
from aegis.policy.rego.custom import name_of
from aegis.policy.rego.literals import get, set_of, term
from aegis.policy.rego.names import root, tool_package

_PARSED = (Kind.URL, Kind.EMAIL)


def tool_module(policy: Policy, line: ToolLine, numbered: dict[str, int]) -> str:
    """The package of a tool; `numbered` maps rule ids to the number of the rule in the package of rules."""
    rules = [rule for rule in sorted(policy.rules, key=lambda rule: rule.id) if rule.covers(line.name)]
    parts = [_contract(line), _hit({"id": line.name + CONTRACT, "effect": "error", "live": True}, "not contract")]
    parts += [_hit(_constants(rule, policy), "contract", f"rules.fires_{numbered[rule.id]}") for rule in rules]
    if policy.shadow:
        parts.append(_hit({"id": SHADOW_SET, "effect": "allow", "live": True}, "contract"))
    parts += [_custom(name_of(module, policy.tenant), policy) for module in policy.rego if line.name in module.tools]
    return "\n".join([_head(policy, line, "\n".join(parts)), *parts])


def _head(policy: Policy, line: ToolLine, body: str) -> str:
    """The package, and what `body` needs of others: OPA in strict mode refuses an import that nothing uses."""
    imports = ["import data.aegis.lib\n"] if "lib." in body else []
    imports += [f"import data.{root(policy.tenant)}.rules\n"] if "rules.fires_" in body else []
    return "\n".join([f"package {tool_package(policy.tenant, line.name)}\n", "".join(imports)])


def terms_of(terms: ApprovalTerms) -> dict[str, Any]:
    """Approval terms as plain data."""
    return {
        "approver_sets": [list(group) for group in terms.approver_sets],
        "quorum": terms.quorum,
        "ttl_seconds": int(terms.ttl.total_seconds()),
        "not_requester": terms.not_requester,
    }


def _constants(rule: Rule, policy: Policy) -> dict[str, Any]:
    hit: dict[str, Any] = {"id": rule.id, "effect": str(rule.effect), "live": not (rule.shadow or policy.shadow)}
    if rule.redactions:
        hit["redactions"] = [{"stage": str(each.stage), "path": each.path, "form": each.form} for each in rule.redactions]
    if rule.terms is not None:
        hit["terms"] = terms_of(rule.terms)
    return hit


def _hit(constants: dict[str, Any], *lines: str) -> str:
    return _rule(f"hits contains {term(constants)}", *lines)


def _custom(name: str, policy: Policy) -> str:
    """What a hand-written module says; that it says nothing at all, not even an empty set, denies."""
    hits = f"data.{root(policy.tenant)}.custom.{name}.hits"
    said = _rule(
        "hits contains hit",
        "contract",
        f"some given in {hits}",
        f"hit := lib.custom_hit(given, {term(name)}, {term(not policy.shadow)})",
    )
    missing = _hit({"id": f"{name}#missing", "effect": "error", "live": True}, "contract", f"not says_{name}")
    return "\n".join([said, missing, f"says_{name} if is_set({hits})\n"])


def _rule(head: str, *lines: str) -> str:
    return "\n".join([f"{head} if {{", *(f"\t{line}" for line in lines), "}", ""])


def _contract(line: ToolLine) -> str:
    arguments = list(enumerate(sorted(line.args.items()), 1))
    lines = ["is_object(input.args)", f"every name, _ in input.args {{ name in {set_of(line.args)} }}"]
    if line.version:
        bounds = [[each.sign, ".".join(map(str, each.version))] for each in line.version]
        lines.append(f"lib.version_t({get('input', ['version'])}, {term(bounds)})")
    lines += [f"fits_{number}" for number, _ in arguments]
    return "\n".join([_rule("contract", *lines), *(_fits(number, name, argument) for number, (name, argument) in arguments)])


def _fits(number: int, name: str, argument: Argument) -> str:
    value = get("input", ("args", name))
    parsed = argument.kind in _PARSED
    lines = [f"lib.fits_{Kind.STRING if parsed else argument.kind}({value})"]
    if parsed:
        lines.append(f"is_object({get('input', ('parsed', name))})")
    text = _rule(f"fits_{number}", *lines)
    return text + "\n" + _rule(f"fits_{number}", f"{value} == null") if argument.optional else text
