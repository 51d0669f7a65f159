"""YAML documents with places: what is wrong in a file is said with file, line and column.

The accepted language is YAML 1.2 without the parts that let two readers see two things: no duplicate keys, no anchors and
aliases, no tags, no directives, one document, text keys, bounded size and depth. What an unquoted word means follows the core
schema of YAML 1.2 to the letter: `on`, `yes`, `12:30` and `1_000` are text.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner

from aegis.crypto.ijson import MAX_INTEGER
from aegis.errors import DocumentError

MAX_SIZE_BYTES = 1_048_576
MAX_DEPTH = 32
_REMEMBERED_SIZE = 32_768
Path = tuple[str | int, ...]

# YAML 1.2.2, section 10.3.2
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


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
        text: The document.
        source: Name of the file, for messages.

    Raises:
        DocumentError: With the place and what was expected.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_SIZE_BYTES:
        raise DocumentError(f"{source}:1:1: larger than {MAX_SIZE_BYTES} bytes")
    with _told(text, source):
        node = _composed_once(text) if len(text) <= _REMEMBERED_SIZE else _composed(text)
    if node is None:
        raise DocumentError(f"{source}:1:1: the document is empty")
    places: dict[Path, tuple[int, int]] = {}
    return Document(source, _plain(node, (), places, source), places)


@contextmanager
def _told(text: str, source: str) -> Iterator[None]:
    """Put what the parser says into our words, with the place."""
    try:
        yield
    except _TrickError as error:
        raise _wrong(source, error.problem_mark, error.problem) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        found = error.problem or error.context or ""
        raise DocumentError(f"{source}:{place}: not valid YAML: {found}{_advice(found)}") from None
    except ReaderError as error:
        before = text[: error.position]
        place = f"{before.count(chr(10)) + 1}:{error.position - before.rfind(chr(10))}"
        raise DocumentError(f"{source}:{place}: not valid YAML: {error.reason}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise DocumentError(f"{source}:1:1: not valid YAML: {type(error).__name__}") from None


def _advice(found: str) -> str:
    """What usually is behind the words of the parser; they alone send many readers astray."""
    return next((f"; {advice}" for words, advice in _ADVICE if words in found), "")


def _composed(text: str) -> Node | None:
    loader = YAML(typ="safe", pure=True)
    loader.Scanner = _WaryScanner
    found: Node | None = loader.compose(text)
    return found


# Nobody changes a node, and the same text is read many times: at the start, at each look at a tenant's files, in every tenant that
# began as a copy of another. A text that is refused is not remembered.
_composed_once = lru_cache(maxsize=128)(_composed)


class _TrickError(MarkedYAMLError):
    """What the language does not have, though YAML does."""


class _WaryScanner(Scanner):
    """Refuses what the parser would resolve before we could see it, and depth before it costs anything."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader=loader)
        self._starts = self._depth = 0

    def get_token(self) -> Any:
        """The next token, which the parser gets only here."""
        token = super().get_token()
        kind = type(token).__name__
        self._starts += kind == "DocumentStartToken"
        self._depth += _NESTS.get(kind, 0)
        what = "a second document" if self._starts > 1 else _REFUSED.get(kind)
        if what:
            raise _TrickError(problem=f"{what} is not accepted here{_QUOTES.get(kind, '')}", problem_mark=token.start_mark)
        if self._depth > MAX_DEPTH:
            raise _TrickError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=token.start_mark)
        return token


def _wrong(source: str, mark: Any, message: str) -> DocumentError:
    return DocumentError(f"{source}:{mark.line + 1}:{mark.column + 1}: {message}")


_REFUSED = {
    "AnchorToken": "an anchor",
    "AliasToken": "an alias",
    "TagToken": "a tag",
    "DirectiveToken": "a directive",
}
_QUOTES = {
    "AnchorToken": "; a text that begins with `&` stands in quotes",
    "AliasToken": "; a text that begins with `*` stands in quotes",
    "TagToken": "; a text that begins with `!` stands in quotes",
}
_ADVICE = (
    ("mapping values are not allowed", "a text that holds `: ` stands in quotes"),
    ("but got '{'", "a text that holds `{` or `}` stands in quotes here"),
    ("but got '['", "a text that holds `[` or `]` stands in quotes here"),
    ("'\\t'", "lines are set in by spaces"),
    ("'@'", "a text that begins with it stands in quotes"),
    ("'`'", "a text that begins with it stands in quotes"),
    ("'%'", "a text that begins with it stands in quotes"),
)
_NESTS = {
    **dict.fromkeys(("BlockSequenceStartToken", "BlockMappingStartToken", "FlowSequenceStartToken", "FlowMappingStartToken"), 1),
    **dict.fromkeys(("BlockEndToken", "FlowSequenceEndToken", "FlowMappingEndToken"), -1),
}


def _plain(node: Node, path: Path, places: dict[Path, tuple[int, int]], source: str) -> Any:
    mark = node.start_mark
    places.setdefault(path, (mark.line + 1, mark.column + 1))
    if isinstance(node, MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(key_node, source)
            if key in found:
                raise _wrong(source, key_node.start_mark, f"key `{key}` stands here twice")
            places[*path, key] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            found[key] = _plain(value_node, (*path, key), places, source)
        return found
    if isinstance(node, SequenceNode):
        return [_plain(child, (*path, index), places, source) for index, child in enumerate(node.value)]
    assert isinstance(node, ScalarNode)
    return _scalar(node, lambda message: _wrong(source, mark, message))


def _key(node: Node, source: str) -> str:
    def wrong(message: str) -> DocumentError:
        return _wrong(source, node.start_mark, message)

    if not isinstance(node, ScalarNode):
        raise wrong("keys must be text; put quotes around this one")
    key = _scalar(node, wrong)
    if not isinstance(key, str) or (key == "<<" and not node.style):  # an unquoted `<<` merges in YAML 1.1
        raise wrong("keys must be text; put quotes around this one")
    return key


def _scalar(node: ScalarNode, wrong: Callable[[str], DocumentError]) -> Any:
    text: str = node.value
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise wrong("holds a lone surrogate, which is not a character") from None
    if node.style:  # in quotes, or a block: text whatever it looks like
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text in ("true", "True", "TRUE")
    if _INT.fullmatch(text):
        return _integer(text, wrong)
    if _NO_NUMBER.fullmatch(text):
        raise wrong("NaN and infinity are not numbers here")
    return _number(text, wrong) if _FLOAT.fullmatch(text) else text


def _integer(text: str, wrong: Callable[[str], DocumentError]) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    if len(text) > 20 or abs(number := int(text if base == 10 else text[2:], base)) > MAX_INTEGER:
        raise wrong("an integer is beyond 2^53 - 1")
    return number


def _number(text: str, wrong: Callable[[str], DocumentError]) -> float:
    number = float(text)
    if abs(number) > MAX_INTEGER:
        raise wrong("a number is beyond 2^53 - 1")
    return number
