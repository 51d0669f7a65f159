"""Times as databases hold them: whole microseconds since 1970 in UTC, the same in every dialect."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(time: datetime) -> int:
    """Microseconds since the epoch; a time without a zone is read as local time, as `model.event.instant` does."""
    return (time.astimezone(UTC) - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC time."""
    return _EPOCH + timedelta(microseconds=micros)
