"""Whoever reads the journal (a SIEM, an auditor, a tenant's analyst) learns what people did, and gets nothing to act with."""

import pytest
from click.testing import CliRunner

from aegis.surfaces.cli.main import cli

WHO = ("--as", "person:alice", "--tenant", "acme")


@pytest.mark.parametrize(
    ("words", "kind", "log"),
    [
        (("audit", "erase", "--subject", "user:nora", "--yes", *WHO), "erasure", "acme"),
        (("halt", "agent:other", "--reason", "drill", *WHO), "halt", "_system"),
        (("revoke", "agent:other", "--reason", "drill", *WHO), "revoked", "_system"),
    ],
)
def test_what_a_person_signed_for_the_journal_is_not_taken_for_the_person(on_sqlite, words, kind, log):
    w = on_sqlite
    (w.root / "aegis.toml").write_text("")
    w.call("pay.honours", {"amount": 1}, "k", w.token(subject="user:nora"))
    ran = CliRunner().invoke(cli, ["--dir", str(w.root), *words], standalone_mode=False)
    assert ran.exception is None, ran.output
    said = [event["statement"] for event in w.events(tenant=log) if event["type"] == kind]
    assert said
    assert w.get("/v1/approvals", w.person_token()).status_code == 200
    assert [w.get("/v1/approvals", each).status_code for each in said] == [401] * len(said)
