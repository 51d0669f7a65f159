"""Versions `X.Y.Z` and ranges of them. No `v`, no leading zeros, no pre-release: those order differently for different readers."""

from aegis.policy.ir import Comparator

SIGNS = (">=", "<=", ">", "<", "=")
MAX_DIGITS = 9


def parse_version(text: object) -> tuple[int, int, int] | None:
    """The three numbers, or `None` when `text` is not a plain version."""
    if type(text) is not str or not text.isascii():
        return None
    parts = text.split(".")
    if len(parts) != 3 or not all(_number(part) for part in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2])


def parse_range(text: str) -> tuple[Comparator, ...] | None:
    """The comparators of a range such as `>=1.2.0 <2.0.0`, all of which must hold; `None` when it is not one."""
    found = []
    for word in text.split(" "):
        sign = next((sign for sign in SIGNS if word.startswith(sign)), None)
        version = parse_version(word[len(sign) :]) if sign else None
        if sign is None or version is None:
            return None
        found.append(Comparator(sign, version))
    return tuple(found)


def within(version: tuple[int, int, int], wanted: tuple[Comparator, ...]) -> bool:
    """Whether `version` meets every comparator."""
    return all(_meets(version, each) for each in wanted)


def _meets(version: tuple[int, int, int], wanted: Comparator) -> bool:
    if wanted.sign == "=":
        return version == wanted.version
    if wanted.sign == ">=":
        return version >= wanted.version
    if wanted.sign == ">":
        return version > wanted.version
    return version <= wanted.version if wanted.sign == "<=" else version < wanted.version


def _number(text: str) -> bool:
    return text.isdigit() and len(text) <= MAX_DIGITS and (text == "0" or text[0] != "0")
