"""The shallow contract, repeated in front of the rules: known tool and arguments, JSON types, version range.

The full JSON Schema is checked by a guard of its own; this part makes a policy set safe even where nothing else stands before it.
A violation is an `error`: no rule is asked then. Parsed arguments are a by-product.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from aegis.model.node import MAX_INTEGER
from aegis.policy.hosts import Ambiguous
from aegis.policy.ir import CONTRACT, Argument, Kind, ToolLine
from aegis.policy.leaves import is_integer, is_number
from aegis.policy.parsed import READERS
from aegis.policy.toollines import is_dotted, is_name
from aegis.policy.versions import parse_version, within

MAX_VIOLATIONS = 16
NO_PARTS: Mapping[str, Mapping[str, Any]] = {}
_FITS: dict[Kind, Callable[[Any], bool]] = {
    Kind.STRING: lambda value: type(value) is str,
    Kind.URL: lambda value: type(value) is str,
    Kind.EMAIL: lambda value: type(value) is str,
    Kind.INTEGER: lambda value: is_integer(value) and abs(value) <= MAX_INTEGER,
    Kind.NUMBER: is_number,
    Kind.BOOLEAN: lambda value: type(value) is bool,
    Kind.OBJECT: lambda value: type(value) is dict,
    Kind.ARRAY: lambda value: type(value) is list,
}


class Violation(Struct, frozen=True, kw_only=True, order=True):
    """One way in which a call breaks the contract line; the field is a path, the limit what was expected."""

    field: str
    reason: str
    limit: str = ""


class Shallow:
    """The contract line of one tool, ready to check calls."""

    def __init__(self, line: ToolLine) -> None:
        self.line = line
        self._names = frozenset(line.args)
        self._plain = tuple((name, _FITS[arg.kind], arg) for name, arg in line.args.items())
        self._parsed = tuple((name, READERS[arg.kind]) for name, arg in line.args.items() if arg.kind in READERS)

    def check(self, arguments: Any, version: str) -> tuple[tuple[Violation, ...], Mapping[str, Mapping[str, Any]]]:
        """(violations, parsed arguments); the second counts only when there are none of the first."""
        if type(arguments) is not dict:
            return (Violation(field="args", reason="expected an object of arguments", limit="object"),), NO_PARTS
        found: list[Violation] = []
        if self.line.version:
            found += self._version(version)
        if not self._names.issuperset(arguments):
            found += [_unknown(name) for name in arguments if name not in self._names]
        for name, fits, argument in self._plain:
            value = arguments.get(name)
            if not (fits(value) if value is not None else argument.optional):
                found.append(_mistyped(name, argument, missing=value is None))
        if found or not self._parsed:
            return tuple(sorted(set(found))[:MAX_VIOLATIONS]), NO_PARTS
        return self._parts(arguments)

    def _version(self, version: str) -> list[Violation]:
        numbers = parse_version(version)
        if numbers is not None and within(numbers, self.line.version):
            return []
        return [Violation(field="version", reason="the version of the tool is outside the range", limit=self.line.version_text)]

    def _parts(self, arguments: dict[str, Any]) -> tuple[tuple[Violation, ...], Mapping[str, Mapping[str, Any]]]:
        found: list[Violation] = []
        parts: dict[str, Mapping[str, Any]] = {}
        for name, read in self._parsed:
            value = arguments.get(name)
            if value is None:
                continue
            try:
                parts[name] = read(value)
            except Ambiguous as error:
                found.append(Violation(field=f"args.{name}", reason=str(error), limit=self.line.args[name].kind))
        return tuple(sorted(found)), parts


def contract_rule(tool: str) -> str:
    """The id of the contract of a tool. A name that no tool can have comes from the caller and is not repeated."""
    return f"{tool if is_dotted(tool) else 'unknown'}{CONTRACT}"


def _unknown(name: str) -> Violation:
    field = f"args.{name}" if is_name(name) else "args"
    return Violation(field=field, reason="the contract has no such argument")


def _mistyped(name: str, argument: Argument, *, missing: bool) -> Violation:
    reason = "the argument is required" if missing else "the argument has another type"
    return Violation(field=f"args.{name}", reason=reason, limit=str(argument.kind))
