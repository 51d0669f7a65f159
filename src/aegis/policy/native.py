"""Compile the conditions of a set to closures.

Conditions are three-valued (Kleene): a comparison with something missing or of the wrong type is *unknown*. What an unknown result
does is fixed by the effect: deny, approval and sanitize rules fire, allow rules do not. That direction, and every `not` on the way,
is pushed down to the leaves here, so that what runs are plain booleans; `tests/policy/kleene.py` evaluates the logic directly
and must always agree.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.model.decision import Outcome
from aegis.policy.ir import (
    AllOf,
    AnyOf,
    Condition,
    Leaf,
    ListRef,
    Literal,
    Not,
    Op,
    Operand,
    Path,
    Policy,
    Quantified,
    Quantifier,
)
from aegis.policy.leaves import Test, always, leaf
from aegis.policy.tenantdata import lookup
from aegis.policy.view import Get, element_getter, getter

CHAIN = "chain"
Blame = tuple[str, Any]
Witness = Callable[[Any], Blame]


class Compiled(Struct, frozen=True):
    """A condition that can be tested.

    `witness` names the comparison (field, limit) that made it fire, `fixed` the same if it is always one. `telling` is false for a
    mere test of presence, which explains less than the comparison beside it.
    """

    fires: Test
    witness: Witness
    fixed: Blame | None = None
    telling: bool = True


class Context(Struct, frozen=True, kw_only=True):
    """What a comparison needs besides its operands. `absent_is_false` holds in sanitize rules, for optional arguments."""

    policy: Policy
    tenant_data: Mapping[str, Any]
    absent_is_false: bool
    chain: bool = False
    element: bool = False


def compile_rule(when: Condition | None, effect: Outcome, policy: Policy, tenant_data: Mapping[str, Any]) -> Compiled:
    """When a rule of this effect fires: on *true*, and on *unknown* unless it allows."""
    if when is None:
        return Compiled(always(answer=True), lambda _: ("", None), ("", None))
    return compile_condition(
        when, policy, tenant_data, unknown=effect is not Outcome.ALLOW, absent_is_false=effect is Outcome.SANITIZE
    )


def compile_condition(
    when: Condition, policy: Policy, tenant_data: Mapping[str, Any], *, unknown: bool, absent_is_false: bool, plain: bool = False
) -> Compiled:
    """The condition as a test that answers `unknown` for an unknown result; of a `plain` mapping instead of a call if so."""
    context = Context(policy=policy, tenant_data=tenant_data, absent_is_false=absent_is_false, element=plain)
    return _compile(when, context, unknown, want=True)


def _compile(when: Condition, context: Context, unknown: bool, *, want: bool) -> Compiled:
    """`when` (negated unless `want`), with unknown leaves answered as the rule's effect demands."""
    if isinstance(when, Not):
        return _compile(when.condition, context, unknown, want=not want)
    if isinstance(when, AllOf | AnyOf):
        parts = [_compile(part, context, unknown, want=want) for part in when.conditions]
        # De Morgan holds in Kleene's logic too.
        return _conjunction(parts) if isinstance(when, AllOf) is want else _disjunction(parts)
    if isinstance(when, Leaf):
        return _leaf(when, context, unknown, want=want)
    return _quantified(when, context, unknown, want=want)


def _conjunction(parts: Sequence[Compiled]) -> Compiled:
    tests = tuple(part.fires for part in parts)
    told = next((part for part in parts if part.telling), parts[0])
    if len(tests) == 2:
        first, second = tests
        return Compiled(lambda subject: first(subject) and second(subject), told.witness, told.fixed, told.telling)

    def fires(subject: Any) -> bool:
        for test in tests:  # noqa: SIM110 - a generator costs more than the tests that it runs
            if not test(subject):
                return False
        return True

    return Compiled(fires, told.witness, told.fixed, told.telling)


def _disjunction(parts: Sequence[Compiled]) -> Compiled:
    tests = tuple(part.fires for part in parts)

    def fires(subject: Any) -> bool:
        for test in tests:  # noqa: SIM110 - as above
            if test(subject):
                return True
        return False

    def witness(subject: Any) -> Blame:
        return next((part.witness(subject) for part in parts if part.fires(subject)), parts[0].witness(subject))

    return Compiled(fires, witness)


def _leaf(when: Leaf, context: Context, unknown: bool, *, want: bool) -> Compiled:
    operands = tuple(_operand(operand, context) for operand in when.operands)
    test = leaf(when.op, _getter(when.path, context), operands, when.path.kind, unknown=unknown, want=want)
    blame = when.path.text, limit(when)
    exempt = when.op is Op.PRESENT
    return Compiled(test if exempt else _absent(test, when.path, context, want=want), lambda _: blame, blame, not exempt)


def _absent(test: Test, path: Path, context: Context, *, want: bool) -> Test:
    """In a sanitize rule a comparison over an absent optional argument is false: there is nothing to redact."""
    name = path.argument
    if not name or not context.absent_is_false:
        return test
    return lambda view: test(view) if view.args.get(name) is not None else not want


def _quantified(when: Quantified, context: Context, unknown: bool, *, want: bool) -> Compiled:
    if when.quantifier is Quantifier.EVERY:
        exists, inner_want, empty = not want, want, not want  # `every` is false for an empty array
    else:
        exists = want is not (when.quantifier is Quantifier.NONE)  # `none` is `not any`
        inner_want, empty = exists, not exists
    of_chain = when.path.text == CHAIN
    inside = replace(context, chain=of_chain, element=True)
    inner = _compile(when.condition, inside, unknown, want=inner_want)
    over = any if exists else all
    test = _over(over, _getter(when.path, context), inner.fires, unknown, of_chain=of_chain, empty=empty)
    blame = _first_leaf(when.condition)
    return Compiled(_absent(test, when.path, context, want=want), lambda _: blame, blame)


def _over(over: Callable[[Iterable[bool]], bool], get: Get, inner: Test, unknown: bool, *, of_chain: bool, empty: bool) -> Test:
    """Whether some or all elements fire. An element that is not an object is unknown; an empty array answers `empty`."""

    def test(subject: Any) -> bool:
        value = get(subject)
        if type(value) is not tuple and type(value) is not list:
            return unknown
        if not value:
            return empty
        return over(inner(item) if of_chain or type(item) is dict else unknown for item in value)

    return test


def _getter(path: Path, context: Context) -> Get:
    return element_getter(path, of_chain=context.chain) if context.element else getter(path)


def _operand(operand: Operand, context: Context) -> Any:
    """The value to compare with; `None` when the tenant's data does not have it."""
    if isinstance(operand, Literal):
        return operand.value
    if isinstance(operand, ListRef):
        return context.policy.lists[operand.name]
    path = ".".join(operand.parts)
    return lookup(context.tenant_data, operand.parts, context.policy.tenant_shape[path])


def limit(when: Leaf) -> Any:
    """What a person is told that a value was compared with: the literal, or the name of the list or reference."""
    shown = tuple(_shown(operand) for operand in when.operands)
    return shown[0] if len(shown) == 1 else shown


def _shown(operand: Operand) -> Any:
    if isinstance(operand, Literal):
        return operand.value
    return operand.name if isinstance(operand, ListRef) else operand.text


def _first_leaf(when: Condition) -> Blame:
    if isinstance(when, Leaf):
        return when.path.text, limit(when)
    if isinstance(when, AllOf | AnyOf):
        return _first_leaf(when.conditions[0])
    return _first_leaf(when.condition)
