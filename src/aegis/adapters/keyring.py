"""The keys of this host, followed while it serves: whom it trusts, and what it signs with.

`public.json` is looked at several times a second. A change is taken over whole, by one assignment, once all of it has been checked.
A file that is broken, gone, empty or open to others changes nothing: the set that was good goes on, `refresh` says why at every
turn, and so does `/readyz`. Whoever damages the file can neither add a key nor lock everybody out.

A private key signs while the set in force lists it. A new one waits until every process must have seen it (`keyset.SETTLES`), so
that a rotation is noticed by nobody, unless it is the only one.
"""

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from aegis.adapters import keyfiles, publickeys, rootkeys
from aegis.crypto.jwk import PrivateKey
from aegis.errors import ConfigError
from aegis.identity.keyset import KeySet

EVERY_SECONDS = 0.25
_Stamp = tuple[int, int, int, int]


class Keyring:
    """The public keys in force, and the private ones that lie on this host. Calls may come from many threads.

    Raises:
        ConfigError: The public keys cannot be read when it is made.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stamp = _stamps(root)
        self._listed, self.version, self.root = _checked(root, None)
        self._keys = self._listed
        self._revoked: frozenset[str] = frozenset()
        self._private_keys: dict[Path, tuple[_Stamp, PrivateKey]] = {}
        self._lock = Lock()

    @property
    def keys(self) -> KeySet:
        """The public keys that are in force; those that were revoked are good for nothing."""
        return self._keys

    def revoke(self, kids: frozenset[str]) -> bool:
        """Hold exactly these keys as revoked, whatever the file says of them; whether that changes anything."""
        with self._lock:
            if kids == self._revoked:
                return False
            self._revoked = kids
            self._keys = self._listed.without(kids)
            return True

    def refresh(self) -> bool:
        """Look at the file; whether another set is in force now. It reads files: call it in a thread.

        Raises:
            ConfigError: The file is not good; the set that was in force still is.
        """
        with self._lock:
            stamp = _stamps(self._root)
            if stamp is not None and stamp == self._stamp:
                return False
            self._stamp = None  # until it has been read whole, every turn looks again
            listed, version, _ = _checked(self._root, self.root)
            if version < self.version:
                raise ConfigError(f"{self._root}: the public keys are version {version}; version {self.version} is in force")
            self.version = version
            changed, self._listed, self._stamp = listed.entries() != self._listed.entries(), listed, stamp
            self._keys = listed.without(self._revoked)
            return changed

    def look(self) -> KeySet:
        """The public keys that are in force once the file has been looked at; what is wrong with it `refresh` tells its caller."""
        with contextlib.suppress(ConfigError):
            self.refresh()
        return self.keys

    def signer(self, key_class: str, tenant: str, now: datetime) -> PrivateKey:
        """The private key by which this host signs for a tenant now.

        Raises:
            ConfigError: None that lies here is in use, or others can read it.
        """
        for entry in self._keys.signing(key_class, tenant, now):
            if (key := self._private(keyfiles.path_of(self._root, key_class, tenant, entry.kid))) is not None:
                return key
        mend = f"run `aegis keys rotate {key_class} --tenant {tenant}`"
        raise ConfigError(f"no `{key_class}` key of tenant `{tenant}` that lies here is in use: {mend}")

    def _private(self, path: Path) -> PrivateKey | None:
        stamp = _stamp(path)
        if stamp is None:
            return None
        known = self._private_keys.get(path)
        if known is None or known[0] != stamp:
            known = self._private_keys[path] = stamp, keyfiles.read_private_key(path)
        return known[1]


def _checked(root: Path, pinned: str | None) -> tuple[KeySet, int, str]:
    keys, version, signed_by = keyfiles.load_believed(root, datetime.now(UTC), pinned)
    if not keys.entries():
        raise ConfigError(f"{root / publickeys.FILE}: lists no key; nobody could be trusted with anything")
    return keys, version, signed_by


def _stamps(root: Path) -> tuple[_Stamp | None, ...] | None:
    """Of everything that says whom to believe; `None` when there is no file of keys."""
    keys = _stamp(root / publickeys.FILE)
    return (keys, _stamp(root / rootkeys.FILE), _stamp(root / rootkeys.ENVELOPE)) if keys is not None else None


def _stamp(path: Path) -> _Stamp | None:
    """What changes when a file does, or who may touch it: others may be let in without a word of it changing."""
    try:
        found = os.stat(path)  # noqa: PTH116 - looked at before every signature
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode
