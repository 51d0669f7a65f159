"""Seals payloads under data keys, and opens them again.

A tenant's key-encryption key (KEK) stays with its keeper, the port `KeyManagement`, and never comes into the database; data keys
live in the database, wrapped by it, one for each data subject (`model.datasubject`). Destroying a data key erases what it sealed,
while the events beside it keep their proofs.

The newest and the most used keys are kept in memory, at most `KEPT` of them; what is kept has the tenant in its name, since ids of
two tenants may be equal. A key may be destroyed by another process at any moment. A commit refuses a payload whose key is gone, so
nothing is sealed in vain: `refused` forgets that key, and the caller seals again under a new one. `refresh` forgets, every second,
the keys of tenants in which something was erased, so that nothing erased is opened for longer than that.
"""

import os
from collections import Counter, OrderedDict
from typing import Generic, TypeVar

from aegis.crypto.seal import KEY_BYTES, NONCE_BYTES, seal, unseal
from aegis.errors import ErasedError, SealError
from aegis.journal.store import Store
from aegis.journal.unit import Conflict, Payload, Receipt
from aegis.model.keymanagement import KeyManagement

WHOLE_TENANT = ""
KEPT = 8192
ERASURES = ("erasures", "keys")
"""The row of a tenant whose version rises with every erasure."""
EVERY_SECONDS = 0.8

Value = TypeVar("Value")


class _Kept(Generic[Value]):
    """The values that were used last, by (tenant, name)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[tuple[str, str], Value] = OrderedDict()

    def get(self, tenant: str, name: str) -> Value | None:
        found = self._values.get((tenant, name))
        if found is not None:
            self._values.move_to_end((tenant, name))
        return found

    def put(self, tenant: str, name: str, value: Value) -> None:
        self._values[tenant, name] = value
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def forget(self, tenant: str) -> None:
        for place in [place for place in self._values if place[0] == tenant]:
            del self._values[place]

    def tenants(self) -> set[str]:
        return {tenant for tenant, _ in self._values}


class Vault:
    """Data keys of all tenants."""

    def __init__(self, store: Store, keys: KeyManagement) -> None:
        self._store = store
        self._keys = keys
        self._newest: _Kept[tuple[str, bytes]] = _Kept(KEPT)
        self._by_id: _Kept[bytes] = _Kept(KEPT)
        self._erasures: dict[str, int] = {}
        self._turns: Counter[str] = Counter()

    async def seal(self, tenant: str, event_id: str, name: str, plaintext: bytes, subject: str = WHOLE_TENANT) -> Payload:
        """Payload `name` of the event, tied to its place so that no other row can carry it, under the key of `subject`."""
        key_id, key = self._newest.get(tenant, subject) or await self._key(tenant, subject)
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = seal(key, nonce, plaintext, _context(tenant, event_id, name))
        return Payload(event_id=event_id, name=name, key_id=key_id, nonce=nonce, ciphertext=ciphertext)

    async def open(self, tenant: str, payload: Payload) -> bytes:
        """The plaintext.

        Raises:
            ErasedError: The key was destroyed.
            SealError: The row was changed or moved.
        """
        key = self._by_id.get(tenant, payload.key_id)
        if key is None:
            turn = self._turns[tenant]
            wrapped = await self._store.data_key_by_id(tenant, payload.key_id)
            if wrapped is None:
                raise ErasedError("the data key was destroyed: this payload is erased")
            key = await self._unwrap(tenant, payload.key_id, wrapped, turn)
        return unseal(key, payload.nonce, payload.ciphertext, _context(tenant, payload.event_id, payload.name))

    async def read(self, tenant: str, event_id: str, name: str) -> bytes | None:
        """The plaintext of an event's payload; `None` when there never was one."""
        payload = await self._store.payload(tenant, event_id, name)
        return None if payload is None else await self.open(tenant, payload)

    def refused(self, tenant: str, receipt: Receipt) -> bool:
        """Whether a commit was refused because a key was destroyed meanwhile, which is then forgotten: seal anew, commit anew."""
        gone = isinstance(receipt, Conflict) and bool(receipt.keys)
        if gone:
            self.forget(tenant)
        return gone

    def forget(self, tenant: str) -> None:
        """Keep no key of the tenant in memory; those that still stand are read again when they are needed."""
        self._turns[tenant] += 1  # what was being read at this moment may be gone already, and is not kept
        self._newest.forget(tenant)
        self._by_id.forget(tenant)

    async def refresh(self) -> None:
        """Forget the keys of every tenant in which something was erased since the last look."""
        for tenant in self._newest.tenants() | self._by_id.tenants():
            row = (await self._store.rows(tenant, [ERASURES])).get(ERASURES)
            version = row.version if row else 0
            if self._erasures.get(tenant) != version:  # the first look, too: keys may be older than it
                self._erasures[tenant] = version
                self.forget(tenant)

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
        turn = self._turns[tenant]
        stored = await self._store.data_key(tenant, subject, None)
        if stored is None:
            key_id = "dek_" + os.urandom(10).hex()
            wrapped = await self._keys.wrap(tenant, os.urandom(KEY_BYTES), _context(tenant, key_id, "dek"))
            stored = await self._store.data_key(tenant, subject, (key_id, wrapped))
        if stored is None:
            raise SealError("the store gave no data key")
        key = await self._unwrap(tenant, *stored, turn)
        if turn == self._turns[tenant]:
            self._newest.put(tenant, subject, (stored[0], key))
        return stored[0], key

    async def _unwrap(self, tenant: str, key_id: str, wrapped: bytes, turn: int) -> bytes:
        key = await self._keys.unwrap(tenant, wrapped, _context(tenant, key_id, "dek"))
        if turn == self._turns[tenant]:
            self._by_id.put(tenant, key_id, key)
        return key


def _context(tenant: str, place: str, name: str) -> bytes:
    return f"{tenant}\0{place}\0{name}".encode()
