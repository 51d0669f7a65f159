"""Key-encryption keys as files: the implementation of `KeyManagement` that needs nothing but a disk.

    keys/kek/<tenant>/_/<kid>.jwk.json     readable by its owner only

A wrapped key is `kek1`, the 16 bytes of the KEK's id, a nonce, and the sealed key. What an earlier version wrapped has no id: it is
60 bytes long and is tried with each KEK of the tenant. The KEK that was made last wraps; the others unwrap for as long as their
files are there.
"""

import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from aegis.adapters import publickeys, wholefile
from aegis.crypto.jwk import decode, encode
from aegis.crypto.seal import KEY_BYTES, NONCE_BYTES, seal, unseal
from aegis.errors import ConfigError, IdentityError, SealError

_MARK = b"kek1"
_ID_BYTES = 16
_TAG_BYTES = 16
_WITHOUT_ID = NONCE_BYTES + KEY_BYTES + _TAG_BYTES


class Kek(Struct, frozen=True):
    """A key-encryption key; `made` is in seconds since 1970, 0 for those of earlier versions."""

    made: int
    kid: str
    key: bytes


class KekFiles:
    """The KEKs of all tenants below the directory of keys. A file is read when it is needed; no key is kept here."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def kek_id(self, tenant: str) -> str:
        """As the port says."""
        return newest(self._root, tenant).kid

    def wrapped_by(self, wrapped: bytes) -> str:
        """As the port says."""
        if len(wrapped) == _WITHOUT_ID or not wrapped.startswith(_MARK):
            return ""
        return wrapped[len(_MARK) : len(_MARK) + _ID_BYTES].hex()

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> bytes:
        """As the port says."""
        kek = newest(self._root, tenant)
        nonce = os.urandom(NONCE_BYTES)
        return _MARK + bytes.fromhex(kek.kid) + nonce + seal(kek.key, nonce, key, context)

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        """As the port says."""
        kid = self.wrapped_by(wrapped)
        for kek in listed(self._root, tenant):
            if kid and kek.kid != kid:
                continue
            start = len(_MARK) + _ID_BYTES if kid else 0
            try:
                return unseal(kek.key, wrapped[start : start + NONCE_BYTES], wrapped[start + NONCE_BYTES :], context)
            except SealError:
                if kid:
                    raise
        which = f"kek `{kid}`" if kid else "the kek that wrapped it"
        raise SealError(f"a data key does not open: {which} of tenant `{tenant}` is not among the keys here")


def rotate(root: Path, tenant: str, *, now: datetime) -> str:
    """Make the KEK that wraps from now on; its kid. What the former ones wrapped stays so until it is wrapped anew.

    Raises:
        ConfigError: There is none to rotate.
    """
    former = newest(root, tenant)
    with wholefile.locked(root):
        kid = secrets.token_hex(_ID_BYTES)
        made = max(int(now.timestamp()), former.made + 1)
        content = {"kty": "oct", "kid": kid, "k": encode(secrets.token_bytes(KEY_BYTES)), "iat": made}
        text = msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
        wholefile.write(root / "kek" / tenant / "_" / f"{kid}.jwk.json", text, wholefile.PRIVATE)
    return kid


def newest(root: Path, tenant: str) -> Kek:
    """The KEK that wraps.

    Raises:
        ConfigError: There is none, or two of which neither tells when it was made.
    """
    found = listed(root, tenant)
    if not found:
        raise ConfigError(f"tenant `{tenant}` has no `kek` key: run `aegis keys new kek --tenant {tenant}`")
    if len(found) > 1 and found[-1].made == found[-2].made:
        raise ConfigError(f"tenant `{tenant}` has two `kek` keys of the same time: move all but the right one away")
    return found[-1]


def listed(root: Path, tenant: str) -> list[Kek]:
    """Every KEK of a tenant, the newest last."""
    publickeys.check_names("kek", tenant, "")
    return sorted((_read(path) for path in (root / "kek" / tenant / "_").glob("*.jwk.json")), key=lambda kek: (kek.made, kek.kid))


def _read(path: Path) -> Kek:
    try:
        content = msgspec.json.decode(wholefile.read_private(path), type=dict[str, Any])
        key, kid, made = decode(content["k"]), content["kid"], content.get("iat", 0)
        fitting = content["kty"] == "oct" and len(key) == KEY_BYTES and len(bytes.fromhex(kid)) == _ID_BYTES and int(made) == made
    except (UnicodeDecodeError, msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, IdentityError):
        raise ConfigError(f"{path}: not a symmetric key") from None
    if not fitting or path.name != f"{kid}.jwk.json":
        raise ConfigError(f"{path}: expected a key of {KEY_BYTES} bytes under its own kid")
    return Kek(made, kid, key)
