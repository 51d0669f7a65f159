"""Speaks to agents that are services, over HTTP: one request, once, within its time, and nothing is followed or repeated."""

import aiohttp

from aegis.errors import UpstreamError
from aegis.model.upstream import UpstreamResponse

MAX_BYTES = 1_048_576
CONNECT_SECONDS = 5
CONNECTIONS = 64


class AgentEndpoints:
    """The connections of one process; they are made when they are first needed."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, token: str, timeout_seconds: float) -> UpstreamResponse:
        """As the port says."""
        limits = aiohttp.ClientTimeout(total=timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds))
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        try:
            async with self._open().post(url, data=body, headers=headers, timeout=limits, allow_redirects=False) as response:
                return UpstreamResponse(status=response.status, headers={}, body=await _whole(response))
        except TimeoutError:
            raise UpstreamError("timeout", "the agent took too long", sent=True) from None
        except aiohttp.ClientConnectorError:
            raise UpstreamError("connect_failed", "no connection", sent=False) from None
        except aiohttp.ClientError as error:
            raise UpstreamError("reset", type(error).__name__, sent=True) from None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The body, if it is within bounds."""
    found = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        found += chunk
        if len(found) > MAX_BYTES:
            raise UpstreamError("too_large", f"more than {MAX_BYTES} bytes", sent=True)
    return bytes(found)
