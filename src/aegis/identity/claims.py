"""Read claims strictly: known names only, exact types, bounded text, whole seconds. Everything else is `malformed`."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aegis.errors import IdentityError

SKEW = timedelta(seconds=30)
MAX_NAME = 256
MAX_TEXT = 2048
MAX_NAMES = 128
_LAST_SECOND = 1 << 37  # the year 6325: far enough, and within what a `datetime` can hold


def expect(holds: bool, reason: str) -> None:
    """Raise `IdentityError` with `reason` unless `holds`."""
    if not holds:
        raise IdentityError(reason)


def instant(seconds: int) -> datetime:
    """The instant that a claim states in whole seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def check_times(not_before: datetime, expires_at: datetime, now: datetime) -> None:
    """Refuse a token outside its time.

    Clocks may differ by `SKEW` at its start. At its end nothing is added: a token that is dead for one reader is dead for all.

    Raises:
        IdentityError: `expired`, `not_yet_valid`.
    """
    expect(now < expires_at, "expired")
    expect(now >= not_before - SKEW, "not_yet_valid")


def span(now: datetime, ttl: timedelta, longest: timedelta) -> dict[str, int]:
    """`iat`, `nbf` and `exp` of a token that starts now.

    Raises:
        IdentityError: `too_long_lived`; a token lives at least a second and no longer than its type may.
    """
    if not timedelta(seconds=1) <= ttl <= longest:
        raise IdentityError("too_long_lived", f"a token of this type lives 1 to {longest.total_seconds():.0f} s")
    start = int(now.timestamp())
    return {"iat": start, "nbf": start, "exp": start + int(ttl.total_seconds())}


def spaced(words: tuple[str, ...]) -> str:
    """Identifiers in one text, as `Claims.words` reads them.

    Raises:
        IdentityError: `malformed`; a word with a space in it would be read as two, and open more than was meant.
    """
    return " ".join(_name(word) for word in words)


class Claims:
    """Claims of a token whose signature holds; each is read by name and type."""

    def __init__(self, claims: dict[str, Any], known: frozenset[str]) -> None:
        expect(claims.keys() <= known, "malformed")
        self._claims = claims

    def check_span(self, longest: timedelta, now: datetime) -> None:
        """Check `iat`, `nbf` and `exp` against each other, the longest life of the type, and the clock.

        Raises:
            IdentityError: `malformed`, `too_long_lived`, `expired`, `not_yet_valid`.
        """
        issued, start, end = (self.whole(name, _LAST_SECOND) for name in ("iat", "nbf", "exp"))
        expect(issued <= start < end, "malformed")
        expect(end - issued <= longest.total_seconds(), "too_long_lived")
        check_times(instant(start), instant(end), now)

    def has(self, name: str) -> bool:
        """Whether the claim is there."""
        return name in self._claims

    def raw(self, name: str) -> Any:
        """A claim as it is, for a reader of its own."""
        return self._claims.get(name)

    def objects(self, name: str, members: frozenset[str]) -> "tuple[Claims, ...]":
        """A list of objects with exactly these members; empty when the claim is absent."""
        value = self._claims.get(name, [])
        if not isinstance(value, list) or len(value) > MAX_NAMES or not all(isinstance(each, dict) for each in value):
            raise IdentityError("malformed")
        expect(all(each.keys() == members for each in value), "malformed")
        return tuple(Claims(each, members) for each in value)

    def whole(self, name: str, most: int) -> int:
        """An integer from 0 to `most`; `true`, `1.0` and `"1"` are none."""
        value = self._claims.get(name)
        if type(value) is not int or not 0 <= value <= most:
            raise IdentityError("malformed")
        return value

    def moment(self, name: str) -> datetime:
        """An instant."""
        return instant(self.whole(name, _LAST_SECOND))

    def name(self, name: str) -> str:
        """An identifier: visible characters without spaces, so that it can stand in a log line or a header as it is."""
        return _name(self._claims.get(name))

    def optional_name(self, name: str) -> str:
        """An identifier, or `""` when the claim is absent."""
        return _name(self._claims[name]) if name in self._claims else ""

    def names(self, name: str) -> tuple[str, ...]:
        """A list of identifiers, which may be empty."""
        value = self._claims.get(name)
        if not isinstance(value, list) or len(value) > MAX_NAMES:
            raise IdentityError("malformed")
        return tuple(_name(item) for item in value)

    def words(self, name: str) -> tuple[str, ...]:
        """Identifiers in one text with one space between two (RFC 6749, section 3.3); the empty text holds none."""
        text = self._claims.get(name)
        if not isinstance(text, str):
            raise IdentityError("malformed")
        found = text.split(" ") if text else []
        expect(len(found) <= MAX_NAMES, "malformed")
        return tuple(_name(word) for word in found)

    def text(self, name: str) -> str:
        """Free text, which may be empty."""
        value = self._claims.get(name)
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise IdentityError("malformed")
        return value

    def inner(self, name: str, members: frozenset[str]) -> "Claims | None":
        """A nested object with exactly these members; `None` when the claim is absent."""
        if name not in self._claims:
            return None
        value = self._claims[name]
        if not isinstance(value, dict) or value.keys() != members:
            raise IdentityError("malformed")
        return Claims(value, members)

    def numbers(self, name: str, members: frozenset[str], most: int) -> tuple[tuple[str, int], ...]:
        """A nested object of integers from 0 to `most` under some of these names, sorted; empty when the claim is absent."""
        value = self._claims.get(name, {})
        if not isinstance(value, dict) or not value.keys() <= members:
            raise IdentityError("malformed")
        inner = Claims(value, members)
        return tuple((key, inner.whole(key, most)) for key in sorted(value))

    def nested(self, name: str, link: str) -> tuple[str, ...]:
        """The identifiers under `name`, `link.name`, `link.link.name` ... of objects that nest by `link`, outermost first."""
        found = []
        value = self._claims.get(link)
        while True:
            if not isinstance(value, dict) or not value.keys() <= {name, link}:
                raise IdentityError("malformed")
            found.append(_name(value.get(name)))
            if link not in value:
                return tuple(found)
            value = value[link]


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable() or " " in value:
        raise IdentityError("malformed")
    return value
