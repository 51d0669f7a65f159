"""The credentials by which the gateway authenticates to a tenant's tools, when they are kept sealed in the store.

A sealed credential has a name, which is its tenant's own, and an origin: scheme, host and port of the one server that it is for. It
is never sent anywhere else, whatever a contract says.
"""

import re
from typing import Protocol
from urllib.parse import urlsplit

from aegis.errors import ConfigError

MAX_SECRET = 8192
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PORTS = {"http": 80, "https": 443}


class Credentials(Protocol):
    """The sealed credentials of all tenants, as they stand now."""

    def secret(self, tenant: str, name: str, url: str) -> str | None:
        """The secret of this tenant's credential for the server of `url`; `None` when it is not set, or is for another server."""


def is_name(text: str) -> bool:
    """Whether a credential may be called so."""
    return _NAME.fullmatch(text) is not None


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, the port always written out.

    Raises:
        ConfigError: It is not the URL of a server.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise ConfigError("expected the URL of a server: http://HOST[:PORT] or https://HOST[:PORT]") from None
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise ConfigError("expected the URL of a server, without user, query or fragment")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def check_secret(secret: str) -> str:
    """The secret, when a header can carry it.

    Raises:
        ConfigError: It is empty, too long, or not visible ASCII. The message never holds any of it.
    """
    if not secret:
        raise ConfigError("the secret is empty: it is read from standard input")
    if len(secret) > MAX_SECRET:
        raise ConfigError(f"the secret is longer than {MAX_SECRET} characters")
    if not all(" " <= char <= "~" for char in secret):
        raise ConfigError("the secret is not one line of visible ASCII")
    return secret
