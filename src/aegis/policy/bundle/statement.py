"""What a publisher signs: that a bundle is version N of a tenant's policy (release), and that it is to decide (activation).

Both are DSSE envelopes of their own type under a `publisher` key of the tenant. A release names the bundle by its digest and never
changes. An activation names the whole state that it brings about, what is enforced and what is in shadow beside it, under a counter
that only grows: going back to an older release is a new activation of the same release, under a higher counter.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from aegis.crypto import dsse
from aegis.crypto.jwk import PrivateKey, PublicKey
from aegis.errors import BundleError, IdentityError

RELEASE = "application/vnd.aegis.policy-release+json"
ACTIVATION = "application/vnd.aegis.policy-activation+json"
MAX_TEXT = 2000
Mode = Literal["enforce", "shadow"]


class Release(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Version `number` (from 1) of a tenant's policy is the bundle with this digest."""

    tenant: str
    number: int
    sha256: str
    name: str
    revision: str
    policy: str
    author: str
    message: str
    time: datetime


class Pin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One release, by number and by the digest of its bundle."""

    number: int
    sha256: str


class Activation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From now on `enforced` decides and `shadow` is only recorded; `None` is none. `mode` says which of them was chosen."""

    tenant: str
    counter: int
    mode: Mode
    enforced: Pin | None
    shadow: Pin | None
    by: str
    reason: str
    time: datetime

    @property
    def chosen(self) -> Pin:
        """The release that was promoted."""
        found = self.enforced if self.mode == "enforce" else self.shadow
        if found is None:
            raise BundleError("activation", "an activation names the release that it promotes")
        return found


Statement = TypeVar("Statement", Release, Activation)
KeyOf = Callable[[str], PublicKey]
"""The key of this id, if it may sign for the tenant; otherwise an `IdentityError`."""


def sign(statement: Release | Activation, key: PrivateKey) -> str:
    """The envelope over a statement; its text is ASCII."""
    kind = RELEASE if isinstance(statement, Release) else ACTIVATION
    return dsse.sign(kind, _plain(statement), key).decode("ascii")


def read_release(envelope: str, key_of: KeyOf) -> Release:
    """The release that a trusted key has signed.

    Raises:
        BundleError: `envelope`.
    """
    return _read(envelope, RELEASE, Release, key_of)


def read_activation(envelope: str, key_of: KeyOf) -> Activation:
    """The activation that a trusted key has signed.

    Raises:
        BundleError: `envelope`, `activation`.
    """
    found = _read(envelope, ACTIVATION, Activation, key_of)
    if found.counter < 1 or any(pin is not None and pin.number < 1 for pin in (found.enforced, found.shadow)):
        raise BundleError("activation", "counters and numbers start at 1")
    _ = found.chosen
    return found


def _read(envelope: str, kind: str, wanted: type[Statement], key_of: KeyOf) -> Statement:
    try:
        raw = envelope.encode("ascii")
        content = dsse.verify(raw, kind, key_of(dsse.key_id(raw)))
        return msgspec.convert(content, wanted)
    except IdentityError as error:
        raise BundleError("envelope", f"the statement is not signed by a publisher of this tenant: {error.reason}") from None
    except (UnicodeEncodeError, msgspec.ValidationError):
        raise BundleError("envelope", "the statement does not hold what it should") from None


def _plain(statement: Release | Activation) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(statement)
    return built | {"time": statement.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
