"""Seals payloads under data keys, and opens them again.

A tenant's key-encryption key (KEK) stays with its keeper, the port `KeyManagement`, and never comes into the database; data keys
live in the database, wrapped by it. What is cached has the tenant in its key: ids of two tenants may be equal. Destroying a data
key erases what it sealed, while the events beside it keep their proofs.
"""

import os

from aegis.crypto.seal import KEY_BYTES, NONCE_BYTES, seal, unseal
from aegis.errors import SealError
from aegis.journal.store import Store
from aegis.journal.unit import Payload
from aegis.model.keymanagement import KeyManagement

WHOLE_TENANT = ""


class Vault:
    """Data keys of all tenants, read once and kept in memory for as long as the process lives."""

    def __init__(self, store: Store, keys: KeyManagement) -> None:
        self._store = store
        self._keys = keys
        self._newest: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._by_id: dict[tuple[str, str], bytes] = {}

    async def seal(self, tenant: str, event_id: str, name: str, plaintext: bytes, subject: str = WHOLE_TENANT) -> Payload:
        """Payload `name` of the event, tied to its place so that no other row can carry it."""
        key_id, key = self._newest.get((tenant, subject)) or await self._key(tenant, subject)
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = seal(key, nonce, plaintext, _context(tenant, event_id, name))
        return Payload(event_id=event_id, name=name, key_id=key_id, nonce=nonce, ciphertext=ciphertext)

    async def open(self, tenant: str, payload: Payload) -> bytes:
        """The plaintext.

        Raises:
            SealError: The key was destroyed (the payload is erased), or the row was changed or moved.
        """
        key = self._by_id.get((tenant, payload.key_id))
        if key is None:
            wrapped = await self._store.data_key_by_id(tenant, payload.key_id)
            if wrapped is None:
                raise SealError("the data key was destroyed: this payload is erased")
            key = await self._unwrap(tenant, payload.key_id, wrapped)
        return unseal(key, payload.nonce, payload.ciphertext, _context(tenant, payload.event_id, payload.name))

    async def read(self, tenant: str, event_id: str, name: str) -> bytes | None:
        """The plaintext of an event's payload; `None` when there never was one."""
        payload = await self._store.payload(tenant, event_id, name)
        return None if payload is None else await self.open(tenant, payload)

    async def kek_id(self, tenant: str) -> str:
        """The id of the KEK that wraps the tenant's data keys now."""
        return await self._keys.kek_id(tenant)

    async def rewrap(self, tenant: str) -> int:
        """Wrap every data key of a tenant under the KEK that wraps now; how many were under another. It may be done again."""
        current, changed, after = await self._keys.kek_id(tenant), 0, ""
        while found := await self._store.data_keys(tenant, after=after):
            for key_id, former in found:
                if self._keys.wrapped_by(former) != current:
                    key = await self._keys.unwrap(tenant, former, _context(tenant, key_id, "dek"))
                    wrapped = await self._keys.wrap(tenant, key, _context(tenant, key_id, "dek"))
                    changed += await self._store.rewrap(tenant, key_id, former, wrapped)
            after = found[-1][0]
        return changed

    async def _key(self, tenant: str, subject: str) -> tuple[str, bytes]:
        stored = await self._store.data_key(tenant, subject, None)
        if stored is None:
            key_id = "dek_" + os.urandom(10).hex()
            wrapped = await self._keys.wrap(tenant, os.urandom(KEY_BYTES), _context(tenant, key_id, "dek"))
            stored = await self._store.data_key(tenant, subject, (key_id, wrapped))
        if stored is None:
            raise SealError("the store gave no data key")
        key = await self._unwrap(tenant, *stored)
        self._newest[tenant, subject] = (stored[0], key)
        return stored[0], key

    async def _unwrap(self, tenant: str, key_id: str, wrapped: bytes) -> bytes:
        key = await self._keys.unwrap(tenant, wrapped, _context(tenant, key_id, "dek"))
        self._by_id[tenant, key_id] = key
        return key


def _context(tenant: str, place: str, name: str) -> bytes:
    return f"{tenant}\0{place}\0{name}".encode()
