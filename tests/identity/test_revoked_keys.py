"""A key that was revoked is still known, and good for nothing, whatever it was for and whoever asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import IdentityError
from aegis.identity import statement
from aegis.identity.keyset import KeySet
from identity.forge import KEYS, NOW, USES, entry_of, key_of

KIDS = {use: key_of(use).kid for use in USES}


def reason(keys, use):
    key_class, _, _ = USES[use]
    try:
        keys.find(KIDS[use], key_class, NOW)
    except IdentityError as error:
        return error.reason
    return ""


@given(st.sets(st.sampled_from(sorted(USES))))
def test_exactly_the_revoked_keys_are_good_for_nothing(uses):
    keys = KEYS.without(frozenset(KIDS[use] for use in uses))
    assert {use for use in USES if reason(keys, use)} == uses
    assert {reason(keys, use) for use in uses} <= {"revoked"}
    good = set()
    for key_class, tenant, _ in USES.values():
        good |= {entry.kid for entry in keys.in_use(key_class, tenant, NOW)}
        good |= {entry.kid for entry in keys.signing(key_class, tenant, NOW)}
        good |= {key.kid for key in keys.bundle_keys(tenant, NOW)}
        good |= {entry.kid for entry in statement.publishers(keys, tenant, NOW)}
    assert good == {KIDS[use] for use in USES if use not in uses}
    assert keys.entries() == KEYS.entries(), "they are still listed"


def test_a_set_that_is_read_anew_forgets_nothing_unless_it_is_told():
    revoked = KEYS.without(frozenset({KIDS["sts"]}))
    assert reason(revoked, "sts") == "revoked"
    assert reason(revoked.without(frozenset()), "sts") == ""


def test_what_a_revoked_publisher_signed_vouches_for_nothing():
    thing = statement.Thing(tenant="acme", kind="tool", name="pay@1.0.0", digest="sha256:" + "0" * 64, version="1.0.0")
    envelope = statement.sign(thing, key_of("publisher"), by="person:alice", time=NOW, source="")
    assert statement.vouched(envelope, thing, KEYS, NOW).owners == ("tenant:acme",)
    revoked = KEYS.without(frozenset({KIDS["publisher"]}))
    assert statement.vouched(envelope, thing, revoked, NOW).owners == ()


def test_a_key_that_is_revoked_and_unknown_is_unknown():
    keys = KeySet([entry_of("sts")]).without(frozenset({KIDS["override"]}))
    with pytest.raises(IdentityError, match="unknown_kid"):
        keys.find(KIDS["override"], "override", NOW)
