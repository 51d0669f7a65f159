"""The keys of one other issuer, fetched, kept, and never because a caller says so.

A key set is fetched from the address that the operator wrote down and from nowhere else: no redirects, no proxies, no cookies, five
seconds and a quarter of a megabyte at most. It is fetched again after five minutes, so that a key which the issuer took out is out,
and when a token names a key that is not in it; but not twice within ten seconds, and never twice at a time. So a flood of made-up
key ids costs the issuer one request per ten seconds, and tokens with known keys do not wait for it. While the issuer does not
answer, the keys that it gave last are believed for an hour.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

import aiohttp

from aegis.errors import IdentityError, InputError
from aegis.identity import jwks

log = logging.getLogger("aegis.issuers")
PAUSE_SECONDS = 10.0
RENEW_SECONDS = 300.0
GOOD_SECONDS = 3600.0
TIMEOUT_SECONDS = 5.0
MAX_WAITING = 64
Fetch = Callable[[], Awaitable[bytes]]


class JwkSource:
    """The key set of one issuer. It belongs to one event loop."""

    def __init__(
        self, name: str, fetch: Fetch, *, renew_seconds: float = RENEW_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._renew_seconds = renew_seconds
        self._clock = clock
        self._keys: dict[str, jwks.Key] = {}
        self._read_at = self._tried_at = float("-inf")
        self._under_way: asyncio.Task[None] | None = None
        self._waiting = 0

    async def find(self, kid: str) -> jwks.Key:
        """The issuer's key of this id; of the empty one, its only key.

        Raises:
            IdentityError: `unknown_kid`; `issuer_unreachable`: there is no key set that is fresh enough to believe.
        """
        if self._age > self._renew_seconds:
            await self._renewed()
        if self._age > GOOD_SECONDS:
            raise IdentityError("issuer_unreachable", "the issuer's keys cannot be read")
        if self._known(kid) is None:
            await self._renewed()
        return self._found(kid)

    async def find_anew(self, kid: str) -> jwks.Key:
        """As `find`, after a fetch if one may begin: for tokens that name no key, when the only one did not sign them."""
        await self._renewed()
        return self._found(kid)

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._under_way

    def _known(self, kid: str) -> jwks.Key | None:
        if not kid and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid) if kid else None

    def _found(self, kid: str) -> jwks.Key:
        found = self._known(kid)
        if found is None:
            raise IdentityError("unknown_kid")
        return found

    @property
    def _age(self) -> float:
        return self._clock() - self._read_at

    async def _renewed(self) -> None:
        """Wait for a fetch, if one is under way or may begin; so many at most that a flood cannot pile up here."""
        task = self._begin()
        if task is None or self._waiting >= MAX_WAITING:
            return
        self._waiting += 1
        try:
            await asyncio.shield(task)
        finally:
            self._waiting -= 1

    def _begin(self) -> "asyncio.Task[None] | None":
        if self._under_way is None and self._clock() - self._tried_at >= PAUSE_SECONDS:
            self._tried_at = self._clock()
            self._under_way = asyncio.create_task(self._load())
        return self._under_way

    async def _load(self) -> None:
        try:
            self._keys = jwks.parse(await self._fetch())
            self._read_at = self._clock()
        except Exception as error:  # whatever the other side sends or fails to send: the keys that were good go on
            why = str(error) if isinstance(error, InputError) else type(error).__name__
            log.error("keys of issuer %s cannot be read: %s", self._name, why)  # noqa: TRY400 - a trace would tell nothing more
        finally:
            self._under_way = None


async def fetch(session: aiohttp.ClientSession, uri: str) -> bytes:
    """The document at an address.

    Raises:
        InputError: The answer is not the document: another status, too long, or packed.
    """
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        session.get(uri, allow_redirects=False, headers={"accept": "application/json", "accept-encoding": "identity"}) as answer,
    ):
        if answer.status != 200:
            raise InputError(f"status {answer.status}")
        if "content-encoding" in answer.headers:
            raise InputError("the answer is packed")
        data = bytearray()
        async for chunk in answer.content.iter_chunked(16_384):
            data += chunk
            if len(data) > jwks.MAX_BYTES:
                raise InputError(f"longer than {jwks.MAX_BYTES} bytes")
        return bytes(data)


def session() -> aiohttp.ClientSession:
    """A session that remembers nothing and follows nothing."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=4, ttl_dns_cache=30, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
    )
