"""Keys as files: private ones readable by their owner only, public ones in one file that every gateway reads.

    keys/<class>/<tenant>/<owner or _>/<kid>.jwk.json     a private or symmetric key, mode 0600
    keys/public.json                                      the public keys, with class, tenant, owner and time

A private key is worth something only while `public.json` lists it. It is written first, and all changes hold one lock, so that a
crash at any moment leaves at most a private file that nobody trusts.
"""

import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from aegis.adapters import publickeys, wholefile
from aegis.adapters.publickeys import Public
from aegis.crypto import es256
from aegis.crypto.jwk import PrivateKey, decode, encode, private_key
from aegis.errors import ConfigError, IdentityError
from aegis.identity.keyset import CLASSES, ES256_CLASSES, SETTLES, KeySet

SYMMETRIC = ("kek", "hash")
KEY_BYTES = 32
NOBODY = "_"


def create(root: Path, key_class: str, tenant: str, owner: str, *, now: datetime) -> str:
    """Make the first key of a class; its kid.

    Raises:
        ConfigError: There is one already, which `rotate` would replace; or such a key cannot exist.
    """
    home = _home(root, key_class, tenant, owner)
    wholefile.make_directory(root)
    with wholefile.locked(root):
        if _files(home):
            raise ConfigError(f"{home}: there is a key already; `aegis keys rotate` replaces it")
        if key_class in SYMMETRIC:
            return _new_symmetric(home)
        key = _new_private(home, key_class)
        entry = publickeys.entry(key.public, key_class, tenant, owner, now)
        publickeys.write(root, [*publickeys.read(root), entry])
        return key.kid


def there(root: Path, key_class: str, tenant: str, owner: str) -> bool:
    """Whether a key for this purpose was ever made: a private half of it lies here, or a public one is listed."""
    listed = publickeys.read(root) if root.is_dir() else []
    return bool(_files(_home(root, key_class, tenant, owner))) or any(
        (entry.key_class, entry.tenant, entry.owner) == (key_class, tenant, owner) for entry in listed
    )


def rotate(root: Path, key_class: str, tenant: str, owner: str, *, now: datetime, overlap: timedelta) -> str:
    """Make a new key; those in use until now end after `overlap`. Its kid.

    Raises:
        ConfigError: There is none to rotate, or the class is symmetric: what an old key sealed would not open with a new one.
    """
    home = _home(root, key_class, tenant, owner)
    if key_class in SYMMETRIC:
        raise ConfigError(f"a `{key_class}` key is not rotated: what the old one protects would not be understood with a new one")
    if overlap < timedelta(0):
        raise ConfigError("an overlap is zero or longer")
    if not _files(home):
        raise ConfigError(f"{home}: there is no key to rotate; `aegis keys new` makes one")
    with wholefile.locked(root):
        key = _new_private(home, key_class)
        entry = publickeys.entry(key.public, key_class, tenant, owner, now)
        former = [
            publickeys.until(other, now + overlap) if _same_purpose(other, entry) else other for other in publickeys.read(root)
        ]
        publickeys.write(root, [*former, entry])
        return key.kid


def retire(root: Path, kid: str, *, now: datetime) -> None:
    """End a key now.

    Raises:
        ConfigError: There is no such public key.
    """
    if not root.is_dir():
        raise ConfigError(f"{root}: not found; `aegis init` or `aegis keys new` makes keys")
    with wholefile.locked(root):
        entries = publickeys.read(root)
        if kid not in {entry.kid for entry in entries}:
            raise ConfigError(f"no public key `{kid}`; `aegis keys list` shows them")
        publickeys.write(root, [publickeys.until(entry, now) if entry.kid == kid else entry for entry in entries])


def load_believed(root: Path, now: datetime, pinned: str | None = None) -> tuple[KeySet, int, str]:
    """Every public key, their version and the digest of their root, if the host's root has signed them or there is none."""
    return publickeys.believed(root, now, pinned)


def create_offline(directory: Path) -> PrivateKey:
    """Make a key that belongs to no class and no tenant, in a directory that should lie elsewhere: a root key."""
    return _new_ed25519(directory)


def load_public(root: Path) -> KeySet:
    """Every public key, whether a root has signed them or not.

    Raises:
        ConfigError: The file is missing or malformed, others can change it, or an entry is not what it says.
    """
    return publickeys.key_set(root)


def load_private(root: Path, key_class: str, tenant: str, owner: str, *, now: datetime | None = None) -> PrivateKey:
    """The newest private key of a class that is not being phased out; with `now`, one that is in use and known at that time.

    Raises:
        ConfigError: There is none that `public.json` lists, others can read it, or the class is `bundle`.
    """
    return _private(_newest(root, key_class, tenant, owner, now))


def load_bundle_key(root: Path, tenant: str, *, now: datetime | None = None) -> es256.PrivateKey:
    """The newest private key that signs bundles of a tenant; as `load_private`."""
    return _private_es256(_newest(root, "bundle", tenant, "", now))


def read_private_key(path: Path) -> PrivateKey:
    """The Ed25519 private key in one file, whose name is its kid; as `load_private`."""
    return _private(path)


def read_bundle_key(path: Path) -> es256.PrivateKey:
    """The private key in one file, whose name is its kid."""
    return _private_es256(path)


