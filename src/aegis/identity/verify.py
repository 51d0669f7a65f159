"""Verification with a memory, which is safe because it is checked again on every hit.

What is remembered is only that a token text carries a good signature and well-formed claims, and that for a minute at most. Time,
the key's presence in the set, its class and its tenant, and what was revoked are looked at anew each time, so a token dies at its
`exp`, with its key, with its epoch and with its ancestors, remembered or not. Texts that were refused for good (malformed, forged)
are remembered too, by their hash; nothing is remembered by key id, so a flood of made-up ids costs a header and a look-up each.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import cachebox
from msgspec import Struct

from aegis.crypto.jws import MAX_TOKEN, parse, stated_type
from aegis.errors import IdentityError
from aegis.identity.access import Access, verify_access
from aegis.identity.assertion import Assertion, verify_assertion
from aegis.identity.claims import check_times, expect
from aegis.identity.delegation import Delegation, verify_delegation
from aegis.identity.epoch import EVERYBODY, LONG_AGO, Epochs, Revoked
from aegis.identity.keyset import KeySet
from aegis.identity.token import (
    ACCESS,
    KEY_CLASS,
    PERSON,
    Override,
    Person,
    Statement,
    verify_override,
    verify_person,
    verify_statement,
)

CACHED, REFUSED = 20_000, 4_096
REMEMBERED = timedelta(seconds=60)
LOOKS = timedelta(seconds=1)
Said = TypeVar("Said")
_FINAL = frozenset({"malformed", "bad_algorithm", "bad_signature"})


class _Known(Struct, frozen=True):
    """A token that was verified whole at `since`."""

    access: Access
    since: datetime


class Verifier:
    """Holds the key set, the epochs and the memory. Calls may come from many threads."""

    def __init__(self, keys: KeySet, *, audience: str, look: Callable[[], KeySet] | None = None) -> None:
        """`look` gives the key set as it is now: it is asked when a token names a key that is not known, at most once a second."""
        self._keys = keys
        self._look = look
        self._looked = LONG_AGO
        self._audience = audience
        self._epochs = Epochs()
        self._revoked = Revoked()
        self._good: cachebox.LRUCache[bytes, _Known | None] = cachebox.LRUCache(CACHED)
        self._bad: cachebox.LRUCache[bytes, str | None] = cachebox.LRUCache(REFUSED)

    def swap(self, keys: KeySet) -> None:
        """Use `keys` from now on. Nothing has to be forgotten: what is remembered is held against the set on each hit."""
        self._keys = keys

    def revoke(self, tenant: str, *, before: datetime, who: str = EVERYBODY) -> None:
        """Refuse (`revoked`) what was issued before `before` in the tenant, or to one agent, person or any child of that agent.

        This is kept in memory only: tell it again after a restart, for as long as the longest token lives.
        """
        self._epochs = self._epochs.begin(tenant, who, before)

    def hold(self, revoked: Revoked) -> None:
        """Refuse exactly these tokens from now on, and everything that hangs on them; keep telling what still matters."""
        self._revoked = revoked

    def kind(self, token: str) -> str:
        """`person` when the text claims to be a person's token, else `agent`; nothing is verified by this."""
        if _digest(token) in self._good:  # which holds access tokens only
            return "agent"
        return "person" if stated_type(token) == PERSON else "agent"

    def access(self, token: str, *, now: datetime) -> Access:
        """What an access token says.

        Raises:
            IdentityError: With the reason.
        """
        digest = _digest(token)
        known = self._good.get(digest)
        if known is not None and known.since <= now < known.since + REMEMBERED:
            self._still_good(known.access, now)
            return known.access
        if (reason := self._bad.get(digest)) is not None:
            raise IdentityError(reason)
        try:
            access = self._by_known_keys(now, lambda keys: verify_access(parse(token), keys, audience=self._audience, now=now))
        except IdentityError as error:
            if error.reason in _FINAL:
                self._bad[digest] = error.reason
            raise
        self._good[digest] = _Known(access, now)
        self._stands(access)
        return access

    def delegation(self, token: str, *, now: datetime) -> Delegation:
        """What a delegation says, if nothing that it hangs on was taken back."""
        found = self._by_known_keys(now, lambda keys: verify_delegation(parse(token), keys, audience=self._audience, now=now))
        above = tuple(dict.fromkeys((found.agent_id, *found.chain)))
        self.standing(found.tenant, found.to, found.issued_at, token_id=found.token_id, above=above, ancestors=found.ancestors)
        return found

    def assertion(self, token: str, *, now: datetime) -> Assertion:
        """Which agent proved to hold its key."""
        found = self._by_known_keys(now, lambda keys: verify_assertion(parse(token), keys, now=now))
        self.standing(found.tenant, found.agent_id, found.issued_at)
        return found

    def override(self, token: str, *, now: datetime) -> Override:
        """What an override token says."""
        found = self._by_known_keys(now, lambda keys: verify_override(parse(token), keys, audience=self._audience, now=now))
        self.standing(found.tenant, found.agent_id, found.issued_at, token_id=found.token_id)
        return found

    def statement(self, token: str, *, now: datetime) -> Statement:
        """What a person signed about an approval."""
        found = self._by_known_keys(now, lambda keys: verify_statement(parse(token), keys, now=now))
        self.standing(found.tenant, found.approver, found.issued_at)
        return found

    def person(self, token: str, *, now: datetime) -> Person:
        """Who proved to hold their key."""
        found = self._by_known_keys(now, lambda keys: verify_person(parse(token), keys, audience=self._audience, now=now))
        self.standing(found.tenant, found.person, found.issued_at)
        return found

    def standing(
        self,
        tenant: str,
        name: str,
        issued_at: datetime,
        *,
        token_id: str = "",
        above: tuple[str, ...] = (),
        ancestors: tuple[str, ...] = (),
    ) -> None:
        """Refuse what was taken back since it was issued to `name`.

        `above` are the agents on whose behalf it was issued, `ancestors` the ids of the tokens that it hangs on.

        Raises:
            IdentityError: `revoked`, `ancestor_revoked`.
        """
        self._epochs.check(tenant, name, issued_at, above)
        self._revoked.check(tenant, token_id, ancestors)

    def _by_known_keys(self, now: datetime, verify: Callable[[KeySet], Said]) -> Said:
        """What `verify` says by the keys that are known; one may be newer than the last look at them, so it is looked for.

        A flood of made-up key ids makes one look a second, whatever their number.
        """
        try:
            return verify(self._keys)
        except IdentityError as error:
            if error.reason != "unknown_kid" or self._look is None or abs(now - self._looked) < LOOKS:
                raise
        self._looked, self._keys = now, self._look()
        return verify(self._keys)

    def _still_good(self, access: Access, now: datetime) -> None:
        check_times(access.not_before, access.expires_at, now)
        entry = self._keys.find(access.kid, KEY_CLASS[ACCESS], now)
        expect(entry.tenant == access.tenant, "wrong_tenant")
        self._stands(access)

    def _stands(self, access: Access) -> None:
        self.standing(
            access.tenant,
            access.agent_id,
            access.issued_at,
            token_id=access.token_id,
            above=access.chain,
            ancestors=access.ancestors,
        )


def _digest(token: str) -> bytes:
    if len(token) > MAX_TOKEN:  # before hashing: what is refused must stay cheap
        raise IdentityError("malformed", "not a compact JWS")
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
