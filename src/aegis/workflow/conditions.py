"""Conditions of a workflow: the policy language over what a run knows.

    input.*                    what the run was started with
    steps.ID.outcome           how a step ended
    steps.ID.output.*          what it gave; steps.ID.NAME.* for a name that its `collect` makes
    run.id                     the run itself
    item.*                     the element, inside a `for_each`

They are tested over one plain mapping of that shape. A comparison with something missing, or of another type, is *unknown*, and
unknown is false: a step is not taken on a guess. There are no lists, no data of the tenant and no history here: what a condition
turns on stands in the journal of the run, so that a replay comes to the same answer.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec import Struct

from aegis.errors import DocumentError
from aegis.model.node import Node, nearest
from aegis.policy.conditions import condition, leaves
from aegis.policy.ir import Condition, Kind, Path, Policy
from aegis.policy.native import compile_condition
from aegis.policy.places import Scope

ROOTS = ("input", "steps", "run", "item")
RUN = ("id",)
OUTCOME, OUTPUT = "outcome", "output"


class UnknownStepError(DocumentError):
    """A document names a step that it does not have."""


Test = Callable[[dict[str, Any]], bool]
_ORDER = frozenset({"gt", "gte", "lt", "lte", "between", "outside"})
_NOTHING = Policy(
    name="", tenant="", owner="", digest="", shadow=False, timezone="UTC", lists={}, tenant_shape={}, tools={}, rules=()
)


class Names(Struct, frozen=True, kw_only=True):
    """What may be named: the steps, each with the names that its `collect` makes; and `item`, inside a `for_each`."""

    steps: Mapping[str, tuple[str, ...]]
    item: bool = False


def read(node: Node, names: Names, *, loosens: bool = True) -> Condition:
    """The condition at `node`. It `loosens` when holding means that something is done.

    Raises:
        DocumentError: It names something that is not there, or an operator does not fit.
    """

    def place(text: str, parts: tuple[str, ...], at: Node) -> Path:
        return Path(text, parts, _kind(text, parts, at, names))

    return condition(node, Scope(tools=(), lists={}, tenant_shape={}, loosens=loosens, resolver=place))


def test(when: Condition) -> Test:
    """Whether the condition holds over `{"input": ..., "steps": {...}, "run": ..., "item": ...}`; unknown is false."""
    return compile_condition(when, _NOTHING, {}, unknown=False, absent_is_false=False, plain=True).fires


def paths(when: Condition | None) -> tuple[tuple[str, ...], ...]:
    """Every place that a condition reads, in the order of the document; not those inside an element."""
    return tuple(leaf.path.parts for leaf in leaves(when))


def steps(when: Condition | None) -> frozenset[str]:
    """The steps that a condition reads."""
    return frozenset(parts[1] for parts in paths(when) if parts[0] == "steps")


def outcomes(when: Condition | None) -> frozenset[str]:
    """The steps of which it reads how they ended: that is known of a skipped step, too."""
    return frozenset(parts[1] for parts in paths(when) if parts[0] == "steps" and parts[2] == OUTCOME)


def _kind(text: str, parts: tuple[str, ...], at: Node, names: Names) -> Kind:
    root = parts[0]
    if root not in ROOTS:
        raise at.fail(f"no such path `{text}` in a run; expected input.*, steps.ID.*, run.id or item.*{nearest(root, ROOTS)}")
    if root == "run":
        if parts[1:] not in {(name,) for name in RUN}:
            raise at.fail(f"no such path `{text}`; of the run itself a condition may read run.id")
        return Kind.STRING
    if root == "item" and not names.item:
        raise at.fail(f"`{text}`: there is an element only inside a `for_each`")
    if root == "steps":
        return _of_step(text, parts, at, names)
    return _number_or_any(at)


def _of_step(text: str, parts: tuple[str, ...], at: Node, names: Names) -> Kind:
    if len(parts) < 3:
        raise at.fail(f"`{text}` stops short; expected `steps.ID.outcome` or `steps.ID.output.NAME`")
    known = names.steps.get(parts[1])
    if known is None:
        raise missing(at, f"`{text}` names unknown step", parts[1], names.steps)
    return_of(text, parts, at, known)
    if parts[2] == OUTCOME:
        return Kind.STRING
    return _number_or_any(at)


def return_of(text: str, parts: tuple[str, ...], at: Node, collected: Collection[str]) -> None:
    """Refuse what a step does not have: it has an outcome, an output, and what its `collect` names."""
    expected = (OUTCOME, OUTPUT, *collected)
    if parts[2] not in expected:
        raise at.fail(f"`{text}`: a step has {', '.join(f'`{each}`' for each in expected)}{nearest(parts[2], expected)}")
    if parts[2] == OUTCOME and len(parts) > 3:
        raise at.fail(f"`{text}`: an outcome is one word and has no members")


def missing(at: Node, text: str, name: str, known: Collection[str]) -> UnknownStepError:
    """The error to raise about a step that is not there."""
    return UnknownStepError(str(at.fail(f"{text} `{name}`{nearest(name, known)}")))


def _number_or_any(at: Node) -> Kind:
    """Where only orders are asked for, numbers need not be whole."""
    asked = set(at.value) if isinstance(at.value, dict) else set()
    return Kind.NUMBER if asked and asked <= _ORDER else Kind.ANY
