"""Sends notices as signed webhooks, and reads the channels of tenants and their secrets.

The address is the one that the operator wrote down: https, or this host; no redirect is followed, no proxy is read from the
environment, no cookie is kept. Of an answer the status and the first words are read, whatever its length. Secrets are read from
their files for every notice, so that a new one counts without a restart; two lines are two secrets, of which both sign.

Source: Standard Webhooks 1.0.0.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

import aiohttp
import yarl

from aegis.adapters.catalogue import read
from aegis.adapters.push import CONNECT_SECONDS, CONNECTIONS, MAX_ANSWER, check_url
from aegis.adapters.wholefile import read_private
from aegis.crypto import webhook
from aegis.errors import AegisError, ConfigError
from aegis.model.channel import FILE, Channel, Sent, parse_channels
from aegis.model.document import parse

log = logging.getLogger("aegis.webhook")

TIMEOUT_SECONDS = 20
MAX_SECRETS = 4
_MAX_WORDS = 200


class Channels:
    """The channels of all tenants as their files say; a file that was changed is read again, and a wrong one changes nothing."""

    def __init__(self, tenants: Path, root: Path, names: Callable[[], Iterable[str]]) -> None:
        """Raises ConfigError or DocumentError when a channel cannot be used: nothing starts with half of them."""
        self._tenants = tenants
        self._root = root
        self._names = names
        self._known: dict[str, tuple[Channel, ...]] = {}
        self._stamps: dict[str, tuple[int, int] | None] = {}
        for name in names():
            self._stamps[name] = self._stamp(name)
            self._known[name] = load(tenants / name, name, root)

    def all(self) -> tuple[Channel, ...]:
        """Every channel of the tenants that are served."""
        return tuple(channel for name in self._names() for channel in self.of(name))

    def of(self, tenant: str) -> tuple[Channel, ...]:
        """The channels of a tenant."""
        stamp = self._stamp(tenant)
        if tenant not in self._known or stamp != self._stamps[tenant]:
            self._stamps[tenant] = stamp
            try:
                self._known[tenant] = load(self._tenants / tenant, tenant, self._root)
            except AegisError as error:
                log.error("channels stay as they were: %s", error, extra={"tenant": tenant})  # noqa: TRY400 - no trace needed
                self._known.setdefault(tenant, ())
        return self._known[tenant]

    def find(self, tenant: str, name: str) -> Channel | None:
        """The channel of this name, in a tenant that is served."""
        return next((each for each in self.of(tenant) if each.name == name), None) if tenant in set(self._names()) else None

    def secrets(self, channel: Channel) -> list[bytes]:
        """The secrets of a channel, the newest first.

        Raises:
            ConfigError: The file cannot be used.
        """
        return secrets(self._root / channel.secret_file)

    def _stamp(self, tenant: str) -> tuple[int, int] | None:
        try:
            found = (self._tenants / tenant / FILE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def load(home: Path, tenant: str, root: Path) -> tuple[Channel, ...]:
    """The channels of a tenant; none when it has no such file.

    Raises:
        DocumentError: The document is wrong, at its place.
        ConfigError: It belongs to another tenant, or an address or a secret cannot be used.
    """
    path = home / FILE
    if not path.exists():
        return ()
    found = parse_channels(parse(read(path), source=str(path)))
    for channel in found:
        if channel.tenant != tenant:
            raise ConfigError(f"{path}: is of tenant `{channel.tenant}`, but lies below tenant `{tenant}`")
        check_url(channel.url, f"{path}: channel `{channel.name}`: url", "`secret_file`")
        secrets(root / channel.secret_file)
    return found


def secrets(path: Path) -> list[bytes]:
    """The secrets in a private file, one a line.

    Raises:
        ConfigError: There is none, others can read it, or a line is not a secret.
    """
    lines = [line.strip() for line in read_private(path).decode("utf-8", "replace").splitlines() if line.strip()]
    if not 1 <= len(lines) <= MAX_SECRETS:
        raise ConfigError(f"{path}: expected one secret a line, and at most {MAX_SECRETS}")
    try:
        return [webhook.secret(line) for line in lines]
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


class WebhookSender:
    """Posts notices to the addresses of channels."""

    def __init__(self, secrets_of: Callable[[Channel], list[bytes]], now: Callable[[], datetime]) -> None:
        self._secrets_of = secrets_of
        self._now = now
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, channel: Channel, notice_id: str, body: bytes) -> Sent:
        """Sign a notice for this moment, and send it. Whatever goes wrong is an answer; nothing is raised."""
        try:
            headers = webhook.signed(self._secrets_of(channel), notice_id, self._now(), body)
            return await self._post(channel.url, body, headers)
        except ConfigError as error:
            return Sent(status=0, detail=str(error))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return Sent(status=0, detail=type(error).__name__)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Sent:
        given = {"user-agent": "aegis", "content-type": "application/json", "accept-encoding": "identity", **headers}
        address = yarl.URL(url, encoded=True)
        async with self._opened().post(address, data=body, headers=given, allow_redirects=False) as response:
            words = await response.content.read(MAX_ANSWER)
            if not response.content.at_eof():
                response.close()  # the rest is nobody's business, and the connection holds it
            return Sent(status=response.status, detail=" ".join(words.decode("utf-8", "replace").split())[:_MAX_WORDS])

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ttl_dns_cache=30, keepalive_timeout=4),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=CONNECT_SECONDS),
            )
        return self._session
