"""Makes tokens, good ones and ones that nobody should accept."""

import json
from datetime import UTC, datetime, timedelta

from aegis.crypto import es256
from aegis.crypto.jwk import PrivateKey, encode, private_key
from aegis.identity.access import build_access
from aegis.identity.keyset import KeyEntry, KeySet
from aegis.identity.token import Override, Typed, build_override, build_person, build_statement, mint

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
AUDIENCE = "aegis-gateway"
HASH = "sha256:" + "0" * 64
USES = {
    "sts": ("sts", "acme", ""),
    "override": ("override", "acme", ""),
    "human": ("human", "acme", "person:alice"),
    "workload": ("workload", "acme", "agent:planner"),
    "log": ("log", "acme", ""),
    "publisher": ("publisher", "acme", ""),
    "bundle": ("bundle", "acme", ""),
    "sts of globex": ("sts", "globex", ""),
    "override of globex": ("override", "globex", ""),
    "human of globex": ("human", "globex", "person:alice"),
    "human bob": ("human", "acme", "person:bob"),
}


def key_of(use: str) -> PrivateKey | es256.PrivateKey:
    """The key of a use; a made-up one of nobody when no key set lists the use."""
    seed = use.encode().ljust(32, b".")
    return es256.private_key(seed) if use == "bundle" else private_key(seed)


def entry_of(use: str, **change: object) -> KeyEntry:
    key_class, tenant, owner = USES[use]
    fields = {"key_class": key_class, "tenant": tenant, "owner": owner, "not_before": NOW - timedelta(days=1)}
    return KeyEntry(key=key_of(use).public, **fields | change)


KEYS = KeySet(entry_of(use) for use in USES)


def access(**change: object) -> Typed:
    fields = {
        "tenant": "acme",
        "agent_id": "agent:planner",
        "subject": "user:nora",
        "roles": ("planner",),
        "scopes": ("payments.*", "records.read"),
        "audience": AUDIENCE,
        "now": NOW,
        "token_id": "tok_1",
    }
    return build_access(**fields | change)


def override(**change: object) -> Typed:
    fields = {"tenant": "acme", "agent_id": "agent:planner", "approval_id": "apr_1", "request_hash": HASH, "token_id": "tok_2"}
    return build_override(Override(**fields | change), now=NOW, ttl=timedelta(seconds=60), audience=AUDIENCE)


def statement(**change: object) -> Typed:
    fields = {
        "approval_id": "apr_1",
        "tenant": "acme",
        "request_hash": HASH,
        "approve": True,
        "shown": HASH,
        "approver": "person:alice",
        "reason": "ok",
        "now": NOW,
    }
    return build_statement(**fields | change)


def person(**change: object) -> Typed:
    return build_person(**{"tenant": "acme", "person": "person:alice", "audience": AUDIENCE, "now": NOW} | change)


TYPES = {"at+jwt": access, "override+jwt": override, "approval+jwt": statement, "person+jwt": person}
SIGNER = {"at+jwt": "sts", "override+jwt": "override", "approval+jwt": "human", "person+jwt": "human"}


def good(typ: str = "at+jwt") -> str:
    """A token that is accepted at `NOW`."""
    return mint(TYPES[typ](), key_of(SIGNER[typ]))


def raw(header: bytes, payload: bytes, key: PrivateKey) -> str:
    """A token over these very bytes, truly signed."""
    signed = f"{encode(header)}.{encode(payload)}"
    return f"{signed}.{encode(key.sign(signed.encode()))}"


def forged(
    header: dict[str, object] | None = None, claims: dict[str, object] | None = None, *, use: str = "sts", typ: str = "at+jwt"
) -> str:
    """A truly signed token with members of header and claims replaced; a member whose new value is `...` is taken out."""
    key = key_of(use)
    head = {"alg": "Ed25519", "typ": typ, "kid": key.kid} | (header or {})
    body = TYPES[typ]().claims | (claims or {})
    return raw(*(json.dumps({k: v for k, v in part.items() if v is not ...}).encode() for part in (head, body)), key)
