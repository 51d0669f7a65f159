"""Pins: which content stands for which version of a tool, durably and for every process.

What a gateway sees first of a version is pinned. From then on that version means this content: another content under the same
version is found by its digest, recorded, and does not serve until a person approves it. A pin never changes by itself.

Rows of the system tenant, as halts are:

    tool-pin    a version of a tool: the digest that stands for it, who approved it, and the other digest that was found last
    tool-text   the text of a contract that is or was pinned, so that what was pinned can serve, and be compared, without its file
    tool-pins   one row that every change of a pin writes: a process sees by its version whether it has to read pins again
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Existing, Put, Require, Row, Unit
from aegis.model.contract import Contract
from aegis.model.event import SYSTEM_TENANT, Event
from aegis.model.provenance import Manifest
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.record import text

PIN, TEXT, MARK = "tool-pin", "tool-text", "tool-pins"
PINNED, QUARANTINED, FORMER = "pinned", "quarantined", "former"
ATTEMPTS = 8
AT_ONCE = 200
_SEPARATOR = "\x1f"
_MARK = Put(kind=MARK, id=MARK, body=b"{}")


class Pin(Struct, frozen=True, kw_only=True):
    """`digest` stands for this version of a tool.

    `by` is the person who approved it, empty for a first use; `found` the other digest that was found under this version, empty
    when there is none. `row` is the version of the row.
    """

    tenant: str
    tool: str
    version: str
    digest: str
    by: str = ""
    found: str = ""
    row: int = 0

    @property
    def name(self) -> str:
        """`payments.transfer@1.2.0`."""
        return f"{self.tool}@{self.version}"


class Approval(Struct, frozen=True, kw_only=True):
    """A person's approval of a content: `manifest` is what was looked at, `statement` the person's signed proof."""

    tenant: str
    manifest: Manifest
    by: str
    reason: str
    statement: str


class Pins:
    """The pins of all tenants, as last read."""

    def __init__(self, store: Store, clock: Clock, instance: str) -> None:
        self._store = store
        self._clock = clock
        self._instance = instance
        self._mark = -1
        self._known: dict[str, dict[str, Pin]] = {}

    def of(self, tenant: str) -> Mapping[str, Pin]:
        """The pins of a tenant by `NAME@VERSION`."""
        return self._known.get(tenant, {})

    async def refresh(self) -> frozenset[str]:
        """Read what changed since the last time; the tenants whose pins are others now."""
        ref = (MARK, MARK)
        row = (await self._store.rows(SYSTEM_TENANT, [ref])).get(ref)
        mark = row.version if row else 0
        if mark == self._mark:
            return frozenset()
        found: dict[str, dict[str, Pin]] = {}
        for pin in map(_pin, await self._store.find(SYSTEM_TENANT, PIN, limit=1_000_000)):
            found.setdefault(pin.tenant, {})[pin.name] = pin
        # The mark was read first: what changed meanwhile is read again at the next turn.
        before, self._known, self._mark = self._known, found, mark
        return frozenset(tenant for tenant in {*before, *found} if before.get(tenant) != found.get(tenant))

    async def first(self, manifests: Iterable[Manifest]) -> None:
        """Pin versions that were never seen; another process may be faster, and then its pin counts."""
        new = [each for each in manifests if each.contract.tenant and name(each.contract) not in self.of(each.contract.tenant)]
        for at in range(0, len(new), AT_ONCE):
            await self._first(new[at : at + AT_ONCE])
        if new:
            await self.refresh()

    async def report(self, pin: Pin, found: str) -> None:
        """Record that a version has another content here than its pin (`found` is its digest), or no longer has (empty)."""
        now = self._clock.now()
        kind = "tool_quarantined" if found else "tool_restored"
        data = {
            "on_tenant": pin.tenant,
            "tool": {"name": pin.tool, "version": pin.version},
            "digest_pinned": pin.digest,
            "digest_found": found or pin.found,
            "reason": "tool_digest_mismatch" if found else "",
            "gateway": self._instance,
        }
        changed = msgspec.structs.replace(pin, found=found)
        if await self._commit(pin, changed, _event(kind, now, data)):
            await self.refresh()

    async def approve(self, asked: Approval) -> Pin:
        """From now on this content stands for its version, in every process within a second.

        Raises:
            ConfigError: Others change the same pin at this moment.
        """
        contract = asked.manifest.contract
        for _ in range(ATTEMPTS):
            await self.refresh()
            former = self.of(asked.tenant).get(name(contract))
            now = self._clock.now()
            made = Pin(tenant=asked.tenant, tool=contract.name, version=contract.version, digest=contract.digest, by=asked.by)
            data = {
                "on_tenant": asked.tenant,
                "tool": _told(contract),
                "digest_before": former.digest if former else "",
                "digest": contract.digest,
                "by": asked.by,
                "reason": text(asked.reason),
                "statement": asked.statement,
            }
            texts = [_text(asked.manifest, PINNED)]
            if former is not None and former.digest != contract.digest:
                texts += await self._former(asked.tenant, former.digest)
            if await self._commit(former, made, _event("tool_approved", now, data), *texts):
                await self.refresh()
                return self.of(asked.tenant)[made.name]
        raise ConfigError("others are changing the pin of this tool at this moment: look at `aegis tools verify` and try again")

    async def texts(self, tenant: str, digests: Iterable[str]) -> dict[str, str]:
        """The texts of contracts that are or were pinned, by digest; one that was never pinned is missing."""
        refs = {(TEXT, _id(tenant, digest)): digest for digest in digests}
        rows = await self._store.rows(SYSTEM_TENANT, list(refs)) if refs else {}
        return {refs[ref]: msgspec.json.decode(row.body, type=str) for ref, row in rows.items()}

    async def former(self) -> dict[str, dict[str, str]]:
        """By tenant and digest, the texts of contracts that are pinned no longer."""
        found: dict[str, dict[str, str]] = {}
        for row in await self._store.find(SYSTEM_TENANT, TEXT, state=FORMER, limit=100_000):
            tenant, _, digest = row.id.partition(_SEPARATOR)
            found.setdefault(tenant, {})[digest] = msgspec.json.decode(row.body, type=str)
        return found

    async def _first(self, manifests: list[Manifest]) -> None:
        """One unit; when another process was faster with some of them, each by itself."""
        if isinstance(await self._store.commit(self._registered(manifests)), Committed) or len(manifests) == 1:
            return
        for each in manifests:
            await self._store.commit(self._registered([each]))

    def _registered(self, manifests: list[Manifest]) -> Unit:
        now = self._clock.now()
        made = [
            Pin(tenant=c.tenant, tool=c.name, version=c.version, digest=c.digest) for c in (each.contract for each in manifests)
        ]
        events = [
            _event(
                "tool_registered",
                now,
                {
                    "on_tenant": each.contract.tenant,
                    "tool": _told(each.contract),
                    "signed_by": list(each.owners),
                    "gateway": self._instance,
                },
                f"{each.contract.tenant}:{name(each.contract)}",
            )
            for each in manifests
        ]
        return Unit(
            tenant=SYSTEM_TENANT,
            events=tuple(events),
            requires=tuple(Require(kind=PIN, id=_id(pin.tenant, pin.name), version=0) for pin in made),
            writes=(*map(_put, made), *(_text(each, PINNED) for each in manifests), _MARK),
        )

    async def _commit(self, former: Pin | None, made: Pin, event: Event, *texts: Put) -> bool:
        unit = Unit(
            tenant=SYSTEM_TENANT,
            events=(event,),
            requires=(Require(kind=PIN, id=_id(made.tenant, made.name), version=former.row if former else 0),),
            writes=(_put(made), *texts, _MARK),
        )
        return isinstance(await self._store.commit(unit), Committed | Existing)

    async def _former(self, tenant: str, digest: str) -> list[Put]:
        found = await self.texts(tenant, [digest])
        return [
            Put(kind=TEXT, id=_id(tenant, digest), body=msgspec.json.encode(each), state=FORMER, lookup=tenant)
            for each in found.values()
        ]


def name(contract: Contract) -> str:
    """`payments.transfer@1.2.0`."""
    return f"{contract.name}@{contract.version}"


def _told(contract: Contract) -> dict[str, Any]:
    return {"name": contract.name, "version": contract.version, "digest": contract.digest, "effect": contract.effect}


def _event(kind: str, now: datetime, data: dict[str, Any], what: str = "") -> Event:
    return Event(id=f"{kind}:{what or ids.uuid7(now)}", type=kind, tenant=SYSTEM_TENANT, time=now, data=data)


def _id(tenant: str, what: str) -> str:
    return f"{tenant}{_SEPARATOR}{what}"


def _put(pin: Pin) -> Put:
    body = msgspec.json.encode(msgspec.structs.replace(pin, row=0))
    return Put(kind=PIN, id=_id(pin.tenant, pin.name), body=body, state=QUARANTINED if pin.found else PINNED, lookup=pin.tenant)


def _pin(row: Row) -> Pin:
    return msgspec.structs.replace(msgspec.json.decode(row.body, type=Pin), row=row.version)


def _text(manifest: Manifest, state: str) -> Put:
    contract = manifest.contract
    return Put(
        kind=TEXT,
        id=_id(contract.tenant, contract.digest),
        body=msgspec.json.encode(manifest.text),
        state=state,
        lookup=contract.tenant,
    )
