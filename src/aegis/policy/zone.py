"""Local time of day and weekday: the two readings of the clock that rules may use."""

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aegis.policy.operands import WEEKDAYS


def is_zone(name: str) -> bool:
    """Whether the time zone data of this machine knows `name`."""
    try:
        zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The zone; UTC needs no time zone data."""
    return UTC if name == "UTC" else ZoneInfo(name)


def local(now: datetime, at: tzinfo) -> tuple[str, str]:
    """(`HH:MM`, weekday) of `now` in a zone."""
    there = now.astimezone(at)
    return f"{there.hour:02}:{there.minute:02}", WEEKDAYS[there.weekday()]
