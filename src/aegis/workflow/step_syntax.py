"""One step of a definition, from its document: what it does, and what goes with it.

A step does exactly one thing, which its key names: `agent`, `tool`, `approval`, `workflow`, `wait` or `emit`. The other keys say
when, how often, how it is tried again, and what undoes it; a key that does not go with the kind of the step is refused.
"""

import re
from collections.abc import Mapping
from typing import Any, get_args

from msgspec import Struct

from aegis.model.contract import NAME
from aegis.model.node import Node, choices
from aegis.policy.duration import duration
from aegis.workflow.conditions import OUTPUT, Names, missing, read
from aegis.workflow.conditions import steps as read_steps
from aegis.workflow.gate_syntax import approval, wait
from aegis.workflow.graph import (
    MAX_ELEMENTS,
    Action,
    Amount,
    Budget,
    OnFailure,
    Ref,
    Retry,
    Role,
    Step,
    StepKind,
    Template,
)
from aegis.workflow.loop_syntax import collect, for_each, repeat, retry
from aegis.workflow.values_syntax import Place, amount, budget, refs, steps, template

KINDS: tuple[StepKind, ...] = get_args(StepKind)
ID = re.compile(r"[a-z][a-z0-9_-]{0,62}")
AGENT = re.compile(r"(?:agent:)?[a-z0-9][a-z0-9._-]{0,62}")
DATA = re.compile(r"[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)*@(?:0|[1-9][0-9]{0,5})(?:\.(?:0|[1-9][0-9]{0,5})\.(?:0|[1-9][0-9]{0,5}))?")
_VERSION = re.compile(r"(?:0|[1-9][0-9]{0,5})(?:\.(?:0|[1-9][0-9]{0,5})\.(?:0|[1-9][0-9]{0,5}))?")
MAX_PRIORITY = 9
MAX_PARALLEL = 1000
VALUES: Mapping[str, str] = {"tool": "args", "agent": "input", "workflow": "input", "emit": "data"}
_ALWAYS = ("role", "needs", "when", "timeout")
_WORK = (
    "for_each", "max_parallel", "max_elements", "collect", "retry", "on_failure", "default", "output", "compensate", "estimate",
    "budget", "queue", "priority",
)  # fmt: skip
_KEYS: Mapping[str, tuple[str, ...]] = {
    "tool": (*_ALWAYS, *_WORK, "args", "repeat", "run_as"),
    "agent": (*_ALWAYS, *_WORK, "input", "accepts", "repeat", "model"),
    "workflow": (*_ALWAYS, *_WORK, "input", "repeat"),
    "emit": (*_ALWAYS, "data", "to", "for_each", "max_parallel", "max_elements", "retry", "on_failure", "compensate", "run_as"),
    "approval": ("role", "needs", "when", "on_failure", "default"),
    "wait": ("role", "needs", "when", "on_failure", "default", "output"),
}
_EXAMPLES = {"tool": "payments.transfer@1", "workflow": "onboarding@1", "emit": "order.placed@1"}
_LATER = {
    "fallback": "not part of this version; say `on_failure: skip` with a `default`",
    "evaluate": "not part of this version; a validator step and a `repeat` judge and refine",
    "canary": "not part of this version",
    "router": "not part of this version; write a `when` on each of the ways",
    "steps": "steps do not nest; take them out and name them in `needs`",
    "if": "write `when`",
    "depends_on": "write `needs`",
}


class Around(Struct, frozen=True, kw_only=True):
    """What a step may refer to: every step with the names that its `collect` makes."""

    steps: Mapping[str, tuple[str, ...]]


def collected(node: Node) -> tuple[str, ...]:
    """The names that the `collect` of a step makes, as far as they can be seen without reading the whole step."""
    found = node.value.get("collect") if isinstance(node.value, dict) else None
    return tuple(name for name in found if isinstance(name, str)) if isinstance(found, dict) else ()


