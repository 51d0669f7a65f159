"""`keys/public.json`: every public key with its class, tenant, owner and time. It says who is trusted with what."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from aegis.adapters import rootkeys, wholefile
from aegis.crypto import es256
from aegis.crypto.jwk import PublicKey, public_key
from aegis.errors import ConfigError, IdentityError
from aegis.identity.directory import AGENT, PERSON, TENANT
from aegis.identity.keyset import CLASSES, ES256_CLASSES, KeyEntry, KeySet
from aegis.model.event import SYSTEM_TENANT

FILE = "public.json"
OWNERS = {"human": PERSON, "workload": AGENT}
MAY_OWN = {"publisher": PERSON}
"""Classes whose keys belong to the tenant, or to one person of it: where several must sign, people are counted."""
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Public(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry: a JWK (RFC 8037; RFC 7518, section 6.2 for class `bundle`) and what the key is for."""

    kid: str
    kty: Literal["OKP", "EC"] = "OKP"
    crv: Literal["Ed25519", "P-256"] = "Ed25519"
    x: str
    y: str | UnsetType = UNSET
    key_class: str = msgspec.field(name="class")
    tenant: str
    owner: str
    not_before: _Instant
    not_after: _Instant | None = None


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal["aegis.keys/v1"] = "aegis.keys/v1"
    keys: tuple[Public, ...] = ()


def entry(key: PublicKey | es256.PublicKey, key_class: str, tenant: str, owner: str, now: datetime) -> Public:
    """The entry of a new key. It is in use from the second in which it was made, because tokens count whole seconds."""
    found = Public(
        kid=key.kid, x=key.x, key_class=key_class, tenant=tenant, owner=owner, not_before=now.replace(microsecond=0)
    )  # fmt: skip
    return msgspec.structs.replace(found, kty="EC", crv="P-256", y=key.y) if isinstance(key, es256.PublicKey) else found


def read(root: Path) -> list[Public]:
    """The entries; none when there is no file yet.

    Raises:
        ConfigError: The file is malformed, or others can change it.
    """
    path = root / FILE
    if not path.exists():
        return []
    return _entries(path, wholefile.read_public(path))


def _entries(path: Path, content: bytes) -> list[Public]:
    try:
        return list(msgspec.json.decode(content, type=_File).keys)
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: not the public keys as `aegis keys` writes them: {error}; restore the file") from None


def write(root: Path, entries: list[Public]) -> None:
    """Replace the file."""
    content = msgspec.json.format(msgspec.json.encode(_File(keys=tuple(entries))), indent=2) + b"\n"
    wholefile.write(root / FILE, content, wholefile.PUBLIC)


def until(found: Public, end: datetime) -> Public:
    """The entry, in use until `end` at most."""
    if found.not_after is not None and found.not_after <= end:
        return found
    return msgspec.structs.replace(found, not_after=end)


def key_set(root: Path) -> KeySet:
    """Every public key, checked, whether a root has signed them or not.

    Raises:
        ConfigError: The file is missing or malformed, or an entry is not what it says.
    """
    return _key_set(root / FILE, _content(root))


def believed(root: Path, now: datetime, pinned: str | None = None) -> tuple[KeySet, int, str]:
    """Every public key, their version and the digest of their root: where there is one, only if its people have signed these keys.

    `pinned` is the digest that the root must have.

    Raises:
        ConfigError: As `key_set`, or they are not signed.
    """
    content = _content(root)
    return _key_set(root / FILE, content), *rootkeys.check(root, content, now, pinned)


def _content(root: Path) -> bytes:
    path = root / FILE
    if not path.exists():
        raise ConfigError(f"{path}: not found; `aegis init` or `aegis keys new` makes keys")
    return wholefile.read_public(path)


def _key_set(path: Path, content: bytes) -> KeySet:
    entries = _entries(path, content)
    try:
        return KeySet(_checked(found) for found in entries)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def check_names(key_class: str, tenant: str, owner: str) -> None:
    """Refuse a tenant or owner that a key of this class cannot have.

    Raises:
        ConfigError: With what was expected.
    """
    operators = (key_class, tenant) == ("log", SYSTEM_TENANT)
    if not operators and not TENANT.fullmatch(tenant):
        raise ConfigError(f"a `{key_class}` key: expected a tenant name such as `acme`: lower case letters, digits and `-`")
    wanted = OWNERS.get(key_class)
    if owner and key_class in MAY_OWN:
        if not MAY_OWN[key_class].fullmatch(owner):
            raise ConfigError(f"a `{key_class}` key belongs to its tenant, or to an owner such as `person:alice`")
        return
    if wanted is None and owner:
        raise ConfigError(f"a `{key_class}` key has no owner but its tenant; leave the owner out")
    if wanted is not None and not wanted.fullmatch(owner):
        example = "person:alice" if key_class == "human" else "agent:planner"
        raise ConfigError(f"a `{key_class}` key needs an owner such as `{example}`")


def _checked(found: Public) -> KeyEntry:
    if found.key_class not in CLASSES:
        raise ConfigError(f"key `{found.kid}` has unknown class `{found.key_class}`; expected one of {', '.join(CLASSES)}")
    check_names(found.key_class, found.tenant, found.owner)
    key = _key(found)
    if key.kid != found.kid:
        raise ConfigError(f"key `{found.kid}`: `kid` is not the thumbprint of `x`, expected `{key.kid}`")
    return KeyEntry(
        key=key,
        key_class=found.key_class,
        tenant=found.tenant,
        owner=found.owner,
        not_before=found.not_before,
        not_after=found.not_after,
    )


def _key(found: Public) -> PublicKey | es256.PublicKey:
    wanted = ("EC", "P-256") if found.key_class in ES256_CLASSES else ("OKP", "Ed25519")
    if (found.kty, found.crv) != wanted or (found.y is UNSET) != (found.kty == "OKP"):
        raise ConfigError(f"key `{found.kid}`: a `{found.key_class}` key is of type `{wanted[0]}` and curve `{wanted[1]}`")
    try:
        return public_key(found.x) if found.y is UNSET else es256.public_key(found.x, str(found.y))
    except IdentityError:
        raise ConfigError(f"key `{found.kid}`: not an {wanted[1]} public key; its coordinates have 32 bytes each") from None