def _newest(root: Path, key_class: str, tenant: str, owner: str, now: datetime | None) -> Path:
    home = _home(root, key_class, tenant, owner)
    files = {path.name.removesuffix(".jwk.json"): path for path in _files(home)}
    who = f" --owner {owner}" if owner else ""
    if not files:
        raise ConfigError(f"no `{key_class}` key of tenant `{tenant}`: run `aegis keys new {key_class} --tenant {tenant}{who}`")
    wanted = (key_class, tenant, owner)
    listed = [e for e in publickeys.read(root) if e.kid in files and (e.key_class, e.tenant, e.owner) == wanted]
    usable = [entry for entry in listed if now is None or _in_use(entry, now)]
    if not usable:
        why = "is in use" if listed else f"stands in {publickeys.FILE}"
        raise ConfigError(f"{home}: no key here {why}: run `aegis keys rotate {key_class} --tenant {tenant}{who}`")
    return files[max(usable, key=lambda entry: (_settled(entry, now), _lasting(entry))).kid]


def load_symmetric(root: Path, key_class: str, tenant: str) -> bytes:
    """The symmetric key (32 bytes) of a class: `kek` wraps data keys, `hash` keys redacted digests."""
    files = _files(_home(root, key_class, tenant, ""))
    if len(files) != 1:
        mend = f"run `aegis keys new {key_class} --tenant {tenant}`" if not files else "move all but the right one away"
        raise ConfigError(f"expected one `{key_class}` key of tenant `{tenant}`, found {len(files)}: {mend}")
    content = _content(files[0])
    try:
        key = decode(content["k"])
    except (KeyError, TypeError, AttributeError, IdentityError):
        raise ConfigError(f"{files[0]}: not a symmetric key") from None
    if content.get("kty") != "oct" or len(key) != KEY_BYTES:
        raise ConfigError(f"{files[0]}: expected {KEY_BYTES} bytes")
    return key


def _new_private(home: Path, key_class: str) -> PrivateKey | es256.PrivateKey:
    return _new_es256(home) if key_class in ES256_CLASSES else _new_ed25519(home)


def _new_ed25519(home: Path) -> PrivateKey:
    key = private_key(secrets.token_bytes(KEY_BYTES))
    _write(home, key.kid, {"kty": "OKP", "crv": "Ed25519", "kid": key.kid, "x": key.public.x, "d": encode(key.seed)})
    return key


def _new_es256(home: Path) -> es256.PrivateKey:
    key = es256.private_key(secrets.token_bytes(KEY_BYTES))
    public = key.public
    jwk = {"kty": "EC", "crv": "P-256", "kid": key.kid, "x": public.x, "y": public.y, "d": encode(key.scalar)}
    _write(home, key.kid, jwk)
    return key


def _new_symmetric(home: Path) -> str:
    kid = secrets.token_hex(16)
    _write(home, kid, {"kty": "oct", "kid": kid, "k": encode(secrets.token_bytes(KEY_BYTES))})
    return kid


def _write(home: Path, kid: str, jwk: dict[str, str]) -> None:
    wholefile.make_directory(home)
    content = msgspec.json.format(msgspec.json.encode(jwk), indent=2) + b"\n"
    wholefile.write(home / f"{kid}.jwk.json", content, wholefile.PRIVATE)


def _same_purpose(one: Public, other: Public) -> bool:
    return (one.key_class, one.tenant, one.owner) == (other.key_class, other.tenant, other.owner)


def _in_use(entry: Public, now: datetime) -> bool:
    return entry.not_before <= now and (entry.not_after is None or now < entry.not_after)


def _settled(entry: Public, now: datetime | None) -> bool:
    """Whether every process knows the key by now: one that does not would refuse what it signs."""
    return now is None or entry.not_before + SETTLES <= now


def _lasting(entry: Public) -> tuple[bool, float, float]:
    """Order by how long a key lasts, then by how new it is."""
    end = entry.not_after
    return end is None, end.timestamp() if end else 0.0, entry.not_before.timestamp()


def path_of(root: Path, key_class: str, tenant: str, kid: str) -> Path:
    """The file of a private key of a class without owners, whether it is there or not."""
    return _home(root, key_class, tenant, "") / f"{kid}.jwk.json"


def _home(root: Path, key_class: str, tenant: str, owner: str) -> Path:
    """Where keys of a purpose lie; it is checked first, because its parts become names of directories."""
    if key_class not in (*CLASSES, *SYMMETRIC):
        raise ConfigError(f"unknown class of keys `{key_class}`; expected one of {', '.join((*CLASSES, *SYMMETRIC))}")
    publickeys.check_names(key_class, tenant, owner)
    return root / key_class / tenant / (owner.replace(":", "-") or NOBODY)


def _files(home: Path) -> list[Path]:
    return sorted(home.glob("*.jwk.json"))


def _private(path: Path) -> PrivateKey:
    content = _content(path)
    try:
        key = private_key(decode(content["d"]))
    except (KeyError, TypeError, AttributeError, IdentityError):
        raise ConfigError(f"{path}: not an Ed25519 private key") from None
    _matches(path, content, key.kid)
    return key


def _private_es256(path: Path) -> es256.PrivateKey:
    content = _content(path)
    try:
        key = es256.private_key(decode(content["d"]))
    except (KeyError, TypeError, AttributeError, IdentityError):
        raise ConfigError(f"{path}: not a P-256 private key") from None
    _matches(path, content, key.kid)
    return key


def _matches(path: Path, content: dict[str, Any], kid: str) -> None:
    if content.get("kid") != kid or path.name != f"{kid}.jwk.json":
        raise ConfigError(f"{path}: the key does not match its own kid")


def _content(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(wholefile.read_private(path), type=dict[str, Any])
    except (UnicodeDecodeError, msgspec.DecodeError):
        raise ConfigError(f"{path}: not a JSON object") from None
