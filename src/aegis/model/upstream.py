"""The port towards tools: send one request, once."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from aegis.model.contract import Contract
from aegis.model.operation import OutgoingRequest


class UpstreamResponse(Struct, frozen=True, kw_only=True):
    """What the tool answered. `headers` are in lower case; `body` is whole and within the contract's limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Upstream(Protocol):
    """Speaks to tools. Never repeats a request by itself, never follows a redirect, never forwards a caller's credential."""

    async def send(
        self, contract: Contract, request: OutgoingRequest, *, idempotency_key: str, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        """The tool's answer.

        Raises:
            UpstreamError: `sent` is false only when surely no byte of the request can have reached the tool. Reasons:
                `connect_failed`, `credential_missing`, `timeout`, `reset`, `truncated`, `too_large`, `bad_response`, `encoded`,
                `redirect`.
        """
