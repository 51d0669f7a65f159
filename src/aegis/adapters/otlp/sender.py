"""One request to a collector, and what its answer means for the batch.

Source: OTLP specification 1.5, "OTLP/HTTP Response": 429, 502, 503 and 504 may be tried again, every other refusal may not.
"""

import contextlib
import http.client
import ssl
from enum import StrEnum
from urllib.parse import urlsplit

import orjson
from msgspec import Struct

from aegis.adapters.otlp.target import Target

TIMEOUT_SECONDS = 10.0
MAX_ANSWER = 64 * 1024
_AGAIN = frozenset({429, 502, 503, 504})
_MAX_WAIT = 300.0


class Fate(StrEnum):
    """What became of a batch."""

    TAKEN = "taken"
    AGAIN = "again"
    REFUSED = "refused"


class Reply(Struct, frozen=True, kw_only=True):
    """`rejected` is how many items of a batch that was taken the collector left out; `why` is a stable word or a status."""

    fate: Fate
    why: str = ""
    rejected: int = 0
    wait_seconds: float = 0.0


class Sender:
    """Sends bodies to one collector. It follows no redirect and reads no proxy from the environment."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.url)
        self._host, self._port, self._path = parts.hostname or "", parts.port, parts.path
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._headers = {**target.headers, "content-type": "application/json", "user-agent": "aegis"}

    def send(self, what: str, body: bytes) -> Reply:
        """Send the body of `traces` or `metrics`; it never raises for what the network or the collector does."""
        connection = self._connection()
        try:
            connection.request("POST", f"{self._path}/v1/{what}", body=body, headers=self._headers)
            response = connection.getresponse()
            return _reply(response.status, response.read(MAX_ANSWER), response.headers.get("retry-after", ""))
        except (OSError, http.client.HTTPException) as error:
            return Reply(fate=Fate.AGAIN, why=type(error).__name__)
        finally:
            with contextlib.suppress(OSError):
                connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_SECONDS, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)


def _reply(status: int, body: bytes, retry_after: str) -> Reply:
    if 200 <= status < 300:
        return Reply(fate=Fate.TAKEN, rejected=_rejected(body))
    wait = float(retry_after) if retry_after.isdecimal() and retry_after.isascii() else 0.0
    fate = Fate.AGAIN if status in _AGAIN else Fate.REFUSED
    return Reply(fate=fate, why=f"status {status}", wait_seconds=min(wait, _MAX_WAIT))


def _rejected(body: bytes) -> int:
    """How many items an `Export...PartialSuccess` says were left out."""
    try:
        told = orjson.loads(body or b"{}").get("partialSuccess") or {}
        return max(0, int(told.get("rejectedSpans") or told.get("rejectedDataPoints") or 0))
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        return 0
