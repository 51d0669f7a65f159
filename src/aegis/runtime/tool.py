"""One conversation with a tool: perform its call, or ask it afterwards what became of one."""

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from aegis.crypto import ijson
from aegis.errors import InputError, UpstreamError
from aegis.model.contract import Contract
from aegis.model.operation import Operation, to_request
from aegis.model.upstream import Upstream, UpstreamResponse
from aegis.runtime.ending import Seen, seen_status
from aegis.runtime.trace import Trace


class Reading(Struct, frozen=True, kw_only=True):
    """What was seen of the tool. `result` is its JSON value; `reason` a stable word when it is not `fitting`."""

    seen: Seen
    result: Any = None
    status: int = 0
    reason: str = ""


def upstream_key(tenant: str, agent_id: str, idempotency_key: str) -> str:
    """The key that the tool sees: stable for a repetition, and no agent can guess or hit another one's."""
    digest = hashlib.sha256(f"aegis-key-v1\0{tenant}\0{agent_id}\0{idempotency_key}".encode()).hexdigest()
    return f"aegis-{digest[:40]}"


class Tool:
    """Speaks to tools through the `Upstream` port, in terms of contracts."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def perform(self, contract: Contract, arguments: Mapping[str, Any], key: str, request_id: str, trace: Trace) -> Reading:
        """Perform the call once. Never repeats anything by itself."""
        headers = {"traceparent": trace.traceparent, "aegis-request-id": request_id}
        try:
            request = to_request(contract.operations["call"], arguments)
            response = await self._upstream.send(contract, request, idempotency_key=key, headers=headers)
        except UpstreamError as error:
            return _unread(error)
        except InputError:
            return Reading(seen=Seen.UNSENT, reason="unmappable")
        return _read(contract, response)

    async def ask(
        self, contract: Contract, arguments: Mapping[str, Any], key: str, request_id: str, trace: Trace
    ) -> Reading | None:
        """Whether the call of this key took effect: a fitting reading if it did, `refused` if it did not, `None` if unknown."""
        asking = contract.operations["ask"]
        headers = {"traceparent": trace.traceparent, "aegis-request-id": request_id}
        try:
            request = to_request(asking, arguments, idempotency_key=key)
            response = await self._upstream.send(contract, request, idempotency_key="", headers=headers)
        except UpstreamError as error:
            return _told(asking, error.status, Reading(seen=Seen.UNFIT, status=error.status, reason=error.reason))
        except InputError:
            return None
        return _told(asking, response.status, _read(contract, response, told=True))


def _told(asking: Operation, status: int, done: Reading) -> Reading | None:
    if status in asking.done:
        return done
    if status in asking.absent:
        return Reading(seen=Seen.REFUSED, status=status, reason="not_done")
    return None


def _unread(error: UpstreamError) -> Reading:
    """What a failed attempt still tells. A status that came with an answer we cannot take in says as much as it would with one."""
    if error.status:
        return Reading(seen=seen_status(error.status) or Seen.UNFIT, status=error.status, reason=error.reason)
    return Reading(seen=Seen.BROKEN if error.sent else Seen.UNSENT, reason=error.reason)


def _read(contract: Contract, response: UpstreamResponse, *, told: bool = False) -> Reading:
    seen = None if told else seen_status(response.status)
    if seen is not None:
        return Reading(seen=seen, status=response.status, reason="tool_refused" if seen is Seen.REFUSED else "tool_error")
    try:
        result = ijson.parse(response.body, max_size_bytes=contract.max_response_bytes) if response.body else None
    except InputError:
        return Reading(seen=Seen.UNFIT, status=response.status, reason="result_not_json")
    if contract.check_output(result):
        return Reading(seen=Seen.UNFIT, status=response.status, reason="result_breaks_contract", result=result)
    return Reading(seen=Seen.FITTING, status=response.status, result=result)
