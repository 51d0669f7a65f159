"""YAML documents with places: what is wrong in a file is said with file, line and column.

The accepted language is YAML 1.2 without the parts that let two readers see two things: no duplicate keys, no anchors and aliases, no
tags, no directives, one document, text keys, bounded size and depth. `on`, `yes` and `12:30` are text.
"""

from math import isfinite
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from aegis.crypto.ijson import MAX_INTEGER
from aegis.errors import DocumentError

MAX_SIZE = 1_048_576
MAX_DEPTH = 32
Path = tuple[str | int, ...]


class Document:
    """A parsed document: `value` in plain Python, and the place of everything in it."""

    def __init__(self, source: str, value: Any, places: dict[Path, tuple[int, int]]) -> None:
        self.source = source
        self.value = value
        self._places = places

    def place(self, path: Path) -> tuple[int, int]:
        """Line and column (from 1) of what stands at `path`, or of the nearest thing around it."""
        while path not in self._places and path:
            path = path[:-1]
        return self._places.get(path, (1, 1))

    def error(self, path: Path, message: str) -> DocumentError:
        """The error to raise about `path`: `file:line:column: message`."""
        line, column = self.place(path)
        return DocumentError(f"{self.source}:{line}:{column}: {message}")


def parse(text: str, *, source: str) -> Document:
    """Parse one YAML document.

    Args:
        source: Name of the file, for messages.

    Raises:
        DocumentError: With the place and what was expected.
    """
    if len(text) > MAX_SIZE:
        raise DocumentError(f"{source}:1:1: larger than {MAX_SIZE} characters")
    yaml = YAML(typ="safe", pure=True)
    _refuse_tricks(yaml, text, source)
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise DocumentError(f"{source}:{place}: not valid YAML: {error.problem or error.context}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise DocumentError(f"{source}:1:1: not valid YAML: {type(error).__name__}") from None
    if node is None:
        raise DocumentError(f"{source}:1:1: the document is empty")
    places: dict[Path, tuple[int, int]] = {}
    return Document(source, _plain(node, (), places, source, yaml), places)


def _refuse_tricks(yaml: YAML, text: str, source: str) -> None:
    """Refuse what the parser would resolve before we could see it: directives, anchors, aliases, tags, a second document."""
    try:
        starts = 0
        for token in yaml.scan(text):
            kind = type(token).__name__
            if kind == "DocumentStartToken":
                starts += 1
            if kind in _REFUSED or starts > 1:
                mark = token.start_mark
                what = _REFUSED.get(kind, "a second document")
                raise DocumentError(f"{source}:{mark.line + 1}:{mark.column + 1}: {what} is not accepted here")
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise DocumentError(f"{source}:{place}: not valid YAML: {error.problem or error.context}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise DocumentError(f"{source}:1:1: not valid YAML: {type(error).__name__}") from None


_REFUSED = {
    "AnchorToken": "an anchor",
    "AliasToken": "an alias",
    "TagToken": "a tag",
    "DirectiveToken": "a directive",
}


def _plain(node: Node, path: Path, places: dict[Path, tuple[int, int]], source: str, yaml: YAML) -> Any:
    mark = node.start_mark
    places.setdefault(path, (mark.line + 1, mark.column + 1))

    def wrong(message: str, at: Node = node) -> DocumentError:
        return DocumentError(f"{source}:{at.start_mark.line + 1}:{at.start_mark.column + 1}: {message}")

    if len(path) > MAX_DEPTH:
        raise wrong(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(node, MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode) or not str(key_node.tag).endswith(":str"):
                raise wrong("keys must be text; put quotes around this one", key_node)
            key = key_node.value
            if key in found:
                raise wrong(f"key `{key}` stands here twice", key_node)
            places[*path, key] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            found[key] = _plain(value_node, (*path, key), places, source, yaml)
        return found
    if isinstance(node, SequenceNode):
        return [_plain(child, (*path, index), places, source, yaml) for index, child in enumerate(node.value)]
    return _scalar(node, wrong)


def _scalar(node: Node, wrong: Any) -> Any:
    kind, text = str(node.tag).rsplit(":", 1)[-1], node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return _integer(text, wrong)
    if kind == "float":
        number = float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
        if not isfinite(number):
            raise wrong("NaN and infinity are not numbers here")
        return number
    return text


def _integer(text: str, wrong: Any) -> int:
    plain = text.replace("_", "").lower()
    sign = -1 if plain.startswith("-") else 1
    digits = plain.lstrip("+-")
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0o") else 10
    if len(digits) > 20 or abs(number := sign * int(digits[2:] if base != 10 else digits, base)) > MAX_INTEGER:
        raise wrong("an integer is beyond 2^53 - 1")
    return number
