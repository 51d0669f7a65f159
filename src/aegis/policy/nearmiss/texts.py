"""Texts that a pattern matches.

A small reader of the part of RE2 that the language admits (see `patterns`). It only proposes: every text is tried against the real
engine before it is given out, so a construct that is read wrongly yields fewer texts, never a wrong one.
"""

import string
from collections.abc import Callable

from aegis.policy.patterns import search

VARIANTS = 4
MAX_REPEAT = 400
_PREFERRED = string.ascii_lowercase + string.digits + string.ascii_uppercase + "-_. /@:=,;+!#%&'\"<>~`*?()[]{}|\\^$"
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_POSIX = {
    "alpha": string.ascii_letters, "digit": string.digits, "alnum": string.ascii_letters + string.digits,
    "lower": string.ascii_lowercase, "upper": string.ascii_uppercase, "xdigit": string.hexdigits,
    "space": " \t\n\r\f\v", "punct": string.punctuation, "word": string.ascii_letters + string.digits + "_",
}  # fmt: skip
Make = Callable[[int], str]
"""A text for a variant: later variants repeat more and choose other branches."""


def specimens(pattern: str) -> tuple[str, ...]:
    """Different texts that `pattern` matches, short ones first; none when the reader finds none."""
    try:
        make = _Reader(pattern).alternatives()
    except (IndexError, ValueError):
        return ()
    found = search(pattern)
    texts = dict.fromkeys(make(variant) for variant in range(VARIANTS))
    return tuple(sorted((text for text in texts if found(text)), key=len))


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def alternatives(self) -> Make:
        """Branches between `|`, up to the end or a closing parenthesis."""
        branches = [self._sequence()]
        while self._sees("|"):
            branches.append(self._sequence())
        return lambda variant: branches[variant % len(branches)](variant)

    def _sequence(self) -> Make:
        parts: list[Make] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated(self._atom()))
        return lambda variant: "".join(part(variant) for part in parts)

    def _atom(self) -> Make:
        char = self._take()
        if char == "(":
            self._sees("?:")
            inner = self.alternatives()
            self._at += 1  # the closing parenthesis
            return inner
        if char == "[":
            return self._class()
        if char in "^$":
            return lambda _: ""
        if char == ".":
            return lambda variant: "abc"[variant % 3]
        literal = self._escaped() if char == "\\" else char
        return lambda _: literal

    def _repeated(self, atom: Make) -> Make:
        low, high = 1, 1
        if self._sees("?"):
            low, high = 0, 1
        elif self._sees("*"):
            low, high = 0, MAX_REPEAT
        elif self._sees("+"):
            low, high = 1, MAX_REPEAT
        elif self._sees("{"):
            low, high = self._bounds()
        else:
            return atom
        self._sees("?")  # lazy repetition matches the same texts
        return lambda variant: "".join(atom(variant) for _ in range(min(high, low + variant)))

    def _bounds(self) -> tuple[int, int]:
        end = self._text.index("}", self._at)
        low, comma, high = self._text[self._at : end].partition(",")
        self._at = end + 1
        return int(low), int(high or MAX_REPEAT) if comma else int(low)

    def _class(self) -> Make:
        negated, members = self._sees("^"), ""
        first = True
        while first or self._text[self._at] != "]":
            members += self._member()
            first = False
        self._at += 1
        fitting = [char for char in _PREFERRED if (char in members) is not negated] or [*members]
        return lambda variant: fitting[variant % len(fitting)]

    def _member(self) -> str:
        if self._sees("[:"):
            end = self._text.index(":]", self._at)
            name = self._text[self._at : end]
            self._at = end + 2
            return _POSIX.get(name, "")
        low = self._one()
        if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
            self._at += 1
            high = self._one()
            return "".join(map(chr, range(ord(low), min(ord(high), ord(low) + 200) + 1)))
        return low

    def _one(self) -> str:
        char = self._take()
        return self._escaped() if char == "\\" else char

    def _escaped(self) -> str:
        char = self._take()
        return _CONTROL.get(char, char)

    def _take(self) -> str:
        char = self._text[self._at]
        self._at += 1
        return char

    def _sees(self, mark: str) -> bool:
        """Whether `mark` comes next; then it is read."""
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True
