"""Public keys by purpose: a signature by a key of another class, tenant or owner is worth nothing."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from msgspec import Struct

from aegis.crypto import es256
from aegis.crypto.jwk import PublicKey
from aegis.errors import ConfigError, IdentityError

CLASSES = ("sts", "override", "human", "workload", "log", "publisher", "bundle")
ES256_CLASSES = ("bundle",)
SETTLES = timedelta(
    seconds=2
)  # every process has seen a new key by then, though `not_before` lies up to a second before its making


class KeyEntry(Struct, frozen=True, kw_only=True):
    """A public key, what it is for, and how long. `owner` is the person or agent of classes that have one.

    Keys are Ed25519 but for those of class `bundle`, which Open Policy Agent must be able to verify.
    """

    key: PublicKey | es256.PublicKey
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
    """An immutable set of public keys, each for one purpose. Those that were `revoked` are still known, and good for nothing.

    Raises:
        ConfigError: One key stands in the set twice: it would have two purposes, tenants or owners. Or a class is unknown, or has
            keys of another algorithm.
    """

    def __init__(self, entries: Iterable[KeyEntry], revoked: frozenset[str] = frozenset()) -> None:
        found: dict[str, KeyEntry] = {}
        for entry in entries:
            if entry.kid in found:
                raise ConfigError(f"key `{entry.kid}` is listed twice; a key has one class, one tenant and one owner")
            if entry.key_class not in CLASSES:
                raise ConfigError(f"key `{entry.kid}` has unknown class `{entry.key_class}`; expected one of {', '.join(CLASSES)}")
            if isinstance(entry.key, es256.PublicKey) != (entry.key_class in ES256_CLASSES):
                raise ConfigError(f"key `{entry.kid}`: class `{entry.key_class}` has keys of another algorithm")
            found[entry.kid] = entry
        self._by_kid: Mapping[str, KeyEntry] = MappingProxyType(found)
        self._revoked = revoked

    def without(self, revoked: frozenset[str]) -> "KeySet":
        """The same keys, of which exactly these ids are revoked."""
        return KeySet(self._by_kid.values(), revoked)

    def entries(self) -> tuple[KeyEntry, ...]:
        """Every key, by class, tenant, owner and age."""
        return tuple(sorted(self._by_kid.values(), key=lambda e: (e.key_class, e.tenant, e.owner, e.not_before)))

    def has(self, key_class: str, tenant: str) -> bool:
        """Whether the tenant has a key of this class."""
        return any((entry.key_class, entry.tenant) == (key_class, tenant) for entry in self._by_kid.values())

    def in_use(self, key_class: str, tenant: str, now: datetime) -> tuple[KeyEntry, ...]:
        """The keys of a class that a tenant may use at `now`, by owner and age; none that was revoked."""
        found = (entry for entry in self.entries() if (entry.key_class, entry.tenant) == (key_class, tenant))
        return tuple(entry for entry in found if self.usable(entry, now))

    def bundle_keys(self, tenant: str, now: datetime) -> tuple[es256.PublicKey, ...]:
        """The keys that may sign bundles of this tenant at `now`."""
        return tuple(e.key for e in self.in_use("bundle", tenant, now) if isinstance(e.key, es256.PublicKey))

    def publisher(self, kid: str, tenant: str, now: datetime) -> PublicKey:
        """The key of this id, if it may sign releases and activations of this tenant at `now`.

        Raises:
            IdentityError: As `find`, and `wrong_tenant`.
        """
        entry = self.find(kid, "publisher", now)
        if entry.tenant != tenant:
            raise IdentityError("wrong_tenant")
        assert isinstance(entry.key, PublicKey), "the constructor has checked the algorithm of each class"
        return entry.key

    def signing(self, key_class: str, tenant: str, now: datetime) -> tuple[KeyEntry, ...]:
        """The keys that may sign for a tenant at `now`, the best first.

        That is one which every process knows by now, the one that lasts longest, then the newest; if there is none, the oldest.
        """
        return tuple(sorted(self.in_use(key_class, tenant, now), key=lambda entry: _worth(entry, now), reverse=True))

    def find(self, kid: str, key_class: str, now: datetime) -> KeyEntry:
        """The key of this id, if it is of this class and in use at `now`. Whose tenant it is, the caller compares.

        Raises:
            IdentityError: `unknown_kid`, `revoked`, `wrong_key_class`, `key_retired`, `key_not_yet`.
        """
        entry = self._by_kid.get(kid)
        if entry is None:
            raise IdentityError("unknown_kid")
        if kid in self._revoked:
            raise IdentityError("revoked", "the key was revoked")
        if entry.key_class != key_class:
            raise IdentityError("wrong_key_class", f"expected a key of class `{key_class}`")
        if now < entry.not_before:
            raise IdentityError("key_not_yet")
        if entry.not_after is not None and now >= entry.not_after:
            raise IdentityError("key_retired")
        return entry

    def usable(self, entry: KeyEntry, now: datetime) -> bool:
        """Whether a key of this set may be used at `now`: in its time, and not revoked."""
        return entry.kid not in self._revoked and entry.not_before <= now and (entry.not_after is None or now < entry.not_after)


def _worth(entry: KeyEntry, now: datetime) -> tuple[bool, float, float, float]:
    """Among keys that every process knows, the one that lasts longest and then the newest; among the others the oldest."""
    end, since = entry.not_after, entry.not_before.timestamp()
    if entry.not_before + SETTLES <= now:
        return True, float(end is None), end.timestamp() if end else 0.0, since
    return False, -since, float(end is not None), 0.0  # of two that were made in one second, the one that was replaced is older
