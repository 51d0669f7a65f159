"""Sends batches of events over HTTPS, and tells what came back.

Events name people and what they may do, so they leave over TLS, or stay on this host. The address is the one of the settings: no
redirect is followed, no proxy is read from the environment, no cookie is kept. Of an answer only the status, `Retry-After` and the
first words of the body are read, whatever its length. The token is read from its file for every batch, so that a new one counts
without a restart, and no log line holds it.
"""

import asyncio
import ipaddress
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import yarl

from aegis.adapters.wholefile import read_private
from aegis.errors import ConfigError
from aegis.journal.export.replies import Reply

TIMEOUT_SECONDS, CONNECT_SECONDS = 30, 10
MAX_ANSWER = 4096
MAX_DETAIL = 200
CONNECTIONS = 8


class HttpReceiver:
    """One address. `token_file` holds a bearer token; `now` is for a `Retry-After` that names a date."""

    def __init__(self, url: str, token_file: Path | None, now: Callable[[], datetime], *, seconds: float = TIMEOUT_SECONDS) -> None:
        """Raises ConfigError when the address or the token cannot be used."""
        check_url(url)
        self._url = yarl.URL(url, encoded=True)
        self._token_file = token_file
        self._now = now
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None
        self._headers()

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, body: bytes, media_type: str) -> Reply:
        """Send one batch. Whatever goes wrong is an answer; nothing is raised."""
        try:
            headers = self._headers() | {"content-type": media_type}
            async with (
                asyncio.timeout(self._seconds),
                self._opened().post(self._url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                words = await response.content.read(MAX_ANSWER)
                if not response.content.at_eof():
                    response.close()  # the rest is nobody's business, and the connection holds it
                after = _seconds(response.headers.get("retry-after", ""), self._now())
                return Reply(status=response.status, after_seconds=after, detail=_words(words))
        except ConfigError as error:
            return Reply(status=0, detail=str(error))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return Reply(status=0, detail=type(error).__name__)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ttl_dns_cache=30, keepalive_timeout=4),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        headers = {"user-agent": "aegis", "accept": "*/*", "accept-encoding": "identity"}
        return headers | ({"authorization": f"Bearer {read_token(self._token_file)}"} if self._token_file else {})


def check_url(url: str, what: str = "export.url", where: str = "`export.token_file`") -> None:
    """Check that events may be sent to `url`: over TLS, or to this host. `what` names it, `where` is the place of a secret.

    Raises:
        ConfigError: They may not; the message says what is expected.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(f"{what}: not a URL") from None
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{what}: expected visible ASCII; write other characters as %XX")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{what}: holds a user name; put the secret into a file and name it in {where}")
    if parts.fragment:
        raise ConfigError(f"{what}: a fragment (`#...`) is never sent; leave it out")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _here(host))):
        raise ConfigError(f"{what}: expected https://HOST/..., or http:// to a loopback address such as 127.0.0.1")


def read_token(path: Path) -> str:
    """The bearer token in a private file.

    Raises:
        ConfigError: There is none, others can read it, or it is not one line of visible ASCII.
    """
    token = read_private(path).decode("utf-8", "replace").strip()
    if not token or not all("!" <= char <= "~" for char in token):
        raise ConfigError(f"{path}: expected a token of visible ASCII in one line")
    return token


def _here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(value: str, now: datetime) -> float:
    """What `Retry-After` asks for: seconds or a date (RFC 9110, section 10.2.3); 0 when it says nothing that can be read."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _words(body: bytes) -> str:
    return " ".join(body.decode("utf-8", "replace").split())[:MAX_DETAIL]
