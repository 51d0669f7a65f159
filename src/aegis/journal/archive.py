"""An archive: the bundle of events that are let go of, and what was sealed beside them, as it was sealed.

    payloads.jsonl   one payload a line: event_id, name, key_id, and in base64 nonce and ciphertext

An archive is verified as any bundle that holds a part of the events (`aegis-verify --part`): it has the leaves of the whole log.
Its payloads open with the data keys, which stay in the store, so an erasure reaches into archives that nobody can find any more.
That a payload is the one that was decided on is told by its event, which holds a digest of nonce and ciphertext.
"""

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator

import msgspec
from msgspec import Struct

from aegis.journal import bundle
from aegis.journal.bundle import Bundle, File
from aegis.journal.store import Store
from aegis.journal.unit import Payload

PAYLOADS = "payloads.jsonl"
_PAGE = 500


class _Line(Struct, frozen=True, kw_only=True):
    event_id: str
    name: str
    key_id: str
    nonce: str
    ciphertext: str


async def files(store: Store, wanted: Bundle) -> AsyncIterator[File]:
    """Name and content of each file."""
    async for file in bundle.files(store, wanted):
        yield file
    yield PAYLOADS, _payloads(store, wanted)


async def kept_beside(store: Store, tenant: str, first: int, last: int) -> AsyncIterator[Payload]:
    """What is sealed beside the events from `first` to `last`, in their order."""
    for low in range(first, last + 1, _PAGE):
        for payload in await store.payloads(tenant, low, min(low + _PAGE, last + 1)):
            yield payload


def read_payload(line: bytes) -> Payload:
    """The payload of a line.

    Raises:
        ValueError: It is none.
    """
    found = msgspec.json.decode(line, type=_Line)
    return Payload(
        event_id=found.event_id,
        name=found.name,
        key_id=found.key_id,
        nonce=b64decode(found.nonce, validate=True),
        ciphertext=b64decode(found.ciphertext, validate=True),
    )


async def _payloads(store: Store, wanted: Bundle) -> AsyncIterator[bytes]:
    async for payload in kept_beside(store, wanted.tenant, wanted.first, wanted.last):
        line = _Line(
            event_id=payload.event_id,
            name=payload.name,
            key_id=payload.key_id,
            nonce=b64encode(payload.nonce).decode(),
            ciphertext=b64encode(payload.ciphertext).decode(),
        )
        yield msgspec.json.encode(line) + b"\n"
