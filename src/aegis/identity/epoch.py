"""Epochs: what was issued to somebody before an instant is worth nothing any more, whatever its `exp` says."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from aegis.errors import IdentityError

EVERYBODY = ""
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Epochs:
    """An immutable table: for a tenant, or one agent or person of it, the instant at which the present epoch began."""

    def __init__(self, starts: Mapping[tuple[str, str], datetime] | None = None) -> None:
        self._starts: Mapping[tuple[str, str], datetime] = MappingProxyType(dict(starts or {}))

    def begin(self, tenant: str, who: str, at: datetime) -> "Epochs":
        """The table in which a new epoch of `who` (`EVERYBODY`: the whole tenant) began at `at`; an epoch never moves back."""
        return Epochs({**self._starts, (tenant, who): max(at, self._starts.get((tenant, who), LONG_AGO))})

    def check(self, tenant: str, names: Iterable[str], issued_at: datetime) -> None:
        """Refuse what was issued before the present epoch of the tenant or of any of `names`.

        Raises:
            IdentityError: `revoked`.
        """
        if not self._starts:
            return
        if any(issued_at < self._starts.get((tenant, name), LONG_AGO) for name in (EVERYBODY, *names)):
            raise IdentityError("revoked")
