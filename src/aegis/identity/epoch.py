"""What was taken back: everything issued to somebody before an instant (an epoch), or single tokens, whatever their `exp` says.

Both reach down: what was handed on by somebody whose epoch ended, or under a token that was taken back, is worth nothing either.
The reason says which it was: `revoked` for the thing itself, `ancestor_revoked` for what hangs on it.
"""

from collections.abc import Collection, Iterable, Mapping
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

    def check(self, tenant: str, name: str, issued_at: datetime, above: Iterable[str] = ()) -> None:
        """Refuse what was issued to `name`, under the agents `above`, before the present epoch of the tenant or of any of them.

        Raises:
            IdentityError: `revoked`, `ancestor_revoked`.
        """
        if not self._starts:
            return
        if self._ended(tenant, EVERYBODY, issued_at) or self._ended(tenant, name, issued_at):
            raise IdentityError("revoked")
        if any(self._ended(tenant, ancestor, issued_at) for ancestor in above):
            raise IdentityError("ancestor_revoked")

    def _ended(self, tenant: str, name: str, issued_at: datetime) -> bool:
        return issued_at < self._starts.get((tenant, name), LONG_AGO)


class Revoked:
    """An immutable set of tokens that were taken back, by tenant and `jti`."""

    def __init__(self, tokens: Iterable[tuple[str, str]] = ()) -> None:
        self._tokens = frozenset(tokens)

    def check(self, tenant: str, token_id: str, ancestors: Collection[str] = ()) -> None:
        """Refuse a token that was taken back itself, or that hangs on one (`ancestors` are their ids).

        Raises:
            IdentityError: `revoked`, `ancestor_revoked`.
        """
        if not self._tokens:
            return
        if (tenant, token_id) in self._tokens:
            raise IdentityError("revoked")
        if any((tenant, ancestor) in self._tokens for ancestor in ancestors):
            raise IdentityError("ancestor_revoked")
