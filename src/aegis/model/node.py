"""Walk a parsed document so that every complaint names the place, what was found, what was expected, and the nearest word."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from aegis.errors import DocumentError
from aegis.model.document import Document

MAX_INTEGER = 2**53 - 1


class Node:
    """One value of a document together with where it stands."""

    __slots__ = ("document", "path", "value")

    def __init__(self, document: Document, path: tuple[str | int, ...] = (), value: Any = None) -> None:
        self.document = document
        self.path = path
        self.value = value if path else document.value

    def fail(self, message: str) -> DocumentError:
        """The error to raise about this place."""
        return self.document.error(self.path, message)

    def at(self, key: str | int) -> "Node":
        """The child at `key`, which must exist."""
        return Node(self.document, (*self.path, key), self.value[key])

    def place(self) -> str:
        """`file:line:column` of this value."""
        line, column = self.document.place(self.path)
        return f"{self.document.source}:{line}:{column}"

    def fields(self, allowed: Collection[str], required: Collection[str] = ()) -> dict[str, "Node"]:
        """The members of a mapping whose keys come from a closed set."""
        found = self.members()
        for key, child in found.items():
            if key not in allowed:
                raise child.fail(f"unknown key `{key}`; expected {choices(allowed)}{nearest(key, allowed)}")
        for key in required:
            if key not in found:
                raise self.fail(f"`{key}` is missing here; expected keys: {', '.join(sorted(required))}")
        return found

    def members(self) -> dict[str, "Node"]:
        """The members of a mapping whose keys are free."""
        if not isinstance(self.value, Mapping):
            raise self.fail(f"expected a mapping, found {named(self.value)}")
        return {key: self.at(key) for key in self.value}

    def items(self, *, empty: bool = False) -> list["Node"]:
        """The elements of a list."""
        if not isinstance(self.value, list):
            raise self.fail(f"expected a list, found {named(self.value)}")
        if not self.value and not empty:
            raise self.fail("expected at least one element, found an empty list")
        return [self.at(index) for index in range(len(self.value))]

    def text(self) -> str:
        """A string that is not empty."""
        if not isinstance(self.value, str):
            raise self.fail(f"expected a string, found {named(self.value)}{_quote(self.value)}")
        if not self.value.strip():
            raise self.fail("expected a string, found an empty one")
        return self.value

    def word(self, allowed: Collection[str]) -> str:
        """One of a closed set of words."""
        found = self.text()
        if found not in allowed:
            near = nearest(found, allowed) if len(allowed) > 1 else ""  # the only word has just been said
            raise self.fail(f"found `{found}`; expected {choices(allowed)}{near}")
        return found

    def flag(self) -> bool:
        """A boolean."""
        if type(self.value) is not bool:
            raise self.fail(f"expected true or false, found {named(self.value)}")
        return self.value

    def integer(self, low: int, high: int = MAX_INTEGER) -> int:
        """An integer in a closed range."""
        if type(self.value) is not int or not low <= self.value <= high:
            raise self.fail(f"expected an integer from {low} to {high}, found {_amount(self.value)}")
        return self.value


def named(value: Any) -> str:
    """The type of a value in the words of the document format."""
    if value is None:
        return "nothing"
    for kinds, words in ((bool, "a boolean"), (str, "a string"), (int, "an integer"), (float, "a number"), (list, "a list")):
        if isinstance(value, kinds):
            return words
    return "a mapping"


def choices(allowed: Collection[str]) -> str:
    """What may stand here, for an error message."""
    if len(allowed) == 1:
        return f"`{next(iter(allowed))}`"
    return "one of " + ", ".join(f"`{word}`" for word in sorted(allowed)) if allowed else "nothing here"


def nearest(word: str, allowed: Collection[str]) -> str:
    """`; did you mean ...?` when something near exists."""
    close = get_close_matches(word, list(allowed), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _amount(value: Any) -> str:
    """An integer that is out of range is told as it is."""
    return str(value) if type(value) is int else named(value)


def _quote(value: Any) -> str:
    """YAML reads some words as other types: say how to write the string."""
    return " (put it in quotes)" if isinstance(value, bool | int | float) else ""
