"""Keys as files: private ones readable by their owner only, public ones in one file that every gateway reads.

    keys/<class>/<tenant>/<owner or _>/<kid>.jwk.json     a private or symmetric key, mode 0600
    keys/public.json                                      the public keys, with class, tenant, owner and time

Files are written whole: a temporary file, fsync, rename, fsync of the directory.
"""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from aegis.crypto.jwk import PrivateKey, decode, encode, private_key, public_key
from aegis.errors import ConfigError, IdentityError
from aegis.identity.keyset import CLASSES, KeyEntry, KeySet

SYMMETRIC = ("kek", "hash")
NOBODY = "_"
FORMAT = "aegis.keys/v1"


class _Public(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `public.json`."""

    kid: str
    kty: str
    crv: str
    x: str
    key_class: str = msgspec.field(name="class")
    tenant: str
    owner: str
    not_before: datetime
    not_after: datetime | None = None


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`public.json`."""

    format: str
    keys: tuple[_Public, ...] = ()


def create(root: Path, key_class: str, tenant: str, owner: str, *, now: datetime) -> str:
    """Make the first key of a class; its kid.

    Raises:
        ConfigError: There is one already, which `rotate` would replace.
    """
    if _files(root, key_class, tenant, owner):
        raise ConfigError(f"{_home(root, key_class, tenant, owner)}: there is a key already; `aegis keys rotate` replaces it")
    return _add(root, key_class, tenant, owner, now=now)


def rotate(root: Path, key_class: str, tenant: str, owner: str, *, now: datetime, overlap: timedelta) -> str:
    """Make a new key; those in use until now end after `overlap`. Its kid."""
    if not _files(root, key_class, tenant, owner):
        raise ConfigError(f"{_home(root, key_class, tenant, owner)}: there is no key to rotate; `aegis keys new` makes one")
    kid = _add(root, key_class, tenant, owner, now=now)
    with _locked(root):
        _write_public(root, [
            _until(entry, now + overlap)
            if (entry.key_class, entry.tenant, entry.owner) == (key_class, tenant, owner) and entry.kid != kid else entry
            for entry in _read_public(root)
        ])  # fmt: skip
    return kid


def retire(root: Path, kid: str, *, now: datetime) -> None:
    """End a key now."""
    with _locked(root):
        entries = _read_public(root)
        if kid not in {entry.kid for entry in entries}:
            raise ConfigError(f"no public key `{kid}`; `aegis keys list` shows them")
        _write_public(root, [_until(entry, now) if entry.kid == kid else entry for entry in entries])


def load_public(root: Path) -> KeySet:
    """Every public key.

    Raises:
        ConfigError: The file is missing, malformed, or an entry does not match its own kid.
    """
    found = []
    for entry in _read_public(root, required=True):
        key = public_key(entry.x)
        if key.kid != entry.kid or (entry.kty, entry.crv) != ("OKP", "Ed25519") or entry.key_class not in CLASSES:
            raise ConfigError(
                f"{root / 'public.json'}: key `{entry.kid[:16]}` is not an Ed25519 key of a known class with its own kid"
            )
        found.append(
            KeyEntry(
                key=key, key_class=entry.key_class, tenant=entry.tenant, owner=entry.owner, not_before=entry.not_before,
                not_after=entry.not_after,
            )
        )  # fmt: skip
    return KeySet(found)


def load_private(root: Path, key_class: str, tenant: str, owner: str) -> PrivateKey:
    """The newest private key of a class.

    Raises:
        ConfigError: There is none, or others can read it.
    """
    files = _files(root, key_class, tenant, owner)
    if not files:
        who = f" --owner {owner}" if owner else ""
        raise ConfigError(f"no `{key_class}` key of tenant `{tenant}`: run `aegis keys new {key_class} --tenant {tenant}{who}`")
    public = {entry.kid: entry.not_before for entry in _read_public(root)}
    keys = [_private(path) for path in files]
    return max(keys, key=lambda key: (key.kid in public, public.get(key.kid, datetime.min), key.kid))


def load_symmetric(root: Path, key_class: str, tenant: str) -> bytes:
    """The symmetric key (32 bytes) of a class: `kek` wraps data keys, `hash` keys redacted digests."""
    files = _files(root, key_class, tenant, "")
    if len(files) != 1:
        raise ConfigError(
            f"expected one `{key_class}` key of tenant `{tenant}`, found {len(files)}: run `aegis keys new {key_class} --tenant {tenant}`"
        )
    content = _content(files[0])
    try:
        key = decode(content["k"])
    except (KeyError, TypeError, IdentityError):
        raise ConfigError(f"{files[0]}: not a symmetric key") from None
    if len(key) != 32:
        raise ConfigError(f"{files[0]}: expected 32 bytes")
    return key


def _add(root: Path, key_class: str, tenant: str, owner: str, *, now: datetime) -> str:
    home = _home(root, key_class, tenant, owner)
    _make_private(home)
    if key_class in SYMMETRIC:
        kid = secrets.token_hex(16)
        _write(home / f"{kid}.jwk.json", {"kty": "oct", "kid": kid, "k": encode(secrets.token_bytes(32))}, 0o600)
        return kid
    key = private_key(secrets.token_bytes(32))
    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": key.kid, "x": key.public.x, "d": encode(key.seed)}
    _write(home / f"{key.kid}.jwk.json", jwk, 0o600)
    entry = _Public(
        kid=key.kid,
        kty="OKP",
        crv="Ed25519",
        x=key.public.x,
        key_class=key_class,
        tenant=tenant,
        owner=owner,
        not_before=_whole(now),
    )
    with _locked(root):
        _write_public(root, [*_read_public(root), entry])
    return key.kid


def _whole(now: datetime) -> datetime:
    """A key is in use from the second in which it was made, because tokens count whole seconds."""
    return now.replace(microsecond=0)


def _until(entry: _Public, end: datetime) -> _Public:
    if entry.not_after is not None and entry.not_after <= end:
        return entry
    return msgspec.structs.replace(entry, not_after=end)


def _home(root: Path, key_class: str, tenant: str, owner: str) -> Path:
    for part in (key_class, tenant, owner):
        if "/" in part or "\\" in part or part.startswith(".") or "\0" in part:
            raise ConfigError("a key's class, tenant and owner are plain names")
    return root / key_class / tenant / (owner.replace(":", "-") or NOBODY)


def _files(root: Path, key_class: str, tenant: str, owner: str) -> list[Path]:
    return sorted(_home(root, key_class, tenant, owner).glob("*.jwk.json"))


def _private(path: Path) -> PrivateKey:
    content = _content(path)
    try:
        key = private_key(decode(content["d"]))
    except (KeyError, TypeError, IdentityError):
        raise ConfigError(f"{path}: not an Ed25519 private key") from None
    if content.get("kid") != key.kid:
        raise ConfigError(f"{path}: the key does not match its own kid")
    return key


def _content(path: Path) -> dict[str, Any]:
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path}: others can read this private key; run: chmod 600 {path}")
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {type(error).__name__}") from None


def _read_public(root: Path, *, required: bool = False) -> list[_Public]:
    path = root / "public.json"
    if not path.is_file():
        if required:
            raise ConfigError(f"{path}: not found; `aegis init` or `aegis keys new` makes keys")
        return []
    try:
        return list(msgspec.json.decode(path.read_bytes(), type=_File).keys)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from None


def _write_public(root: Path, entries: list[_Public]) -> None:
    _write(root / "public.json", _File(format=FORMAT, keys=tuple(entries)), 0o644)


def _make_private(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)


def _write(path: Path, value: Any, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One writer of the public keys at a time, whatever process it is in."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
