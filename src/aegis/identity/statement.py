"""What a publisher signs about a tool, a prompt or a workflow: an in-toto statement that this content is that version of it.

The statement names the tenant, so that a signature of one tenant is worth nothing in another, and the digest, so that it is worth
nothing for another content. How many must have signed is counted by owners of keys: two keys of one person are one signature, and
all `publisher` keys without an owner belong to one, the tenant.

Source: in-toto attestation framework, Statement v1.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from aegis.crypto import dsse
from aegis.crypto.jwk import PrivateKey, PublicKey
from aegis.errors import IdentityError
from aegis.identity.keyset import KeyEntry, KeySet

TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD = "application/vnd.in-toto+json"
PUBLISHER = "publisher"
PREDICATES = {
    "tool": "urn:aegis:tool-manifest:v1",
    "prompt": "urn:aegis:prompt:v1",
    "workflow": "urn:aegis:workflow:v1",
}


class Thing(Struct, frozen=True, kw_only=True):
    """What a statement is about. `name` is `payments.transfer@1.2.0` or a file of the tenant's folder; `digest` is `sha256:...`."""

    tenant: str
    kind: str
    name: str
    digest: str
    version: str = ""


class Vouched(Struct, frozen=True, kw_only=True):
    """Who stands behind a thing: owners of trusted keys, as `person:NAME`, or the tenant for keys without an owner.

    `problem` says why the statement counts for nothing, or that there is none.
    """

    owners: tuple[str, ...] = ()
    problem: str = ""


def sign(thing: Thing, key: PrivateKey, *, by: str, time: datetime, source: str, beside: bytes | None = None) -> bytes:
    """The envelope with the statement about a thing; `beside`, an envelope about the same thing, keeps its signatures.

    An envelope about anything else is replaced, because its signatures are worth nothing for this thing.
    """
    if beside is not None and not _problem(beside, thing):
        return dsse.add(beside, PAYLOAD, key)
    return dsse.sign(PAYLOAD, _statement(thing, by, time, source), key)


def vouched(envelope: bytes, thing: Thing, keys: KeySet, now: datetime) -> Vouched:
    """Who of the tenant's publishers has signed a statement about exactly this thing."""
    trusted = publishers(keys, thing.tenant, now)
    try:
        found = dsse.signed(envelope, PAYLOAD, [entry.key for entry in trusted if isinstance(entry.key, PublicKey)])
    except IdentityError as error:
        return Vouched(problem=error.reason)
    if problem := _problem(envelope, thing):
        return Vouched(problem=problem)
    owners = {entry.kid: entry.owner or f"tenant:{entry.tenant}" for entry in trusted}
    return Vouched(owners=tuple(sorted(dsse.distinct(found.kids, owners))))


def publishers(keys: KeySet, tenant: str, now: datetime) -> tuple[KeyEntry, ...]:
    """The publisher keys of a tenant that are in use at `now`; what was revoked vouches for nothing."""
    return keys.in_use(PUBLISHER, tenant, now)


def _statement(thing: Thing, by: str, time: datetime, source: str) -> dict[str, Any]:
    return {
        "_type": TYPE,
        "subject": [{"name": thing.name, "digest": {"sha256": thing.digest.removeprefix("sha256:")}}],
        "predicateType": PREDICATES[thing.kind],
        "predicate": {
            "tenant": thing.tenant,
            "kind": thing.kind,
            "version": thing.version,
            "by": by,
            "time": time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "source": source,
        },
    }


class _Subject(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    digest: dict[str, str]


class _Predicate(Struct, frozen=True):
    tenant: str
    kind: str
    version: str


class _Read(Struct, frozen=True, forbid_unknown_fields=True):
    kind: str = msgspec.field(name="_type")
    subject: list[_Subject] = []
    predicate_type: str = msgspec.field(name="predicateType", default="")
    predicate: _Predicate | None = None


def _problem(envelope: bytes, thing: Thing) -> str:
    """Why the statement in an envelope is not one about this thing; empty when it is."""
    try:
        said = msgspec.convert(dsse.content_of(dsse.signed(envelope, PAYLOAD, ()).payload), _Read)
    except IdentityError as error:
        return error.reason
    except msgspec.ValidationError:
        return "malformed"
    if said.kind != TYPE or said.predicate_type != PREDICATES[thing.kind] or said.predicate is None:
        return "wrong_predicate"
    if (said.predicate.tenant, said.predicate.kind) != (thing.tenant, thing.kind):
        return "wrong_tenant" if said.predicate.tenant != thing.tenant else "wrong_predicate"
    if len(said.subject) != 1 or (said.subject[0].name, said.predicate.version) != (thing.name, thing.version):
        return "wrong_subject"
    return "" if said.subject[0].digest == {"sha256": thing.digest.removeprefix("sha256:")} else "wrong_digest"
