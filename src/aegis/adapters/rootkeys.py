"""The root of a host's trust, if it has one: offline keys that must have signed `public.json` before anybody is believed.

    keys/root.json                 who holds a root key, and how many of them must sign
    keys/public.json.dsse.json     their signatures: over the digest of public.json, a version and an expiry

An entry that somebody slips in is then not signed, and an older file, though signed, has a lower version. Which root and which
version were in force the store remembers (`runtime.keychanges`), so that neither can be put back or exchanged between two starts.
Without `root.json` the file is believed as it lies there, as its mode allows.
"""

import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from aegis.adapters import wholefile
from aegis.crypto import dsse
from aegis.crypto.jwk import PrivateKey, PublicKey, public_key
from aegis.errors import ConfigError, IdentityError

FILE, ENVELOPE = "root.json", "public.json.dsse.json"
PAYLOAD = "application/vnd.aegis.keys+json"
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class RootKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A root key and who holds it: two keys of one holder count as one signature."""

    kid: str
    x: str
    owner: str
    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"


class Root(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who must sign: `threshold` of the holders of `keys`."""

    format: Literal["aegis.root/v1"] = "aegis.root/v1"
    threshold: Annotated[int, msgspec.Meta(ge=1)]
    keys: tuple[RootKey, ...]


class Listing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is signed: that the file with this digest is this version, and until when it is to be believed."""

    format: Literal["aegis.keys.signed/v1"] = "aegis.keys.signed/v1"
    version: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    sha256: str
    expires: _Instant


def load(home: Path) -> Root | None:
    """The root; `None` when this host has none.

    Raises:
        ConfigError: The file is malformed, others can change it, or it can never be satisfied.
    """
    content = _content_of(home)
    return _root(home / FILE, content) if content else None


def _root(path: Path, content: bytes) -> Root:
    try:
        found = msgspec.json.decode(content, type=Root)
        wrong = [key.kid for key in found.keys if public_key(key.x).kid != key.kid]
    except (msgspec.DecodeError, IdentityError) as error:
        raise ConfigError(f"{path}: {error}") from None
    wrong += [kid for kid, times in Counter(key.kid for key in found.keys).items() if times > 1]
    if wrong:
        raise ConfigError(f"{path}: key `{wrong[0]}` is listed twice, or `kid` is not the thumbprint of `x`")
    if found.threshold > len({key.owner for key in found.keys}):
        raise ConfigError(f"{path}: `threshold` is {found.threshold}, but fewer people hold a key")
    return found


def check(home: Path, content: bytes, now: datetime, pinned: str | None = None) -> tuple[int, str]:
    """The version of the public keys whose file has this content, and the digest of the root; 0 and empty where there is none.

    `pinned` is the digest that the root must have. It is read once, so that what is compared is what verifies.

    Raises:
        ConfigError: They are not signed by enough holders of root keys, or no longer to be believed; or the root is another one.
    """
    stated = _content_of(home)
    name = digest(stated) if stated else ""
    if pinned is not None and name != pinned:
        raise ConfigError(f"{home / FILE}: is not the root that this process started with: start it anew if that is meant")
    if not stated:
        return 0, ""
    root = _root(home / FILE, stated)
    path = home / ENVELOPE
    if not path.exists():
        raise ConfigError(f"{path}: not found, and there is a root; `aegis keys root sign` signs public.json")
    try:
        said = _verified(root, wholefile.read_public(path))
    except (msgspec.ValidationError, IdentityError) as error:
        raise ConfigError(f"{path}: {error}; `aegis keys root sign` signs public.json") from None
    if said.sha256 != digest(content):
        raise ConfigError(f"{path}: is about another public.json; `aegis keys root sign` signs the one that lies here")
    if now >= said.expires:
        raise ConfigError(f"{path}: expired at {said.expires:%Y-%m-%dT%H:%M:%SZ}; `aegis keys root sign` signs it anew")
    return said.version, name


def sign(home: Path, content: bytes, key: PrivateKey, *, now: datetime, lasting: timedelta) -> tuple[Listing, int]:
    """Add a root key's signature; what was signed, and how many holders have signed it now.

    The first signature on a content makes it the next version; later ones sign the same statement, or there would be several.

    Raises:
        ConfigError: There is no root, or the key is not of it.
    """
    root = _needed(home)
    if key.kid not in {each.kid for each in root.keys}:
        raise ConfigError(f"key `{key.kid}` is not in {home / FILE}: `aegis keys root enroll` adds it")
    before = _before(home)
    said = _stated(before) if before else None
    if before and said and said.sha256 == digest(content) and now < said.expires:
        envelope = dsse.add(before, PAYLOAD, key)
    else:
        said = Listing(
            version=said.version + 1 if said else 1, sha256=digest(content), expires=now.replace(microsecond=0) + lasting
        )
        envelope = dsse.sign(PAYLOAD, _content(said), key)
    wholefile.write(home / ENVELOPE, envelope + b"\n", wholefile.PUBLIC)
    return said, len(signers(root, envelope))


def enroll(home: Path, key: PublicKey, owner: str, threshold: int | None) -> Root:
    """Add a root key, and say how many holders must sign; the root as it is then."""
    before = load(home)
    keys = tuple(each for each in (before.keys if before else ()) if each.kid != key.kid)
    root = Root(
        threshold=threshold or (before.threshold if before else 1), keys=(*keys, RootKey(kid=key.kid, x=key.x, owner=owner))
    )
    wholefile.write(home / FILE, msgspec.json.format(msgspec.json.encode(root), indent=2) + b"\n", wholefile.PUBLIC)
    return root


def signers(root: Root, envelope: bytes) -> tuple[str, ...]:
    """The holders of root keys who have signed an envelope."""
    found = dsse.signed(envelope, PAYLOAD, [public_key(key.x) for key in root.keys])
    return tuple(sorted(dsse.distinct(found.kids, {key.kid: key.owner for key in root.keys})))


def digest(content: bytes) -> str:
    """How a statement names a file."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _content_of(home: Path) -> bytes:
    """The bytes of the root; none when there is no such file."""
    path = home / FILE
    return wholefile.read_public(path) or b" " if path.exists() else b""


def _verified(root: Root, envelope: bytes) -> Listing:
    owners = {key.kid: key.owner for key in root.keys}
    found = dsse.verify_threshold(envelope.strip(), PAYLOAD, [public_key(key.x) for key in root.keys], root.threshold, owners)
    return msgspec.convert(found, Listing)


def _needed(home: Path) -> Root:
    root = load(home)
    if root is None:
        raise ConfigError(f"{home / FILE}: not found; `aegis keys root new` and `enroll` make a root")
    return root


def _before(home: Path) -> bytes | None:
    path = home / ENVELOPE
    return wholefile.read_public(path).strip() if path.exists() else None


def _stated(envelope: bytes) -> Listing | None:
    """What an envelope says, signed or not, to be signed again by somebody who looks at it."""
    try:
        return msgspec.convert(dsse.content_of(dsse.signed(envelope, PAYLOAD, ()).payload), Listing)
    except (msgspec.ValidationError, IdentityError):
        return None


def _content(said: Listing) -> dict[str, Any]:
    return {
        "format": said.format,
        "version": said.version,
        "sha256": said.sha256,
        "expires": said.expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
