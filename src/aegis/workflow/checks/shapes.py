"""What is known of a value before a run: the schema of what a reference leads to, and whether a template fits a schema.

A schema is followed by the names of its members. What it names may be there or not; what it does not name cannot be counted on,
even where it would be let through.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from aegis.model.evolution import misfits
from aegis.model.message import MessageContract
from aegis.model.schema import Schema, SchemaError
from aegis.model.workflow_contract import NO_INPUT, WorkflowContract
from aegis.workflow.checks.finding import View
from aegis.workflow.graph import Ref, Step, Template, Workflow
from aegis.workflow.values_syntax import refs

_TEXT: Mapping[str, Any] = {"type": "string"}
_LOCAL = "#/$defs/"
_LIMIT = re.compile(r"was (no limit|\S+), is (\S+)")
_WORDS = (
    ("is required now", "is required, and may be missing"),
    (" any more", ""),
    ("fewer values are taken", "not every value that may come is taken"),
    ("reads otherwise, and nothing shows that it takes as much", "nothing shows that every value that may come is taken"),
)


class Misfit(Struct, frozen=True, kw_only=True):
    """Where a value cannot be counted on to fit, and why. `sure`: it is of another kind, is missing, or leads nowhere.

    What is not sure may fit: a limit that only one side states. The step fails when a value comes that does not.
    """

    path: str
    text: str
    sure: bool = True


class Shapes(Struct, frozen=True, kw_only=True):
    """What the values of one step may refer to."""

    workflow: Workflow
    view: View
    step: Step | None = None

    def gives(self, step: Step) -> Any:
        """The schema of what one node of a step gives; `None` when nothing says so."""
        if step.output:
            found = self.view.definitions.schema(step.output)
            return found.source if found else None
        contract = self.view.called(step.act) if step.act else None
        if isinstance(contract, WorkflowContract):
            return contract.gives
        return contract.output_schema if contract else None

    def takes(self, step: Step) -> Any:
        """The schema of the values of a step; `None` when nothing says so."""
        if step.kind == "agent":
            found = self.view.definitions.schema(step.accepts) if step.accepts else None
            return found.source if found else None
        contract = self.view.called(step.act) if step.act else None
        if isinstance(contract, MessageContract):
            return {"type": "object", "properties": {"data": contract.data}}
        return contract.input_schema if contract else None

    def at(self, ref: Ref) -> tuple[Any, Misfit | None]:
        """The schema of what a reference leads to, or what is wrong with it; neither when nothing is known."""
        root, way = self._root(ref)
        return _followed(root, way, ref.text)

    def _root(self, ref: Ref) -> tuple[Any, tuple[str, ...]]:
        kind, *way = ref.path
        if kind == "input":
            found = self.view.definitions.schema(self.workflow.input) if self.workflow.input else None
            return (found.source if found else None) if self.workflow.input else NO_INPUT, tuple(way)
        if kind == "steps":
            return self._of_step(self.workflow.step(way[0]), way[1]), tuple(way[2:])
        if kind == "item" and self.step is not None:
            return self._item(self.step), tuple(way)
        if kind == "output" and self.step is not None:
            return self.gives(self.step), tuple(way)
        return _TEXT, ()

    def _of_step(self, step: Step, what: str) -> Any:
        if what == "outcome":
            return _TEXT
        one = self.gives(step)
        if step.for_each is None or one is None:
            return one
        picked = next((each for each in step.collect if each.name == what), None)
        if picked is not None and picked.pick != "list":
            return one
        if picked is not None and picked.path:
            return None
        return {"type": "array", "items": one, **({"maxItems": step.max_elements} if step.max_elements else {})}

    def _item(self, step: Step) -> Any:
        if not isinstance(step.for_each, Ref):
            return None
        found, wrong = Shapes(workflow=self.workflow, view=self.view).at(step.for_each)
        found = resolved(found, found)
        return None if wrong or not isinstance(found, dict) else _with_definitions(found.get("items"), found)

    def compared(self, given: Any, wanted: Any) -> Iterator[Misfit]:
        """Where a value of one schema may not fit another."""
        for place, text in _compared(given, wanted):
            yield Misfit(path=place.lstrip("."), text=said(text), sure=never(text))

    def misfits(self, value: Template, wanted: Any, path: str = "") -> Iterator[Misfit]:
        """Where a template may not fit a schema; of what nothing is known nothing is said."""
        yield from _Fitting(self, wanted).value(value, wanted, path)


class _Fitting:
    """One template against one schema, whose definitions its parts refer to."""

    def __init__(self, shapes: Shapes, root: Any) -> None:
        self._shapes = shapes
        self._root = root

    def value(self, value: Template, wanted: Any, path: str) -> Iterator[Misfit]:
        """Where this part does not fit."""
        wanted = resolved(wanted, self._root)
        if isinstance(value, Ref):
            yield from self._reference(value, wanted, path)
        elif isinstance(value, Mapping) and _plain(wanted, "object"):
            yield from self._mapping(value, wanted, path)
        elif isinstance(value, list | tuple) and _plain(wanted, "array"):
            for index, child in enumerate(value):
                yield from self.value(child, wanted.get("items", True), f"{path}[{index}]")
        elif not _open(value):
            yield from self._literal(value, wanted, path)
        else:
            for child in refs(value):
                yield from self._reference(child, None, path)

    def _reference(self, ref: Ref, wanted: Any, path: str) -> Iterator[Misfit]:
        given, wrong = self._shapes.at(ref)
        if wrong is not None:
            yield Misfit(path=path, text=wrong.text, sure=wrong.sure)
        if given is None or wanted is None:
            return
        for place, text in _compared(given, _with_definitions(wanted, self._root)):
            yield Misfit(path=(path + place).lstrip("."), text=f"`{ref.text}`: {said(text)}", sure=never(text))

    def _mapping(self, value: Mapping[str, Template], wanted: Mapping[str, Any], path: str) -> Iterator[Misfit]:
        named = wanted.get("properties", {})
        for name in sorted(set(wanted.get("required", ())) - set(value)):
            yield Misfit(path=_below(path, name), text="is required, and is not given")
        for name, child in value.items():
            others = wanted.get("additionalProperties", True)
            if name not in named and others is False:
                yield Misfit(path=_below(path, name), text="is not taken: the contract does not name it")
                continue
            yield from self.value(child, named.get(name, others), _below(path, name))

    def _literal(self, value: Any, wanted: Any, path: str) -> Iterator[Misfit]:
        if wanted is None or wanted is True:
            return
        try:
            found = Schema(_with_definitions(wanted, self._root)).check(value)
        except SchemaError:
            return
        for each in found:
            yield Misfit(path=path + each.path.replace("/", "."), text=f"does not fit: {each.text}")


def said(text: str) -> str:
    """A difference between two schemas, in the words of an edge: what is given, and what is taken."""
    text = _LIMIT.sub(r"its contract states \1, and \2 is wanted", text)
    for before, after in _WORDS:
        text = text.replace(before, after)
    return text


def never(text: str) -> bool:
    """Whether a difference of schemas is of kind, not of degree: another type, or a member that nobody promises."""
    return any(words in text for words in ("takes no", "is required", "is not taken", "nothing fits"))


def resolved(schema: Any, root: Any) -> Any:
    """The schema that a local reference leads to."""
    for _ in range(8):
        if not isinstance(schema, dict) or set(schema) - {"$defs", "title", "description"} != {"$ref"}:
            break
        name = str(schema["$ref"]).removeprefix(_LOCAL)
        schema = root.get("$defs", {}).get(name) if isinstance(root, dict) else None
    return schema


def _followed(root: Any, way: tuple[str, ...], text: str) -> tuple[Any, Misfit | None]:
    """What stands at the end of a way through a schema."""
    schema, optional = resolved(root, root), ""
    for name in way:
        if not isinstance(schema, dict) or set(schema) & {"anyOf", "oneOf", "allOf", "if", "patternProperties"}:
            return None, None
        if "properties" not in schema and schema.get("type") in (None, "object") and schema.get("additionalProperties", True):
            return None, None
        members = schema.get("properties", {})
        if name not in members:
            return None, Misfit(path="", text=f"`{text}`: the contract of what is given names no `{name}`")
        optional = optional or (name if name not in schema.get("required", ()) else "")
        schema = resolved(members[name], root)
    wrong = Misfit(path="", text=f"`{text}`: `{optional}` may be missing in what is given", sure=False) if optional else None
    return _with_definitions(schema, root), wrong


def _compared(given: Any, wanted: Any) -> Iterator[tuple[str, str]]:
    """Where what is given may not fit; a closed set of values is tried one by one."""
    if isinstance(given, dict) and ("enum" in given or "const" in given):
        try:
            schema = Schema(wanted)
        except SchemaError:
            return
        if any(schema.check(value) for value in given.get("enum", [given.get("const")])):
            yield "", "fewer values are taken"
        return
    for place, text in misfits("", given, wanted):
        yield place.replace(".properties.", ".").replace(".items", "[]"), text


def _plain(wanted: Any, kind: str) -> bool:
    """Whether the members of a schema can be looked at one by one."""
    return isinstance(wanted, dict) and wanted.get("type") == kind and not set(wanted) & {"anyOf", "oneOf", "allOf", "if"}


def _with_definitions(schema: Any, root: Any) -> Any:
    if isinstance(schema, dict) and isinstance(root, dict) and "$defs" in root and "$defs" not in schema:
        return {**schema, "$defs": root["$defs"]}
    return schema


def _open(value: Template) -> bool:
    return next(refs(value), None) is not None


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
