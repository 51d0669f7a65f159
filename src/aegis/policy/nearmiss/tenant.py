"""The tenant's data that a rule refers to: what is at hand, and values that are invented where nothing fits."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aegis.policy.analysis.truth import Atom, atoms
from aegis.policy.ir import Op, Policy, Quantified, Rule, TenantRef
from aegis.policy.tenantdata import lookup

_INVENTED: Mapping[str, Any] = {
    "string": "sample",
    "integer": 100,
    "number": 100,
    "boolean": True,
    "string[]": ["sample", "listed.example"],
    "integer[]": [100, 200],
}
LONG = 200


def for_rule(rule: Rule, policy: Policy, data: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """(tenant's data with what is missing for this rule, the `tenant.*` part of the input)."""
    stated: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    for ref, op in _refs(atoms(rule.when)):
        shape = policy.tenant_shape[".".join(ref.parts)]
        value = lookup(data, ref.parts, shape)
        value = _INVENTED[shape] if value is None or _unfit(value, op) else value
        stated[ref.text] = value
        inner = whole
        for name in ref.parts[:-1]:
            inner = inner.setdefault(name, {})
        inner[ref.parts[-1]] = value
    return whole, stated


def _unfit(value: Any, op: Op) -> bool:
    """Whether no short call could lie on both sides: an empty list, a great length."""
    return value in ([], ()) or (op in (Op.LONGER_THAN, Op.SHORTER_THAN) and value > LONG)


def _refs(found: Iterable[Atom]) -> Iterator[tuple[TenantRef, Op]]:
    for atom in found:
        if isinstance(atom, Quantified):
            yield from _refs(atoms(atom.condition))
        else:
            yield from ((operand, atom.op) for operand in atom.operands if isinstance(operand, TenantRef))
