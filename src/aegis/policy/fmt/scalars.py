"""How one value is written: plain where no reader takes it for anything but this text, in double quotes otherwise."""

import re
from functools import lru_cache
from typing import Any

from msgspec import json

_PLAIN = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9_./ @+-]*[A-Za-z0-9_./@+-])?|[0-9]+[smhd]")
_OTHERWISE = re.compile(r"(?:null|true|false|yes|no|on|off|y|n|~)", re.IGNORECASE)
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")


def scalar(value: Any) -> str:
    """A value that is neither a mapping nor a list."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return json.encode(value).decode() if "e" not in repr(value) else repr(value)
    return _text(value)


@lru_cache(maxsize=4096)
def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and not _OTHERWISE.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_UNSAFE.sub(_escape, escaped)}"'


def _escape(found: re.Match[str]) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(found.group(), f"\\u{ord(found.group()):04x}")
