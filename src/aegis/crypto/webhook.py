"""The signature of a webhook: HMAC-SHA256 over its id, its time and its body, under a secret that both sides share.

A secret is written `whsec_` and base64; of two secrets that stand beside each other (while one replaces the other) both sign, and
either verifies. The signature says that the message came over this channel, and when. It gives nobody the right to anything.

Source: Standard Webhooks 1.0.0, sections "Signature scheme" and "Verifying webhook authenticity".
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from aegis.errors import IdentityError

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX, VERSION = "whsec_", "v1,"
SHORTEST, LONGEST = 24, 64
TOLERANCE = timedelta(minutes=5)
_MOST_SIGNATURES = 16


def secret(text: str) -> bytes:
    """The bytes of a written secret.

    Raises:
        ValueError: It is not `whsec_` and base64 of 24 to 64 bytes; the message never holds any of it.
    """
    try:
        found = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not text.startswith(PREFIX) or not SHORTEST <= len(found) <= LONGEST:
        raise ValueError(f"expected `{PREFIX}` and base64 of {SHORTEST} to {LONGEST} random bytes")
    return found


def signed(secrets: Sequence[bytes], message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """The three headers of a message."""
    timestamp = str(int(now.timestamp()))
    found = " ".join(VERSION + _mac(key, message_id, timestamp, body) for key in secrets)
    return {ID: message_id, TIMESTAMP: timestamp, SIGNATURE: found}


def verify(secrets: Sequence[bytes], headers: Mapping[str, str], now: datetime, body: bytes) -> str:
    """The id of a message that one of the secrets signed, within the last minutes. `headers` have names in lower case.

    Raises:
        IdentityError: `webhook_unsigned`, `webhook_stale` or `webhook_signature`.
    """
    message_id, timestamp, given = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not message_id or not given or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12):
        raise IdentityError("webhook_unsigned", f"expected the headers {ID}, {TIMESTAMP} and {SIGNATURE}")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise IdentityError("webhook_stale", "the message is more than five minutes old, or from the future")
    signatures = [each.removeprefix(VERSION) for each in given.split(" ")[:_MOST_SIGNATURES] if each.startswith(VERSION)]
    expected = [_mac(key, message_id, timestamp, body) for key in secrets]
    # Every pair is compared, so that the time tells nothing.
    matches = [hmac.compare_digest(one.encode(), other.encode("utf-8", "replace")) for one in expected for other in signatures]
    if not any(matches):
        raise IdentityError("webhook_signature", "no secret of the channel made this signature")
    return message_id


def _mac(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    content = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()