def step(name: str, node: Node, around: Around) -> Step:
    """The step at `node`.

    Raises:
        DocumentError: With the place, what was found and what was expected.
    """
    if not ID.fullmatch(name):
        raise node.fail(f"step `{name}`: expected an id such as `score_offers`: lower case, digits, `_` and `-`, from a letter on")
    kind = _kind(node)
    fields = _fields(node, kind)
    loop = "for_each" in fields
    others = {each: made for each, made in around.steps.items() if each != name}
    place, outside = Place(names=Names(steps=others, item=loop)), Place(names=Names(steps=others))
    turning = Place(names=Names(steps=around.steps)) if "repeat" in fields else place
    undo, why_not = _undo(fields["compensate"], place) if "compensate" in fields else (None, "")
    made = Step(
        id=name, kind=kind, role=_role(node, fields, kind), place=node.place(),
        act=_act(kind, fields, turning) if kind in VALUES else None,
        approval=approval(fields["approval"], place) if kind == "approval" else None,
        wait=wait(fields["wait"], place) if kind == "wait" else None,
        needs=_needs(fields, name, others), when=read(fields["when"], place.names) if "when" in fields else None,
        for_each=for_each(fields["for_each"], outside) if loop else None,
        max_parallel=_number(fields, "max_parallel", 0, 1, MAX_PARALLEL),
        max_elements=_number(fields, "max_elements", 0, 1, MAX_ELEMENTS),
        collect=collect(fields["collect"]) if "collect" in fields else (),
        repeat=repeat(fields["repeat"], name, turning.names) if "repeat" in fields else None,
        queue=_match(fields["queue"], NAME, "the name of a queue such as `payments`") if "queue" in fields else "default",
        priority=_number(fields, "priority", 0, 0, MAX_PRIORITY),
        retry=retry(fields["retry"]) if "retry" in fields else Retry(),
        timeout=duration(fields["timeout"]) if "timeout" in fields else None,
        on_failure=_on_failure(fields), default=_default(fields), undo=undo, irrevocable=why_not,
        estimate=amount(fields["estimate"]) if "estimate" in fields else Amount(calls=1),
        budget=budget(fields["budget"]) if "budget" in fields else Budget(),
        output=data_name(fields["output"]) if "output" in fields else "",
        accepts=data_name(fields["accepts"]) if "accepts" in fields else "",
        model=_model(fields["model"]) if "model" in fields else {},
        run_as=agent_id(fields["run_as"]) if "run_as" in fields else "",
    )  # fmt: skip
    _fits(made, fields, node)
    return made


def needed(made: Step) -> frozenset[str]:
    """Every other step that this one refers to, in values and conditions; in a `repeat` it may refer to its own last turn."""
    values: list[Template] = [made.act.arguments if made.act else None, made.undo.arguments if made.undo else None, made.for_each]
    if made.approval:
        values.append(made.approval.shows)
    if made.wait:
        values.append(made.wait.until if isinstance(made.wait.until, Ref) else None)
    found = steps(values) | read_steps(made.when) | (read_steps(made.repeat.until) if made.repeat else frozenset())
    return found - {made.id}


def agent_id(node: Node) -> str:
    """An agent as the directory names it: `scorer` is short for `agent:scorer`."""
    return "agent:" + _match(node, AGENT, "an agent of the directory such as `scorer`").removeprefix("agent:")


def data_name(node: Node) -> str:
    """The name of a contract of data: `offer@1`, or one exact version `offer@1.2.0`."""
    return _match(node, DATA, "a contract of data such as `offer@1` or `offer@1.2.0`")


def _kind(node: Node) -> StepKind:
    members = node.members()
    found = [kind for kind in KINDS if kind in members]
    if len(found) != 1:
        what = "it says " + " and ".join(f"`{each}`" for each in found) if found else "it says none"
        raise node.fail(f"a step does exactly one thing, {choices(KINDS)}; {what}")
    return found[0]


def _fields(node: Node, kind: StepKind) -> dict[str, Node]:
    for key, child in node.members().items():
        if key in _LATER:
            raise child.fail(f"unknown key `{key}`: {_LATER[key]}")
    every = {key for keys in _KEYS.values() for key in keys}
    for key, child in node.members().items():
        if key in every and key not in _KEYS[kind]:
            instead = f"; its values stand under `{VALUES[kind]}`" if kind in VALUES and key in VALUES.values() else ""
            raise child.fail(f"`{key}` does not go with a step of kind `{kind}`{instead}")
    return node.fields((kind, *_KEYS[kind]))


def _role(node: Node, fields: dict[str, Node], kind: StepKind) -> Role:
    if "role" in fields:
        found: Role = fields["role"].word(get_args(Role))  # type: ignore[assignment]  # word() gave one of the literals
        if (found == "approver") != (kind == "approval"):
            raise fields["role"].fail("`approver` is the role of approval steps, and of no other")
        return found
    if kind == "agent":
        raise node.fail("`role` is missing here: an agent works as `planner`, `retriever`, `executor` or `validator`")
    return "approver" if kind == "approval" else "executor"


