"""Events as they may be shown on a terminal: what came from outside moves no cursor and turns no line around."""

import unicodedata
from typing import Any

_HARMFUL = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def harmless(value: Any) -> Any:
    """`value` with every control, format and unassigned character of its texts written out."""
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else "".join(map(_written, value))
    if isinstance(value, dict):
        return {harmless(name): harmless(each) for name, each in value.items()}
    if isinstance(value, list):
        return [harmless(each) for each in value]
    return value


def _written(char: str) -> str:
    return f"\\u{ord(char):04x}" if unicodedata.category(char) in _HARMFUL else char
