"""What someone wants done."""

from typing import Any

from msgspec import Struct

from aegis.crypto.canonical import canon, canon_numbers
from aegis.crypto.digest import sha256
from aegis.model.principal import Principal

HASH_DOMAIN = b"aegis-req-v1\0"


class Proposal(Struct, frozen=True, kw_only=True):
    """One tool call that somebody asks for; nothing has been decided yet.

    `request_hash` is what an approval and an idempotency key are bound to. It leaves out the request id (which differs with
    each attempt) and the policy version (a reload must not void an approval that has waited for days).
    """

    principal: Principal
    tool: str
    arguments: dict[str, Any]
    tool_version: str = ""
    tool_digest: str = ""
    environment: str = ""
    idempotency_key: str = ""
    request_id: str = ""
    request_hash: str = ""


def request_hash(principal: Principal, tool: str, tool_digest: str, arguments: dict[str, Any], idempotency_key: str) -> str:
    """Digest of everything that makes two requests the same request.

    Arguments may hold numbers where their contract says `number`; those follow the number rules of RFC 8785, so `1` and `1.0`
    are the same there.
    """
    head = {
        "tenant": principal.tenant,
        "agent_id": principal.agent_id,
        "txn": principal.txn,
        "task": principal.task,
        "tool": tool,
        "tool_digest": tool_digest,
        "idempotency_key": idempotency_key,
    }
    return sha256(HASH_DOMAIN, canon(head), b"\0", canon_arguments(arguments))


def canon_arguments(arguments: dict[str, Any]) -> bytes:
    """Canonical bytes of arguments, floats included."""
    return canon_numbers(arguments) if _has_float(arguments) else canon(arguments)


def _has_float(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is float:
            return True
        if type(item) is dict:
            stack.extend(item.values())
        elif type(item) is list:
            stack.extend(item)
    return False
