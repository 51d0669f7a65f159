"""Read the conditions of a rule into the intermediate form, checking every operator against what stands at its path."""

from msgspec.structs import replace

from aegis.model.node import Node, choices, nearest
from aegis.policy.ir import AllOf, AnyOf, Condition, Kind, Leaf, Not, Op, Path, Quantified, Quantifier
from aegis.policy.operands import FITTING, operands
from aegis.policy.past import ROOT as HISTORY
from aegis.policy.past import history
from aegis.policy.places import OF_STRINGS, Scope, resolve

COMBINATORS = frozenset({"all", "any", "not"})


def condition(node: Node, scope: Scope) -> Condition:
    """The condition at `node`: a mapping with several keys means all of them."""
    members = node.members()
    if not members:
        raise node.fail("expected a condition, found an empty mapping")
    return _all([_member(key, child, scope) for key, child in members.items()])


def _member(key: str, node: Node, scope: Scope) -> Condition:
    if key == "not":
        return Not(condition(node, replace(scope, loosens=not scope.loosens)))
    if key in COMBINATORS:
        parts = tuple(condition(item, scope) for item in node.items())
        return AllOf(parts) if key == "all" else AnyOf(parts)
    if key == HISTORY and scope.resolver is None:
        if scope.element is not None:
            raise node.fail("history is about the call, not about an element of it: write it outside the quantifier")
        return history(node, scope)
    return _tests(key, node, scope)


def _tests(text: str, node: Node, scope: Scope) -> Condition:
    """Everything that one path is tested for."""
    path = resolve(text, scope, node)
    if not isinstance(node.value, dict):
        raise node.fail(f"expected a mapping of operators such as `{{eq: ...}}` for `{text}`")
    words = {*map(str, Op), *map(str, Quantifier)}
    tests: list[Condition] = []
    for word, child in node.members().items():
        if word not in words:
            raise child.fail(f"unknown operator `{word}`; expected {choices(words)}{nearest(word, words)}")
        if word in set(Quantifier):
            tests.append(_quantified(path, Quantifier(word), child, scope))
        else:
            tests.append(_leaf(path, Op(word), child, scope))
    if not tests:
        raise node.fail(f"expected at least one operator for `{text}`, found an empty mapping")
    return _all(tests)


def _leaf(path: Path, op: Op, node: Node, scope: Scope) -> Leaf:
    fitting = FITTING[op]
    if op is Op.CONTAINS and path.text == "chain":
        raise node.fail("the chain is an array of objects; use `any`, `every` or `none`")
    if op is not Op.PRESENT and path.kind not in fitting:
        wanted = ", ".join(sorted(map(str, fitting)))
        hint = ""
        if path.kind in (Kind.URL, Kind.EMAIL):
            hint = f"; rules read its parts: `parsed.{path.parts[-1]}.*`"
        raise node.fail(f"operator `{op}` does not fit `{path.text}`, which is {path.kind}; it fits: {wanted}{hint}")
    return Leaf(path, op, operands(path, op, node, scope))


def _quantified(path: Path, quantifier: Quantifier, node: Node, scope: Scope) -> Quantified:
    if path.kind not in (Kind.ARRAY, Kind.ANY) or path.text in OF_STRINGS:
        raise node.fail(f"`{quantifier}` needs an array of objects, but `{path.text}` is not one")
    loosens = scope.loosens != (quantifier is Quantifier.NONE)
    return Quantified(path, quantifier, condition(node, replace(scope, element=path, loosens=loosens)))


def _all(parts: list[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def leaves(root: Condition | None) -> list[Leaf | Quantified]:
    """Every comparison of a condition, in the order of the document; those inside a quantified one are not entered."""
    if root is None:
        return []
    if isinstance(root, Leaf | Quantified):
        return [root]
    if isinstance(root, Not):
        return leaves(root.condition)
    return [leaf for part in root.conditions for leaf in leaves(part)]
