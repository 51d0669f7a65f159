"""The page on tokens says what the code does: its examples are built and verified, its tables compared."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

import aegis
from aegis.adapters import keyfiles
from aegis.crypto import jws
from aegis.crypto.jwk import private_key
from aegis.identity.access import MAX_DEPTH, build_access
from aegis.identity.assertion import build_assertion
from aegis.identity.delegation import Delegation, build_delegation
from aegis.identity.keyset import CLASSES, KeyEntry, KeySet
from aegis.identity.token import KEY_CLASS, LONGEST, Override, Typed, build_override, build_person, build_statement, mint
from aegis.identity.verify import Verifier
from aegis.model.authority import Authority, Grant, Limit

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tokens.md").read_text("utf-8")
SOURCE = Path(aegis.__file__).parent
BLOCKS = dict(re.findall(r"^```(?:json|text) (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = private_key(b"an example seed, never use it ok")
HASH, SHOWN = "sha256:" + "0f" * 32, "sha256:" + "a1" * 32
BUILT = {
    "at+jwt": build_access(
        tenant="acme",
        agent_id="agent:buyer",
        subject="user:nora",
        roles=("procurement",),
        scopes=("payments.transfer",),
        audience="aegis-gw",
        now=NOW,
        token_id="tok_00000001",
        parent=("agent:planner", "req_00000002"),
        chain=("agent:planner", "agent:desk"),
        txn="order-7",
        task="pay",
        stated={"risk.percent": 20, "budget.left_micros": 2500000},
        requests=(("agent:planner", "req_00000002"), ("agent:desk", "req_00000001")),
        ancestors=("tok_00000005", "tok_00000004", "tok_00000003", "tok_00000002"),
        grants=(
            Grant(
                tool="payments.transfer",
                digest=HASH,
                limits=(("amount_minor", Limit(max=500000)), ("currency", Limit(among=("EUR", "USD")))),
                calls=1,
            ),
        ),
        budget_micros=200000,
        jkt=KEY.kid,
        prompt=SHOWN,
    ),
    "delegation+jwt": build_delegation(
        Delegation(
            tenant="acme",
            agent_id="agent:planner",
            to="agent:buyer",
            subject="user:nora",
            authority=Authority(
                scopes=("payments.transfer",),
                grants=(Grant(tool="payments.transfer", limits=(("amount_minor", Limit(max=500000)),), calls=1),),
            ),
            token_id="tok_00000003",
            expires_at=NOW + timedelta(seconds=300),
            chain=("agent:planner",),
            parent=("agent:planner", "req_00000002"),
            ancestors=("tok_00000002",),
            requests=(("agent:planner", "req_00000002"),),
            txn="order-7",
            task="pay",
        ),
        audience="aegis-gw",
        now=NOW,
    ),
    "client-authentication+jwt": build_assertion(
        tenant="acme", agent_id="agent:buyer", token_id="one-of-its-own", now=NOW, prompt=SHOWN
    ),
    "override+jwt": build_override(
        Override(tenant="acme", agent_id="agent:buyer", approval_id="apr_00000001", request_hash=HASH, token_id="tok_00000002"),
        now=NOW,
        ttl=timedelta(seconds=60),
        audience="aegis-gw",
    ),
    "approval+jwt": build_statement(
        approval_id="apr_00000001",
        tenant="acme",
        request_hash=HASH,
        approve=True,
        shown=SHOWN,
        approver="person:alice",
        reason="invoice 7 checked",
        now=NOW,
    ),
    "person+jwt": build_person(tenant="acme", person="person:alice", audience="aegis-gw", now=NOW),
}


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    text = PAGE[PAGE.index(heading) :]
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in lines.group().splitlines()[2:]]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def verifier(key_class: str) -> Verifier:
    owner = {"human": "person:alice", "workload": "agent:buyer"}.get(key_class, "")
    entry = KeyEntry(key=KEY.public, key_class=key_class, tenant="acme", owner=owner, not_before=NOW)
    return Verifier(KeySet([entry]), audience="aegis-gw")


@pytest.mark.parametrize("typ", BUILT)
def test_the_example_of_each_type_is_what_is_built_and_is_accepted(typ: str) -> None:
    claims = json.loads(BLOCKS[typ])
    assert claims == BUILT[typ].claims
    door = {
        "at+jwt": Verifier.access,
        "delegation+jwt": Verifier.delegation,
        "client-authentication+jwt": Verifier.assertion,
        "override+jwt": Verifier.override,
        "approval+jwt": Verifier.statement,
        "person+jwt": Verifier.person,
    }
    assert door[typ](verifier(KEY_CLASS[typ]), mint(Typed(typ, claims), KEY), now=NOW).tenant == "acme"


def test_the_whole_token_is_what_the_example_key_signs() -> None:
    token = BLOCKS["token"].strip()
    assert token == mint(BUILT["person+jwt"], KEY)
    assert verifier("human").person(token, now=NOW).person == "person:alice"
    header = json.loads(BLOCKS["header"])
    parsed = jws.parse(token)
    assert header == {"alg": jws.ALGORITHM, "kid": parsed.kid, "typ": parsed.typ}


def test_the_example_of_a_public_key_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "public.json").write_bytes(
        msgspec.json.encode({"format": "aegis.keys/v1", "keys": [json.loads(BLOCKS["key"])]}),
    )
    (entry,) = keyfiles.load_public(tmp_path).entries()
    assert (entry.key, entry.key_class, entry.owner, entry.not_before) == (KEY.public, "human", "person:alice", NOW)


def test_the_table_of_types_is_that_of_the_code() -> None:
    told = {words(typ)[0]: (words(key_class)[0], longest) for typ, _, key_class, longest in rows("# Tokens and keys")}
    assert told == {typ: (KEY_CLASS[typ], f"{longest.total_seconds():.0f} s") for typ, longest in LONGEST.items()}


def test_the_table_of_classes_is_that_of_the_code() -> None:
    assert [words(row[0])[0] for row in rows("## Keys")] == [*CLASSES, *keyfiles.SYMMETRIC]


def test_the_table_of_claims_names_every_claim_of_the_example() -> None:
    assert {word for row in rows("## An agent's token") for word in words(row[0])} == set(BUILT["at+jwt"].claims)
    assert f"never more than {MAX_DEPTH}" in PAGE
    assert f"at most {jws.MAX_TOKEN} characters" in PAGE


def test_every_reason_that_the_code_gives_is_explained() -> None:
    places = (
        "crypto/jws.py",
        "crypto/jwk.py",
        "runtime/issuing.py",
        "runtime/delegations.py",
        "runtime/once.py",
        "app/process.py",
        "app/tenants.py",
        "adapters/oidc.py",
    )
    sources = [*SOURCE.glob("identity/*.py"), *(SOURCE / place for place in places)]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    given = set(re.findall(r'IdentityError\(\s*"([a-z_]+)"', text))
    given |= set(re.findall(r'expect\([^\n]*,\s*"([a-z_]+)"\)', text))
    given |= set(re.findall(r'_known\([^\n]*?,\s*"([a-z_]+)"\)', text))
    given |= set(re.findall(r'^(?:WIDER|_INVALID) = "([a-z_]+)"', text, re.MULTILINE)) | {
        f"{what}_mismatch" for what in ("txn", "task", "agent", "tenant")
    }
    told = {word for row in rows("## Why a token was refused") for word in words(row[0])}
    assert len(given) > 20
    assert told == given | {"unknown_person", "no_token", "override_owner"}  # these three are said at the doors