def _act(kind: StepKind, fields: dict[str, Node], place: Place) -> Action:
    name, version = _called(fields[kind], kind)
    value = template(fields[VALUES[kind]], place) if VALUES[kind] in fields else {}
    if kind == "tool" and not isinstance(value, dict):
        raise fields["args"].fail("the arguments of a tool have names: expected a mapping")
    if kind == "emit":
        value = {"data": value, **({"to": template(fields["to"], place)} if "to" in fields else {})}
    return Action(kind=kind, name=name, version=version, arguments=value)


def _called(node: Node, kind: str) -> tuple[str, str]:
    """A name, and the version after the `@`, if one is given."""
    if kind == "agent":
        return agent_id(node), ""
    name, at, version = node.text().partition("@")
    if not NAME.fullmatch(name) or (at and not _VERSION.fullmatch(version)):
        raise node.fail(f"expected a name such as `{_EXAMPLES[kind]}`, with or without the version")
    return name, version


def _undo(node: Node, place: Place) -> tuple[Action | None, str]:
    """What undoes a step, or why nothing does."""
    fields = node.fields(("tool", "agent", "args", "input", "none"))
    found = [key for key in ("tool", "agent", "none") if key in fields]
    if len(found) != 1:
        raise node.fail('expected one of `tool`, `agent` and `none: "why nothing can undo it"`')
    kind = found[0]
    allowed = {kind, *((VALUES[kind],) if kind in VALUES else ())}
    node.fields(allowed)
    if kind == "none":
        return None, fields["none"].text()
    inside = Place(names=place.names, own=True)
    return _act("tool" if kind == "tool" else "agent", fields, inside), ""


def _needs(fields: dict[str, Node], name: str, others: Mapping[str, Any]) -> tuple[str, ...]:
    """The steps that are named; those that are referred to join them later."""
    if "needs" not in fields:
        return ()
    node = fields["needs"]
    items = [node] if isinstance(node.value, str) else node.items(empty=True)
    for item in items:
        if item.text() == name:
            raise item.fail(f"step `{name}` cannot need itself")
    for item in items:
        unknown(item, item.text(), others)
    return tuple(sorted({item.text() for item in items}))


def _on_failure(fields: dict[str, Node]) -> OnFailure:
    if "on_failure" not in fields:
        return "unwind"
    found: OnFailure = fields["on_failure"].word(get_args(OnFailure))  # type: ignore[assignment]  # as above
    return found


def _default(fields: dict[str, Node]) -> Any:
    """What stands for the output of a step that was skipped; a literal."""
    if "default" not in fields:
        return None
    if fields["default"].value is None:
        raise fields["default"].fail("expected a value: nothing stands for nothing anyway, leave the key out")
    return fields["default"].value


def _model(node: Node) -> dict[str, str]:
    return {key: child.text() for key, child in sorted(node.fields(("tier", "id", "version", "seed")).items())}


def _fits(made: Step, fields: dict[str, Node], node: Node) -> None:
    """Keys that only make sense together."""
    for key in ("max_parallel", "max_elements", "collect"):
        if key in fields and made.for_each is None:
            raise fields[key].fail(f"`{key}` is about the elements of a `for_each`, which this step does not have")
    if made.repeat and made.for_each is not None:
        raise node.fail("a step has a `for_each` or a `repeat`, not both; put the loop into a workflow of its own")
    own = [ref for ref in refs(made.act.arguments if made.act else None) if ref.path[:2] == ("steps", made.id)]
    if made.default is not None and made.when is None and made.on_failure != "skip" and not own:
        raise fields["default"].fail("`default` stands for a step that is skipped: no `when` and no `on_failure: skip` is here")
    if made.default is None and any(len(ref.path) > len(("steps", made.id, OUTPUT)) for ref in own):
        raise node.fail("before the first turn nothing was given: say under `default` what stands for it")


def unknown(node: Node, name: str, others: Mapping[str, Any]) -> None:
    """Refuse the name of a step that is not there."""
    if name not in others:
        raise missing(node, "unknown step", name, others)


def _number(fields: dict[str, Node], key: str, plain: int, low: int, high: int) -> int:
    return fields[key].integer(low, high) if key in fields else plain


def _match(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    text = node.text()
    if not pattern.fullmatch(text):
        raise node.fail(f"expected {expected}")
    return text
