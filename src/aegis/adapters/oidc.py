"""Tokens of other issuers at this gateway: reads who is believed, holds their keys, and says what a token stands for.

TENANT/issuers.yaml   which issuers the tenant believes, and how their tokens are mapped (`identity.issuers`); optional

The document is followed while the gateway serves. One that is broken leaves what was good in force and is told by `refresh`; one
that is gone means that the tenant believes nobody but itself. Each tenant has its own keys of an issuer, so that a flood at one
tenant leaves the others alone.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import aiohttp
import cachebox
from msgspec import Struct

from aegis.adapters import jwksource
from aegis.adapters.catalogue import read
from aegis.adapters.jwksource import Fetch, JwkSource
from aegis.adapters.wholefile import read_regular
from aegis.errors import AegisError, ConfigError, IdentityError
from aegis.identity import foreign, jwks
from aegis.identity.foreign import Foreign, Mapped
from aegis.identity.issuers import Issuer, Issuers, parse_issuers
from aegis.model.document import parse

FILE = "issuers.yaml"
EVERY_SECONDS = 0.5
FILE_SECONDS = 10.0
REFUSED = 4_096
_Stamp = tuple[int, int, int] | None


class _Believed(Struct, frozen=True):
    """What a tenant's document said when it was read, and the keys of each issuer."""

    stamp: _Stamp
    issuers: Issuers | None
    sources: dict[str, JwkSource]


class OtherIssuers:
    """The issuers that the tenants believe. `tenants` gives the names of those that are served now."""

    def __init__(self, root: Path, tenants: Callable[[], Iterable[str]]) -> None:
        self._root = root
        self._tenants = tenants
        self._believed: dict[str, _Believed] = {}
        self._session: aiohttp.ClientSession | None = None
        self._refused: cachebox.LRUCache[bytes, str | None] = cachebox.LRUCache(REFUSED)

    async def principal_of(self, tenant: str, token: str, now: datetime) -> Mapped:
        """What the token stands for in a tenant.

        Raises:
            IdentityError: With the reason: `unknown_issuer`, `unknown_kid`, `issuer_unreachable`, those of `foreign.verify` and of
                `foreign.mapped`.
        """
        digest = _digest(tenant, token)
        if (reason := self._refused.get(digest)) is not None:
            raise IdentityError(reason)
        try:
            return await self._mapped(tenant, token, now)
        except _FinalError as error:
            self._refused[digest] = error.reason
            raise IdentityError(error.reason, str(error)) from None

    async def refresh(self) -> None:
        """Take in documents that are new or changed.

        Raises:
            AegisError: One is wrong; what it said before goes on, and all others have been looked at.
        """
        troubles: list[AegisError] = []
        for tenant in self._tenants():
            stamp = _stamp(self._root / tenant / FILE)
            known = self._believed.get(tenant)
            if known is not None and known.stamp == stamp:
                continue
            try:
                found = await asyncio.to_thread(load, self._root, tenant)
            except AegisError as error:
                troubles.append(error)
                continue
            self._believed[tenant] = _Believed(stamp, found, self._sources(tenant, found, known))
        if troubles:
            raise troubles[0]

    async def close(self) -> None:
        """Let go of connections."""
        for known in self._believed.values():
            for source in known.sources.values():
                await source.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _mapped(self, tenant: str, text: str, now: datetime) -> Mapped:
        token = _parsed(text)
        known = self._believed.get(tenant)
        issuer = known.issuers.by_name.get(token.issuer) if known and known.issuers else None
        if known is None or issuer is None:
            raise IdentityError("unknown_issuer", "the tenant does not believe this issuer")
        return foreign.mapped(token, issuer, await _verified(token, issuer, known.sources[issuer.issuer], now))

    def _sources(self, tenant: str, found: Issuers | None, before: _Believed | None) -> dict[str, JwkSource]:
        """A source for each issuer; those whose address is what it was keep their keys."""
        old = before.issuers.by_name if before and before.issuers else {}
        sources: dict[str, JwkSource] = {}
        for name, issuer in (found.by_name if found else {}).items():
            same = name in old and (old[name].jwks_uri, old[name].jwks_file) == (issuer.jwks_uri, issuer.jwks_file)
            sources[name] = before.sources[name] if before and same else _source(name, self._fetch(tenant, issuer), issuer)
        return sources

    def _fetch(self, tenant: str, issuer: Issuer) -> Fetch:
        async def from_uri() -> bytes:
            if self._session is None:
                self._session = jwksource.session()
            return await jwksource.fetch(self._session, issuer.jwks_uri)

        async def from_file() -> bytes:
            return await asyncio.to_thread(read_regular, self._root / tenant / issuer.jwks_file, jwks.MAX_BYTES)

        return from_uri if issuer.jwks_uri else from_file


def _source(name: str, fetch: Fetch, issuer: Issuer) -> JwkSource:
    return JwkSource(name, fetch) if issuer.jwks_uri else JwkSource(name, fetch, renew_seconds=FILE_SECONDS)


def load(root: Path, tenant: str) -> Issuers | None:
    """The issuers that a tenant believes; `None` when it has no document.

    Raises:
        DocumentError: The document is wrong, at its place.
        ConfigError: It is of another tenant.
    """
    path = root / tenant / FILE
    if not path.exists():
        return None
    stated = parse_issuers(parse(read(path), source=str(path)))
    if stated.tenant != tenant:
        raise ConfigError(f"{path}: is of tenant `{stated.tenant}`, but lies below tenant `{tenant}`")
    return stated


class _FinalError(IdentityError):
    """A refusal that no later key set can change."""


def _parsed(text: str) -> Foreign:
    try:
        return foreign.parse(text)
    except IdentityError as error:
        raise _FinalError(error.reason, str(error)) from None


async def _verified(token: Foreign, issuer: Issuer, source: JwkSource, now: datetime) -> datetime:
    key = await source.find(token.kid)
    try:
        return foreign.verify(token, issuer, key, now)
    except IdentityError as error:
        if error.reason != "bad_signature":
            raise
        if token.kid:
            raise _FinalError(error.reason) from None
    return foreign.verify(token, issuer, await source.find_anew(token.kid), now)


def _digest(tenant: str, token: str) -> bytes:
    if len(token) > foreign.MAX_TOKEN:  # before hashing: what is refused must stay cheap
        raise IdentityError("malformed", "not a compact JWS")
    return hashlib.sha256(f"{tenant}\0{token}".encode("utf-8", "surrogatepass")).digest()


def _stamp(path: Path) -> _Stamp:
    try:
        found = os.stat(path)  # noqa: PTH116 - looked at several times a second
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
