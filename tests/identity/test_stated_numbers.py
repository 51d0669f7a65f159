"""Numbers that the issuer signs into a token: closed names, whole numbers, nothing else."""

from datetime import UTC, datetime

import pytest

from aegis.errors import IdentityError
from aegis.identity.access import build_access

NOW = datetime(2026, 1, 7, 11, 0, tzinfo=UTC)


def made(stated):
    return build_access(
        tenant="acme",
        agent_id="agent:a",
        subject="user:n",
        roles=(),
        scopes=(),
        audience="gw",
        now=NOW,
        token_id="t",
        stated=stated,
    ).claims


def test_what_is_stated_stands_in_the_claim():
    assert made({"risk.percent": 0})["facts"] == {"risk.percent": 0}


def test_nothing_stated_leaves_no_claim():
    assert "facts" not in made({})


@pytest.mark.parametrize(
    "stated",
    [
        {"risk": 1}, {"risk.percent": -1}, {"risk.percent": 1.0}, {"risk.percent": True}, {"risk.percent": "1"},
        {"risk.percent": 2**53}, {"risk.percent": None}, {"risk.percent": 1, "agent.trust": 5},
    ],
)  # fmt: skip
def test_anything_else_makes_no_token(stated):
    with pytest.raises(IdentityError, match="malformed"):
        made(stated)
