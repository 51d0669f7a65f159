"""The rows and events of the registry: what a push and an activation write, each as one unit.

tenant's rows    policy-head     the number of the newest version
                 policy          a version: its signed release             id: the number
                 policy-part     the bundle, in parts                      id: number and part
system rows      policy-active   the newest signed activation of a tenant  id: the tenant
                 policy-change   every activation                          id: tenant and counter
"""

import base64
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from aegis.journal.unit import Put, Require, Unit
from aegis.model.event import SYSTEM_TENANT, Event
from aegis.policy.bundle.statement import Activation, Release
from aegis.runtime.record import text

HEAD, VERSION, PART, ACTIVE, CHANGE = "policy-head", "policy", "policy-part", "policy-active", "policy-change"
PART_BYTES = 256 * 1024
_SEPARATOR = "\x1f"


class Version(Struct, frozen=True, kw_only=True):
    """A version as it is stored: the envelope of its release, and what the release said when it was pushed."""

    envelope: str
    release: Release
    size_bytes: int
    parts: int


class Active(Struct, frozen=True, kw_only=True):
    """An activation as it is stored; `version` is that of the row, which every change raises."""

    tenant: str
    counter: int
    envelope: str
    version: int = 0


class Signed(Struct, frozen=True):
    """A statement and its envelope."""

    statement: Any
    envelope: str


def pushed(signed: Signed, packed: bytes, now: datetime, statement: str) -> Unit:
    """What a push writes: the version, the bundle in parts, and the event that tells of it."""
    release: Release = signed.statement
    parts = [packed[at : at + PART_BYTES] for at in range(0, len(packed), PART_BYTES)]
    version = Version(envelope=signed.envelope, release=release, size_bytes=len(packed), parts=len(parts))
    number = ordinal(release.number)
    data = {
        "number": release.number,
        "sha256": release.sha256,
        "revision": release.revision,
        "policy": {"name": release.name, "digest": release.policy},
        "author": release.author,
        "message": text(release.message),
        "size_bytes": len(packed),
        "envelope": signed.envelope,
        "statement": statement,
    }
    event = Event(id=f"policy-pushed:{number}", type="policy_pushed", tenant=release.tenant, time=now, data=data)
    puts = [Put(kind=PART, id=part_id(release.number, index), body=_encoded(part)) for index, part in enumerate(parts)]
    return Unit(
        tenant=release.tenant,
        events=(event,),
        requires=(
            Require(kind=HEAD, id=HEAD, version=release.number - 1),
            Require(kind=VERSION, id=number, version=0),
            *(Require(kind=PART, id=put.id, version=0) for put in puts),
        ),
        writes=(
            Put(kind=HEAD, id=HEAD, body=msgspec.json.encode(release.number)),
            Put(kind=VERSION, id=number, body=msgspec.json.encode(version), state="stored", lookup=release.sha256),
            *puts,
        ),
    )


def activated(signed: Signed, former: Active | None, now: datetime, statement: str) -> Unit:
    """What an activation writes, if nothing was activated since `former`."""
    made: Activation = signed.statement
    body = msgspec.json.encode(Active(tenant=made.tenant, counter=made.counter, envelope=signed.envelope))
    change = f"{made.tenant}{_SEPARATOR}{ordinal(made.counter)}"
    data = {
        "on_tenant": made.tenant,
        "counter": made.counter,
        "mode": made.mode,
        "enforced": _pin(made.enforced),
        "shadow": _pin(made.shadow),
        "by": made.by,
        "reason": text(made.reason),
        "envelope": signed.envelope,
        "statement": statement,
    }
    event = Event(id=event_id(made.tenant, made.counter), type="policy_activated", tenant=SYSTEM_TENANT, time=now, data=data)
    return Unit(
        tenant=SYSTEM_TENANT,
        events=(event,),
        requires=(
            Require(kind=ACTIVE, id=made.tenant, version=former.version if former else 0),
            Require(kind=CHANGE, id=change, version=0),
        ),
        writes=(
            Put(kind=ACTIVE, id=made.tenant, body=body, state="active", lookup=made.tenant),
            Put(kind=CHANGE, id=change, body=body, lookup=made.tenant),
        ),
    )


def _pin(pin: Any) -> dict[str, Any]:
    return msgspec.to_builtins(pin) if pin is not None else {}


def event_id(tenant: str, counter: int) -> str:
    """The id of the event of an activation: one for each counter."""
    return f"policy-activated:{tenant}:{ordinal(counter)}"


def ordinal(number: int) -> str:
    """A number whose text order is its order."""
    return f"{number:010d}"


def part_id(number: int, index: int) -> str:
    """The id of a part of a bundle."""
    return f"{ordinal(number)}.{index:04d}"


def _encoded(part: bytes) -> bytes:
    return msgspec.json.encode(base64.b64encode(part).decode("ascii"))
