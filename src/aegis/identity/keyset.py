"""Public keys by purpose: a signature by a key of another class, tenant or owner is worth nothing."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from msgspec import Struct

from aegis.crypto.jwk import PublicKey
from aegis.errors import ConfigError, IdentityError

CLASSES = ("sts", "override", "human", "workload", "log", "publisher")


class KeyEntry(Struct, frozen=True, kw_only=True):
    """A public key, what it is for, and how long. `owner` is the person or agent of classes that have one."""

    key: PublicKey
    key_class: str
    tenant: str
    owner: str
    not_before: datetime
    not_after: datetime | None = None

    @property
    def kid(self) -> str:
        """The key's id."""
        return self.key.kid


class KeySet:
    """An immutable set of public keys, each for one purpose.

    Raises:
        ConfigError: One key stands in the set twice: it would have two purposes, tenants or owners.
    """

    def __init__(self, entries: Iterable[KeyEntry]) -> None:
        found: dict[str, KeyEntry] = {}
        for entry in entries:
            if entry.kid in found:
                raise ConfigError(f"key `{entry.kid}` is listed twice; a key has one class, one tenant and one owner")
            if entry.key_class not in CLASSES:
                raise ConfigError(f"key `{entry.kid}` has unknown class `{entry.key_class}`; expected one of {', '.join(CLASSES)}")
            found[entry.kid] = entry
        self._by_kid: Mapping[str, KeyEntry] = MappingProxyType(found)

    def entries(self) -> tuple[KeyEntry, ...]:
        """Every key, by class, tenant, owner and age."""
        return tuple(sorted(self._by_kid.values(), key=lambda e: (e.key_class, e.tenant, e.owner, e.not_before)))

    def has(self, key_class: str, tenant: str) -> bool:
        """Whether the tenant has a key of this class."""
        return any((entry.key_class, entry.tenant) == (key_class, tenant) for entry in self._by_kid.values())

    def find(self, kid: str, key_class: str, now: datetime) -> KeyEntry:
        """The key of this id, if it is of this class and in use at `now`. Whose tenant it is, the caller compares.

        Raises:
            IdentityError: `unknown_kid`, `wrong_key_class`, `key_retired`, `key_not_yet`.
        """
        entry = self._by_kid.get(kid)
        if entry is None:
            raise IdentityError("unknown_kid")
        if entry.key_class != key_class:
            raise IdentityError("wrong_key_class", f"expected a key of class `{key_class}`")
        if now < entry.not_before:
            raise IdentityError("key_not_yet")
        if entry.not_after is not None and now >= entry.not_after:
            raise IdentityError("key_retired")
        return entry
