"""JSON Pointers as redactions use them: RFC 6901, and `*` for every element of an array or member of an object."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

EVERY = "*"


class NotAPointer(ValueError):  # noqa: N818 - it never leaves this package: readers of documents add the place
    """The text is not a JSON Pointer; the message says why."""


@lru_cache(maxsize=4096)
def tokens(path: str) -> tuple[str, ...]:
    """The unescaped reference tokens of `path`."""
    if path and not path.startswith("/"):
        raise NotAPointer("it does not start with `/`")
    return tuple(_unescaped(token) for token in path.split("/")[1:])


def present(value: Any, parts: Sequence[str]) -> bool:
    """Whether something other than null stands at a place that `parts` name."""
    if not parts:
        return value is not None
    return any(present(child, parts[1:]) for child in children(value, parts[0]))


def children(value: Any, token: str) -> list[Any]:
    """What stands one step further."""
    if isinstance(value, dict):
        return list(value.values()) if token == EVERY else [value[token]] if token in value else []
    if isinstance(value, list):
        return [item for index, item in enumerate(value) if token in (EVERY, str(index))]
    return []


def _unescaped(token: str) -> str:
    if "~" in token.replace("~0", "").replace("~1", ""):
        raise NotAPointer("`~` must be written `~0`, and `/` in a name `~1`")
    return token.replace("~1", "/").replace("~0", "~")
