"""Authority as it travels: the members of a token's `authz` claim, and of a request for less.

    [{"tool": "payments.transfer", "tool_digest": "sha256:...", "calls": 1,
      "limits": {"amount_minor": {"max": 500000}, "currency": {"in": ["USD"]}}}]

Everything is a closed set with exact types: a limit of a kind that is not known is refused and never ignored.
"""

from typing import Any

from aegis.errors import IdentityError
from aegis.model.authority import Grant, Limit, regex_complaint

MAX_GRANTS, MAX_LIMITS, MAX_AMONG, MAX_TEXT, MAX_PATTERNS = 64, 32, 64, 256, 16
MAX_CALLS = 1000
LARGEST = 2**53 - 1
_GRANT = {"tool", "tool_digest", "limits", "calls"}
_LIMIT = {"max", "min", "in", "regex"}


def written(grants: tuple[Grant, ...]) -> list[dict[str, Any]]:
    """Grants as JSON."""
    return [_written(grant) for grant in grants]


def read(value: Any) -> tuple[Grant, ...]:
    """Grants out of JSON.

    Raises:
        IdentityError: `malformed`, with the place.
    """
    _expect(isinstance(value, list) and len(value) <= MAX_GRANTS, f"expected a list of at most {MAX_GRANTS} tools")
    _expect(_patterns(value) <= MAX_PATTERNS, f"expected at most {MAX_PATTERNS} limits with `regex`")
    grants = tuple(_grant(each, f"{index}") for index, each in enumerate(value))
    _expect(len({grant.tool for grant in grants}) == len(grants), "a tool stands in the list twice")
    return grants


def _patterns(value: list[Any]) -> int:
    """How many patterns the list holds; each costs milliseconds, so they are counted before any is looked at."""
    limits = [each.get("limits") for each in value if isinstance(each, dict)]
    return sum("regex" in limit for each in limits if isinstance(each, dict) for limit in each.values() if isinstance(limit, dict))


def _written(grant: Grant) -> dict[str, Any]:
    found: dict[str, Any] = {"tool": grant.tool}
    if grant.digest:
        found["tool_digest"] = grant.digest
    if grant.limits:
        found["limits"] = {path: limit_words(limit) for path, limit in grant.limits}
    if grant.calls is not None:
        found["calls"] = grant.calls
    return found


def limit_words(limit: Limit) -> dict[str, Any]:
    """A limit as it is written."""
    named = {
        "max": limit.max,
        "min": limit.min,
        "in": None if limit.among is None else list(limit.among),
        "regex": limit.regex or None,
    }
    return {name: value for name, value in named.items() if value is not None}


def _grant(value: Any, place: str) -> Grant:
    found = _object(value, _GRANT, place)
    limits = _object(found.get("limits", {}), None, f"{place}/limits")
    _expect(len(limits) <= MAX_LIMITS, f"{place}/limits: expected at most {MAX_LIMITS} arguments")
    return Grant(
        tool=_text(found.get("tool"), f"{place}/tool"),
        digest=_text(found["tool_digest"], f"{place}/tool_digest") if "tool_digest" in found else "",
        limits=tuple(
            sorted((_text(path, f"{place}/limits"), _limit(each, f"{place}/limits/{path}")) for path, each in limits.items())
        ),
        calls=_whole(found["calls"], f"{place}/calls", 0, MAX_CALLS) if "calls" in found else None,
    )


def _limit(value: Any, place: str) -> Limit:
    found = _object(value, _LIMIT, place)
    _expect(bool(found), f"{place}: expected `max`, `min`, `in` or `regex`")
    among = found.get("in")
    if "in" in found:
        _expect(isinstance(among, list) and len(among) <= MAX_AMONG, f"{place}/in: expected a list of at most {MAX_AMONG} values")
        among = tuple(_scalar(each, f"{place}/in") for each in found["in"])
    regex = _text(found["regex"], f"{place}/regex", 512) if "regex" in found else ""
    _expect(not regex_complaint(regex), f"{place}/regex: {regex_complaint(regex)}")
    return Limit(
        max=_whole(found["max"], f"{place}/max", -LARGEST, LARGEST) if "max" in found else None,
        min=_whole(found["min"], f"{place}/min", -LARGEST, LARGEST) if "min" in found else None,
        among=among,
        regex=regex,
    )


def _object(value: Any, known: set[str] | None, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise IdentityError("malformed", f"{place}: expected an object")
    if known is not None and not value.keys() <= known:
        raise IdentityError("malformed", f"{place}: expected only {', '.join(f'`{name}`' for name in sorted(known))}")
    return value


def _text(value: Any, place: str, most: int = MAX_TEXT) -> str:
    good = isinstance(value, str) and 0 < len(value) <= most and value.isprintable() and (most > MAX_TEXT or " " not in value)
    _expect(good, f"{place}: expected a text of at most {most} visible characters")
    return str(value)


def _scalar(value: Any, place: str) -> str | int | bool:
    _expect(
        type(value) in (str, int, bool) and not (type(value) is str and len(value) > MAX_TEXT),
        f"{place}: expected text, integer or boolean",
    )
    _expect(type(value) is not int or abs(value) <= LARGEST, f"{place}: the integer is too large")
    found: str | int | bool = value
    return found


def _whole(value: Any, place: str, low: int, high: int) -> int:
    _expect(type(value) is int and low <= value <= high, f"{place}: expected an integer from {low} to {high}")
    return int(value)


def _expect(holds: bool, detail: str) -> None:
    if not holds:
        raise IdentityError("malformed", detail)
