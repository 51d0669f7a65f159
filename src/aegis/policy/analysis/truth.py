"""What one comparison says of one value: true, false, or `None` for unknown."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.model.principal import Link
from aegis.policy.ir import Condition, Leaf, ListRef, Literal, Not, Op, Operand, Path, Policy, Quantified
from aegis.policy.native import CHAIN, compile_condition
from aegis.policy.tenantdata import lookup

Atom = Leaf | Quantified
Ask = Callable[[Any], bool | None]
_SUBJECT = "v"


class Ground(Struct, frozen=True, kw_only=True):
    """What comparisons are evaluated with. `quiet` holds in sanitize rules, where an absent optional argument answers no.

    `settled` says that the tenant's data is what it is; otherwise what depends on it is left open.
    """

    policy: Policy
    tenant_data: Mapping[str, Any] = {}
    quiet: bool = False
    settled: bool = False


def atoms(condition: Condition | None) -> list[Atom]:
    """Every comparison; those inside a quantified one are not entered."""
    if condition is None:
        return []
    if isinstance(condition, Leaf | Quantified):
        return [condition]
    if isinstance(condition, Not):
        return atoms(condition.condition)
    return [atom for part in condition.conditions for atom in atoms(part)]


def place(path: Path) -> str:
    """The name of a place: what two comparisons of one value have in common."""
    return ".".join(path.parts)


def asker(atom: Atom, ground: Ground) -> Ask:
    """A function from the value at the place of `atom` to what it says. A chain is a list of objects with `id` and `trust`."""
    chain = atom.path.text == CHAIN
    moved = atom if chain else replace(atom, path=Path(f"args.{_SUBJECT}", ("args", _SUBJECT), atom.path.kind))
    surely, possibly = (
        compile_condition(moved, ground.policy, ground.tenant_data, unknown=unknown, absent_is_false=False).fires
        for unknown in (False, True)
    )
    silent = ground.quiet and atom.path.argument and not (isinstance(atom, Leaf) and atom.op is Op.PRESENT)

    def ask(value: Any) -> bool | None:
        if value is None and silent:
            return False
        subject = _stand_in(value, chain=chain)
        return True if surely(subject) else None if possibly(subject) else False

    return ask


def resolve(operand: Operand, ground: Ground) -> Any:
    """The value of an operand; `None` when the tenant's data does not have it."""
    if isinstance(operand, Literal):
        return operand.value
    if isinstance(operand, ListRef):
        return ground.policy.lists[operand.name]
    found = lookup(ground.tenant_data, operand.parts, ground.policy.tenant_shape[".".join(operand.parts)])
    return tuple(found) if isinstance(found, list) else found


def _stand_in(value: Any, *, chain: bool) -> SimpleNamespace:
    """As much of the input of a decision as one comparison reads."""
    links = tuple(Link(agent_id=link["id"], trust=link["trust"]) for link in value) if chain else ()
    return SimpleNamespace(args={_SUBJECT: value}, principal=SimpleNamespace(chain=links))
