"""What is refused, or told, before any costly work is done."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis.adapters import keyfiles
from aegis.crypto import jws
from aegis.errors import ConfigError, IdentityError
from aegis.identity.verify import Verifier
from identity.forge import AUDIENCE, KEYS, NOW, good


def test_a_token_that_was_verified_tells_its_kind_without_being_parsed_again(monkeypatch):
    verifier = Verifier(KEYS, audience=AUDIENCE)
    token = good()
    verifier.access(token, now=NOW)
    monkeypatch.setattr("aegis.identity.verify.stated_type", lambda _: pytest.fail("the token was parsed again"))
    assert verifier.kind(token) == "agent"


def test_the_type_of_an_overlong_text_is_not_looked_for():
    head = good().partition(".")[0]
    assert jws.stated_type(f"{head}.{'A' * (jws.MAX_TOKEN - len(head) - 1)}") == "at+jwt"
    with pytest.raises(IdentityError) as caught:
        jws.stated_type(f"{head}.{'A' * (jws.MAX_TOKEN - len(head))}")
    assert caught.value.reason == "malformed"


def test_retiring_where_there_are_no_keys_says_how_to_make_some_and_makes_no_directory(tmp_path: Path):
    root = tmp_path / "keys"
    with pytest.raises(ConfigError, match=r"not found; `aegis init` or `aegis keys new` makes keys"):
        keyfiles.retire(root, "nobody", now=datetime(2026, 3, 1, tzinfo=UTC))
    assert not root.exists()
