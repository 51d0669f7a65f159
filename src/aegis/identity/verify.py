"""Verification with a memory, which is safe because it is checked again on every hit.

What is remembered is only that a token text carries a good signature and well-formed claims. Time, the key's presence in the set and
its class are looked at anew each time, so a token dies at its `exp` and with its key, cached or not. Texts that were refused for
good (malformed, forged) are remembered too, by their hash; nothing is remembered by key id, so a flood of made-up ids costs a parse
and a look-up each.
"""

import hashlib
from datetime import datetime

import cachebox

from aegis.crypto.jws import parse
from aegis.errors import IdentityError
from aegis.identity.keyset import KeySet
from aegis.identity.token import (
    ACCESS,
    KEY_CLASS,
    PERSON,
    Access,
    Override,
    Person,
    Statement,
    check_times,
    verify_access,
    verify_override,
    verify_person,
    verify_statement,
)

CACHED, REFUSED = 20_000, 4_096
_FINAL = frozenset({"malformed", "bad_algorithm", "bad_signature"})


class Verifier:
    """Holds the key set and the memory. `swap` takes a new key set; what was remembered is checked against it."""

    def __init__(self, keys: KeySet, *, audience: str) -> None:
        self._keys = keys
        self._audience = audience
        self._good: cachebox.LRUCache[bytes, Access] = cachebox.LRUCache(CACHED)
        self._bad: cachebox.LRUCache[bytes, str] = cachebox.LRUCache(REFUSED)

    def swap(self, keys: KeySet) -> None:
        """Use `keys` from now on."""
        self._keys = keys
        self._bad.clear()

    def kind(self, token: str) -> str:
        """`person` when the text claims to be a person's token, else `agent`; nothing is verified by this."""
        if self._good.get(_digest(token)) is not None:
            return "agent"
        return "person" if parse(token).typ == PERSON else "agent"

    def access(self, token: str, *, now: datetime) -> Access:
        """What an access token says.

        Raises:
            IdentityError: With the reason.
        """
        digest = _digest(token)
        found = self._good.get(digest)
        if found is not None:
            check_times(found.not_before, found.expires_at, now)
            self._keys.find(found.kid, KEY_CLASS[ACCESS], now)
            return found
        if (reason := self._bad.get(digest)) is not None:
            raise IdentityError(reason)
        try:
            found = verify_access(parse(token), self._keys, audience=self._audience, now=now)
        except IdentityError as error:
            if error.reason in _FINAL:
                self._bad[digest] = error.reason
            raise
        self._good[digest] = found
        return found

    def override(self, token: str, *, now: datetime) -> Override:
        """What an override token says."""
        return verify_override(parse(token), self._keys, audience=self._audience, now=now)

    def statement(self, token: str, *, now: datetime) -> Statement:
        """What a person signed about an approval."""
        return verify_statement(parse(token), self._keys, now=now)

    def person(self, token: str, *, now: datetime) -> Person:
        """Who proved to hold their key."""
        return verify_person(parse(token), self._keys, audience=self._audience, now=now)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
