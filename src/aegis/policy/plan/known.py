"""What a step says of the places that rules read: their values, as far as they are known when the plan is made."""

from collections.abc import Iterable, Mapping
from typing import Any

from aegis.policy.hosts import Ambiguous
from aegis.policy.ir import ToolLine
from aegis.policy.nearmiss.values import sample
from aegis.policy.parsed import READERS
from aegis.policy.plan.document import Step, Unknown
from aegis.policy.shallow import Shallow, Violation


def violations(step: Step, line: ToolLine) -> tuple[Violation, ...]:
    """How the known part of a step breaks the contract line; samples stand for what is unknown."""
    arguments = {
        name: sample(line.args[name].kind) if isinstance(value, Unknown) and name in line.args else _filled(value)
        for name, value in step.args.items()
    }
    version = step.context.get("version")
    found, _ = Shallow(line).check(arguments, version or "")
    return tuple(each for each in found if version is not None or each.field != "version")


def known_places(step: Step, line: ToolLine, places: Iterable[str]) -> dict[str, Any]:
    """The values of those of `places` that are known; `None` is known to be absent."""
    found: dict[str, Any] = {}
    for name in places:
        root, *way = name.split(".")
        value: Any = Unknown()
        if root == "args":
            value = _walk(step.args, way)
        elif root == "parsed":
            value = _part(step, line, way[0], way[1])
        elif name in step.context:
            value = step.context[name] if step.context[name] != "" else None
        if not _open(value):
            found[name] = value
    return found


def _walk(value: Any, way: list[str]) -> Any:
    for name in way:
        if isinstance(value, Unknown):
            return value
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _part(step: Step, line: ToolLine, argument: str, part: str) -> Any:
    value = step.args.get(argument)
    if value is None or isinstance(value, Unknown):
        return value
    try:
        return READERS[line.args[argument].kind](value).get(part)
    except (Ambiguous, TypeError, AttributeError):
        return Unknown()


def _open(value: Any) -> bool:
    """Whether a value is unknown, or holds something that is."""
    if isinstance(value, Mapping):
        return any(_open(inner) for inner in value.values())
    return any(_open(inner) for inner in value) if isinstance(value, list) else isinstance(value, Unknown)


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner) for inner in value]
    return None if isinstance(value, Unknown) else value
