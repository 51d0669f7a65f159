"""A tool's credential lies sealed in the store, is followed live, and is never seen again but by the server that it is for."""

import asyncio
import base64
import json
import logging
import sqlite3
import time

import msgspec
import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import ConfigError, SealError
from aegis.model.credential import check_secret, is_name, origin_of
from aegis.surfaces.cli.main import cli

SECRET = "s3cr3t-of-acme-4f1d"


def aegis(w, *words, stdin="", tenant="acme"):
    more = ["--as", "person:alice"] if words[0] != "list" else []
    ran = CliRunner().invoke(
        cli, ["--dir", str(w.root), "--json", "credentials", *words, "--tenant", tenant, *more], input=stdin, standalone_mode=False
    )
    if ran.exception is not None:
        raise ran.exception
    return json.loads(ran.stdout)


def seal(w, secret=SECRET, *words, tenant="acme", name="bank"):
    return aegis(w, "set", name, *words, stdin=secret, tenant=tenant)


def until(w, status, *, tenant="acme", tool="pay.honours", arguments=None):
    """The first answer of this status; the gateway follows within a second."""
    end = time.monotonic() + 10
    while True:
        token = w.token("agent:payer", tenant)
        told = w.call(tool, arguments or {"amount": 1}, f"k{time.monotonic_ns()}", token)
        if told.status_code == status:
            return told
        assert time.monotonic() < end, told.text
        time.sleep(0.05)


def everything_stored(w):
    """All bytes of the database, as an insider would search them."""
    if w.settings.sqlite_path is not None:
        return b"".join(path.read_bytes() for path in w.settings.sqlite_path.parent.glob("aegis.db*") if path.is_file())
    with psycopg.connect(w.settings.store.url) as connection:
        tables = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()]
        rows = [row for table in tables for row in connection.execute(f"SELECT * FROM {table}").fetchall()]
    return b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for row in rows for cell in row)


def sql(w, text, *values):
    """Behind the store's back."""
    if w.settings.sqlite_path is not None:
        with sqlite3.connect(w.settings.sqlite_path) as connection:
            return connection.execute(text.replace("%s", "?"), values).fetchall()
    with psycopg.connect(w.settings.store.url) as connection:
        done = connection.execute(text, values)
        return done.fetchall() if done.description else []


def test_without_its_credential_a_call_is_not_sent_and_says_why(sealed):
    told = sealed.call("pay.honours", {"amount": 1}, "k")
    assert (told.status_code, told.json()["code"]) == (502, "tool-failed")
    assert "credential_missing" in told.text
    assert sealed.tool.requests == []
    seal(sealed)
    until(sealed, 200)
    again = sealed.call("pay.honours", {"amount": 1}, "k")  # nothing happened under that key: it is free
    assert again.status_code == 200


def test_a_credential_is_set_replaced_and_withdrawn_while_the_gateway_serves(sealed):
    assert seal(sealed, SECRET + "\n")["version"] == 1
    until(sealed, 200)
    assert sealed.tool.requests[-1]["headers"]["authorization"] == f"Bearer {SECRET}"
    assert seal(sealed, "another-one-9c")["version"] == 2
    end = time.monotonic() + 10
    while sealed.tool.requests[-1]["headers"]["authorization"] != "Bearer another-one-9c":
        assert time.monotonic() < end
        until(sealed, 200)
    aegis(sealed, "remove", "bank")
    until(sealed, 502)
    sent = len(sealed.tool.requests)
    assert sealed.call("pay.honours", {"amount": 1}, "late").status_code == 502
    assert len(sealed.tool.requests) == sent
    assert aegis(sealed, "list")["credentials"] == []
    with pytest.raises(ConfigError, match="has no credential"):
        aegis(sealed, "remove", "bank")


def test_a_secret_stands_in_no_event_row_log_output_or_answer(sealed, caplog):
    caplog.set_level(logging.DEBUG)
    said = [seal(sealed), aegis(sealed, "list")]
    answers = [until(sealed, 200).text]
    for mood in ("refuse", "error", "garbage", "lie", "vanish-after"):
        sealed.tool.mood = mood
        answers.append(sealed.call("pay.honours", {"amount": 1}, mood).text)
    sealed.tool.mood = "ok"
    answers += [sealed.get("/v1/tools/pay.honours").text, sealed.get("/v1/tools").text]
    answers += [sealed.get(f"/v1/requests/{json.loads(answers[0])['request_id']}").text]
    said.append(aegis(sealed, "remove", "bank"))
    told = json.dumps(said) + "".join(answers) + caplog.text + json.dumps(sealed.events())
    encoded = (SECRET, base64.b64encode(SECRET.encode()).decode().rstrip("=")[:-1], SECRET.encode().hex())
    for form in encoded:
        assert form not in told
        assert form.encode() not in everything_stored(sealed)
    changes = [event for event in sealed.events() if event["type"] == "credential"]
    assert [(c["name"], c["state"], c["by"], c["version"]) for c in changes] == [
        ("bank", "set", "person:alice", 1),
        ("bank", "removed", "person:alice", 2),
    ]
    assert all(change["statement"].count(".") == 2 for change in changes)
    assert sealed.fsck() == []


