"""Conditions of rules as Rego.

A condition becomes the lines of one rule body, which all hold when the rule fires. Every `not` of the language, and what an unknown
result does, is pushed down to the comparisons (as in `aegis.policy.native`), so that no composite is ever negated. What needs an
alternative becomes a rule of its own with several bodies (`c_1`, `c_2`, ...), in a quantified condition a function of the element.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from aegis.model.decision import Outcome, Stage
from aegis.policy.ir import (
    AllOf,
    AnyOf,
    Condition,
    Kind,
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
    Rule,
    Scalar,
    TenantRef,
)
from aegis.policy.pointer import tokens
from aegis.policy.rego.literals import get, set_of, term
from aegis.policy.versions import parse_range

Lines = list[str]
HOSTS = "hosts"
TENANT = "tenant"

# Operator -> (stem of the pair of functions, whether it is the negation of them).
_STEMS = {
    Op.EQ: ("eq", False),
    Op.NE: ("eq", True),
    Op.GT: ("gt", False),
    Op.LTE: ("gt", True),
    Op.LT: ("lt", False),
    Op.GTE: ("lt", True),
    Op.BETWEEN: ("between", False),
    Op.OUTSIDE: ("between", True),
    Op.IN: ("in", False),
    Op.CONTAINS: ("contains", False),
    Op.STARTS_WITH: ("starts", False),
    Op.ENDS_WITH: ("ends", False),
    Op.MATCHES: ("matches", False),
    Op.HOST_IN: ("host", False),
    Op.LONGER_THAN: ("longer", False),
    Op.SHORTER_THAN: ("shorter", False),
    Op.VERSION: ("version", False),
}
_SHAPED = {
    "string": "as_string",
    "integer": "as_integer",
    "number": "as_number",
    "boolean": "as_boolean",
    "string[]": "as_strings",
    "integer[]": "as_integers",
}


class _Want(Struct, frozen=True, kw_only=True):
    """How a condition is asked: for truth or falsehood, what unknown answers, and whether about an element of an array."""

    truth: bool
    unknown: bool
    absent_is_false: bool
    element: bool = False

    @property
    def flipped(self) -> "_Want":
        """The same for the negation."""
        return replace(self, truth=not self.truth)


class Writer:
    """Writes the rules of one package; `text` has all of them."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._rules: Lines = []
        self._bodies = 0
        self._names = 0

    @property
    def text(self) -> str:
        """Everything written so far."""
        return "\n".join(self._rules)

    def fires(self, name: str, rule: Rule) -> None:
        """Write the rule `name`, which holds when `rule` fires; otherwise it is undefined."""
        want = _Want(
            truth=True, unknown=rule.effect is not Outcome.ALLOW, absent_is_false=rule.effect is Outcome.SANITIZE
        )  # fmt: skip
        lines = ["true"] if rule.when is None else self._lines(rule.when, want)
        places = [tokens(each.path)[1:] for each in rule.redactions if each.stage is Stage.REQUEST]
        body = lines + self._some_present(places)
        self._rules.append(f"# {term(rule.id)}")
        self._write(name, [body])

    def _write(self, head: str, bodies: Sequence[Lines]) -> None:
        for body in bodies:
            self._rules += [f"{head} if {{", *(f"\t{line}" for line in body), "}", ""]

    def _either(self, bodies: Sequence[Lines], want: _Want) -> str:
        """One line that holds when one of `bodies` does."""
        self._bodies += 1
        head = f"c_{self._bodies}" + ("(e)" if want.element else "")
        self._write(head, bodies)
        return head

    def _bound(self, value: str) -> tuple[Lines, str]:
        """(a line that binds `value`, the name that it is bound to): what `not` looks at must be bound before."""
        self._names += 1
        name = f"v_{self._names}"
        return [f"{name} := {value}"], name

    def _lines(self, when: Condition, want: _Want) -> Lines:
        if isinstance(when, Not):
            return self._lines(when.condition, want.flipped)
        if isinstance(when, AllOf | AnyOf):
            parts = [self._lines(part, want) for part in when.conditions]
            # De Morgan holds in Kleene's logic too.
            together = isinstance(when, AllOf) is want.truth
            return [line for part in parts for line in part] if together else [self._either(parts, want)]
        if isinstance(when, Leaf):
            return self._present(when, want) if when.op is Op.PRESENT else self._guarded(when.path, self._leaf(when, want), want)
        return self._guarded(when.path, self._quantified(when, want), want)

    def _present(self, when: Leaf, want: _Want) -> Lines:
        (operand,) = when.operands
        assert isinstance(operand, Literal), "presence is asked with true or false"
        bind, name = self._bound(self._at(when.path, want))
        return [*bind, f"{name} {'!=' if operand.value is want.truth else '=='} null"]

    def _leaf(self, when: Leaf, want: _Want) -> Lines:
        stem, flip = _STEMS[when.op]
        truth = want.truth is not flip
        lines, name = self._bound(self._at(when.path, want))
        arguments = [name]
        for operand in self._operands(when):
            bind, name = self._bound(operand) if operand.startswith("lib.") else ([], operand)
            lines += bind
            arguments.append(name)
        # Certainly so, or not certainly otherwise.
        ask, half = ("not ", not truth) if want.unknown else ("", truth)
        return [*lines, f"{ask}lib.{self._family(when)}{stem}_{'t' if half else 'f'}({', '.join(arguments)})"]

    def _family(self, when: Leaf) -> str:
        """The prefix of functions that come in kinds."""
        if when.op in (Op.GT, Op.GTE, Op.LT, Op.LTE, Op.BETWEEN, Op.OUTSIDE):
            return {Kind.NUMBER: "number_", Kind.TIME: "time_"}.get(when.path.kind, "integer_")
        if when.op is Op.IN:
            return "integer_" if self._of_integers(when.operands[0]) else "string_"
        return ""

    def _of_integers(self, operand: Operand) -> bool:
        if isinstance(operand, TenantRef):
            return self._policy.tenant_shape[".".join(operand.parts)] == "integer[]"
        members = self._members(operand)
        return bool(members) and type(members[0]) is int

    def _members(self, operand: Operand) -> tuple[Scalar, ...]:
        assert not isinstance(operand, TenantRef), "the members are in the tenant's data"
        found = self._policy.lists[operand.name] if isinstance(operand, ListRef) else operand.value
        assert isinstance(found, tuple), "the language has read a list here"
        return found

    def _operands(self, when: Leaf) -> Lines:
        if when.op is Op.VERSION:
            return [_bounds(when.operands[0])]
        return [self._operand(operand, when.op) for operand in when.operands]

    def _operand(self, operand: Operand, op: Op) -> str:
        if isinstance(operand, Literal) and not isinstance(operand.value, tuple):
            return term(operand.value)
        if not isinstance(operand, TenantRef):
            return set_of(self._members(operand))
        text = ".".join(operand.parts)
        if op is Op.HOST_IN:  # only lists whose entries are all canonical stand there
            return f"lib.as_strings({get('tenant_data', (HOSTS, text))})"
        return f"lib.{_SHAPED[self._policy.tenant_shape[text]]}({get('tenant_data', (TENANT, *operand.parts))})"

    def _at(self, path: Path, want: _Want) -> str:
        return get("e" if want.element else "input", path.parts)

    def _guarded(self, path: Path, lines: Lines, want: _Want) -> Lines:
        """In a sanitize rule a comparison over an absent optional argument is false: there is nothing to redact."""
        if not path.argument or not want.absent_is_false:
            return lines
        bind, name = self._bound(get("input", ("args", path.argument)))
        if want.truth:
            return [*bind, f"{name} != null", *lines]
        return [self._either([[*bind, f"{name} == null"], lines], want)]

    def _quantified(self, when: Quantified, want: _Want) -> Lines:
        if when.quantifier is Quantifier.EVERY:
            some, truth, empty = not want.truth, want.truth, not want.truth  # `every` is false for an empty array
        else:
            some = want.truth is not (when.quantifier is Quantifier.NONE)  # `none` is `not any`
            truth, empty = some, not some
        inner = replace(want, truth=truth, element=True)
        about = self._either(self._element(when.condition, inner), inner).removesuffix("(e)")
        bind, name = self._bound(self._at(when.path, want))
        filled = [*bind, f"is_array({name})", f"count({name}) > 0"]
        over = [f"some x in {name}", f"{about}(x)"] if some else [f"every x in {name} {{ {about}(x) }}"]
        bodies = [[*filled, *over]]
        if want.unknown:
            bodies.append([*bind, f"not is_array({name})"])
        if empty:
            bodies.append([*bind, f"is_array({name})", f"count({name}) == 0"])
        return [self._either(bodies, want)]

    def _element(self, condition: Condition, want: _Want) -> list[Lines]:
        """An element that is not an object is unknown."""
        bodies = [["is_object(e)", *self._lines(condition, want)]]
        return [*bodies, ["not is_object(e)"]] if want.unknown else bodies

    def _some_present(self, places: Sequence[tuple[str, ...]]) -> Lines:
        """A rule that edits arguments fires only when one of its places holds something."""
        if not places:
            return []
        return [self._either([_walk(place) for place in places], _PLAIN)]


_PLAIN = _Want(truth=True, unknown=False, absent_is_false=False)


def _walk(place: tuple[str, ...]) -> Lines:
    lines = [f"w_0 := {get('input', ('args',))}"]
    for step, name in enumerate(place):
        index = int(name) if name.isascii() and name.isdigit() and str(int(name)) == name else -1
        lines.append(f"some w_{step + 1} in lib.below(w_{step}, {term(name)}, {index})")
    return [*lines, f"w_{len(place)} != null"]


def _bounds(operand: Operand) -> str:
    assert isinstance(operand, Literal), "a range of versions is written in the rule"
    wanted = parse_range(str(operand.value))
    assert wanted is not None, "the language has read this range"
    return term([[each.sign, ".".join(map(str, each.version))] for each in wanted])
