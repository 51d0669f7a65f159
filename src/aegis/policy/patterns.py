r"""Regular expressions that mean the same to every engine that will ever read them.

Patterns are RE2, searched (not matched at the start). What RE2 dialects read differently is refused when the set is loaded:
classes such as `\d`, `\w`, `\s`, `\pL`, the assertion `\b`, `\C`, flags and look-around. Write `[0-9]` instead.
"""

from collections.abc import Callable, Iterator
from typing import Any

import re2

MAX_CHARACTERS = 1000
_PUNCTUATION = frozenset("\\.+*?()|[]{}^$/-\"'`~!@#%&=:;,<> _")
_CONTROL = frozenset("nrtfv")
_QUANTIFIERS = frozenset("?*+{")


def complaint(pattern: str) -> str:
    """What is wrong with `pattern`; empty when nothing is."""
    if len(pattern) > MAX_CHARACTERS:
        return f"the pattern has more than {MAX_CHARACTERS} characters"
    for offset, piece, _, _ in _pieces(pattern):
        if piece == "(?":
            return f"`(?` at character {offset + 1}: flags, names and look-around are not portable; use `(?:...)` or `(...)`"
        if piece[0] == "\\" and (len(piece) == 1 or piece[1] not in _PUNCTUATION | _CONTROL):
            return f"`{piece}` at character {offset + 1} is not portable; write the characters, such as `[0-9]`"
    try:
        _compile(pattern)
    except (re2.error, UnicodeEncodeError) as error:
        return f"not a valid RE2 pattern{_because(error)}"
    return ""


def anchored(pattern: str) -> bool:
    """Whether every match of `pattern` spans the whole text: `^...$` without an alternative at the top.

    A quantifier right behind `^` would make the anchor itself optional, so that is none.
    """
    pieces = [(piece, depth, inside) for _, piece, depth, inside in _pieces(pattern)]
    if not pieces or pieces[0] != ("^", 0, False) or pieces[-1] != ("$", 0, False):
        return False
    return ("|", 0, False) not in pieces and pieces[1][0] not in _QUANTIFIERS


def search(pattern: str) -> Callable[[str], bool]:
    """A function that says whether `pattern` matches anywhere in a text."""
    find = _compile(pattern).search
    return lambda text: find(text.encode()) is not None


def matches_empty(pattern: str) -> bool:
    """Whether `pattern` matches the empty text, so that replacing its matches would have no end."""
    return search(pattern)("")


def cover(pattern: str, text: str, mark: str) -> str:
    """`text` with every character of every match replaced by `mark` (one character); all of it if the pattern is broken."""
    try:
        covered: str = _compile(pattern).sub(lambda match: mark * len(match.group()), text)
    except (re2.error, UnicodeEncodeError):
        return mark * len(text)
    return covered


def _because(error: Exception) -> str:
    """What RE2 says about a pattern; it quotes from the pattern only."""
    said = error.args[0] if isinstance(error, re2.error) and error.args else ""
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return f": {words}" if words else ""


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _pieces(pattern: str) -> Iterator[tuple[int, str, int, bool]]:
    """(offset, piece, group depth, inside a character class) for every character, escape and group opening."""
    offset, depth, inside = 0, 0, False
    while offset < len(pattern):
        piece = _piece(pattern, offset, inside=inside)
        if piece == ")" and not inside:
            depth -= 1
        yield offset, piece, depth, inside
        if inside:
            inside = piece != "]"
        elif piece == "[":
            inside = True
            offset += _class_opening(pattern, offset)
        elif piece in ("(", "(?:", "(?"):
            depth += 1
        offset += len(piece)


def _piece(pattern: str, offset: int, *, inside: bool) -> str:
    if pattern[offset] == "\\":
        return pattern[offset : offset + 2]
    if inside:
        posix = pattern.find(":]", offset) if pattern.startswith("[:", offset) else -1
        return pattern[offset : posix + 2] if posix > 0 else pattern[offset]
    if pattern.startswith("(?", offset):
        return "(?:" if pattern.startswith("(?:", offset) else "(?"
    return pattern[offset]


def _class_opening(pattern: str, offset: int) -> int:
    """How many characters after `[` are taken by `^` and by a `]` that stands first and is therefore literal."""
    taken = int(pattern.startswith("^", offset + 1))
    return taken + int(pattern.startswith("]", offset + 1 + taken))