def test_a_credential_of_one_tenant_is_not_there_for_another(sealed):
    seal(sealed)
    until(sealed, 200)
    told = sealed.call("pay.honours", {"amount": 1}, "g", sealed.token("agent:payer", "globex"))
    assert (told.status_code, "credential_missing" in told.text) == (502, True)
    seal(sealed, "s3cr3t-of-globex", tenant="globex")
    until(sealed, 200, tenant="globex")
    assert sealed.tool.requests[-1]["headers"]["authorization"] == "Bearer s3cr3t-of-globex"
    until(sealed, 200)
    assert sealed.tool.requests[-1]["headers"]["authorization"] == f"Bearer {SECRET}"
    assert [each["tenant"] for each in aegis(sealed, "list")["credentials"]] == ["acme"]


def test_a_sealed_row_opens_in_no_other_tenant_name_or_server(sealed):
    seal(sealed)
    seal(sealed, "s3cr3t-of-globex", tenant="globex")
    until(sealed, 200)
    until(sealed, 200, tenant="globex")
    ((body,),) = sql(sealed, "SELECT body FROM state WHERE tenant = 'acme' AND kind = 'credential'")
    sql(sealed, "UPDATE state SET body = %s, version = 2 WHERE tenant = 'globex' AND kind = 'credential'", body)
    until(sealed, 502, tenant="globex")
    forged = msgspec.json.encode(msgspec.json.decode(body) | {"origin": "https://evil.example:443"})
    sql(sealed, "UPDATE state SET body = %s, version = 2 WHERE tenant = 'acme' AND kind = 'credential'", forged)
    until(sealed, 502)
    vault, kept = sealed.app.gate.vault, msgspec.json.decode(body)
    for tenant, place, origin in (
        ("globex", "bank", kept["origin"]),
        ("acme", "bank2", kept["origin"]),
        ("acme", "bank", "https://evil.example:443"),
    ):
        from aegis.journal.unit import Payload

        moved = Payload(event_id=f"sealed-credential:{place}", name=origin, key_id=kept["key_id"], nonce=base64.b64decode(kept["nonce"]), ciphertext=base64.b64decode(kept["ciphertext"]))  # fmt: skip
        with pytest.raises(SealError):
            asyncio.run(vault.open(tenant, moved))


def test_a_credential_goes_to_the_server_that_it_is_for_and_to_no_other(sealed):
    seal(sealed, SECRET, "--for", "https://bank.example")
    time.sleep(1)
    told = sealed.call("pay.honours", {"amount": 1}, "k")
    assert (told.status_code, "credential_missing" in told.text) == (502, True)
    assert sealed.tool.requests == []
    ((name, why),) = [(each["name"], each["why"]) for each in aegis(sealed, "list")["unset"]]
    assert (name, f"http://127.0.0.1:{sealed.tool.port}" in why) == ("bank", True)


def test_what_a_tool_sends_back_of_its_credential_is_masked(sealed):
    seal(sealed)
    told = until(sealed, 200, tool="records.read", arguments={"id": SECRET})
    assert sealed.tool.requests[-1]["headers"]["x-api-key"] == SECRET
    assert told.json()["result"] == {"id": "*" * len(SECRET), "ssn": "078-05-1120"}


@pytest.mark.parametrize("secret", ["", "\n", "two\nlines", "tab\there", "\x7f", "x" * 9000])
def test_what_no_header_can_carry_is_refused_and_not_repeated(on_sqlite, secret):
    (on_sqlite.root / "aegis.toml").write_text("")
    with pytest.raises(ConfigError) as refused:
        seal(on_sqlite, secret, "--for", "https://bank.example")
    assert "x" * 20 not in str(refused.value)
    assert "lines" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "Bank", "../x", "a b", "x" * 65, "a/b", "-a"])
def test_a_name_is_of_few_characters(name):
    assert not is_name(name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--for", "ftp://bank.example"), "expected the URL of a server"),
        (("--for", "https://user@bank.example"), "without user"),
        (("--for", "https://bank.example?x=1"), "without user, query"),
        ((), "no contract names it"),
    ],
)
def test_a_credential_is_for_one_server(on_sqlite, words, said):
    (on_sqlite.root / "aegis.toml").write_text("")
    with pytest.raises(ConfigError, match=said):
        seal(on_sqlite, SECRET, *words, name="unknown")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example", "https://a.example:443/prefix/x", True),
        ("https://A.example", "https://a.EXAMPLE", True),
        ("http://a.example", "https://a.example", False),
        ("https://a.example", "https://a.example:444", False),
        ("https://a.example", "https://a.example.evil", False),
        ("http://[::1]:80", "http://[::1]", True),
    ],
)
def test_two_addresses_are_one_server_when_scheme_host_and_port_are(one, other, same):
    assert (origin_of(one) == origin_of(other)) is same


@given(st.text(min_size=4, max_size=50).filter(lambda text: not all(" " <= char <= "~" for char in text)))
def test_a_refused_secret_is_never_in_its_message(secret):
    with pytest.raises(ConfigError) as refused:
        check_secret(secret)
    assert secret not in str(refused.value)


def test_check_names_the_credentials_that_nobody_has_set(sealed):
    def failed():
        ran = CliRunner().invoke(cli, ["--dir", str(sealed.root), "--json", "check"], standalone_mode=False, catch_exceptions=False)
        return [row["text"] for row in json.loads(ran.stdout)["results"] if row["what"] == "tool credential"]

    assert len(failed()) == 2
    seal(sealed)
    assert ["tenant `globex`: sealed credential `bank`" in text for text in failed()] == [True]
