"""What the options of a search say: texts to times, and to the filter."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from aegis.errors import ConfigError
from aegis.journal.terms import FIELDS, Filter

_AGO = re.compile(r"(\d{1,6})\s*(s|m|min|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def filter_of(given: Mapping[str, str | int | None], now: datetime) -> Filter:
    """The filter of these options; those that were not given are `None`.

    Raises:
        ConfigError: A value is one that no event can have.
    """
    return Filter(
        terms=tuple((field, _text(field, str(given[field]))) for field in FIELDS if given.get(field) is not None),
        request=_text("request", str(given["request"])) if given.get("request") is not None else "",
        trace=_text("trace", str(given["trace"])).lower() if given.get("trace") is not None else "",
        since=moment(given["since"], now, "since"),
        until=moment(given["until"], now, "until"),
        cost_from=_number(given["cost_from"]),
        cost_to=_number(given["cost_to"]),
    )


def moment(text: str | int | None, now: datetime, option: str) -> datetime | None:
    """A time: so long ago (`90s`, `20m`, `2h`, `3d`, `1w`), a date, or a date and a time (UTC unless it says otherwise).

    Raises:
        ConfigError: It is none of these.
    """
    if text is None:
        return None
    if ago := _AGO.fullmatch(str(text).strip()):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(str(text).strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"--{option}: expected so long ago (`2h`, `3d`) or a time (`2026-11-21T08:45`, `2026-11-21`)") from None


def _text(field: str, value: str) -> str:
    if not value:
        raise ConfigError(f"--{field}: expected a value; leave the option away to find events without one too")
    if not value.isprintable():
        raise ConfigError(f"--{field}: expected printable characters: nothing else can stand in an event")
    return value


def _number(value: str | int | None) -> int | None:
    return None if value is None else int(value)
