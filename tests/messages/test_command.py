"""`aegis messages`, `aegis contract check` and what else looks at messages, beside a gateway that serves."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest

from aegis.surfaces.cli.main import main
from messages.post import ORDER


@pytest.fixture
def aegis(post, monkeypatch):
    """The command in this process: its exit code, and what it printed."""
    (post.root / "aegis.toml").write_text(f'[store]\nurl = "{post.settings.store.url}"\n')
    monkeypatch.setenv("AEGIS_TENANT", "acme")

    def run(*words):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(["--dir", str(post.root), *words])
        return SimpleNamespace(returncode=ended.value.code, stdout=out.getvalue(), stderr=err.getvalue())

    return run


def test_what_waits_and_what_is_dead_is_listed_shown_put_back_and_discarded(post, aegis):
    assert aegis("messages", "list").stdout == "no message waits\n"
    post.send(data={"sku": "sku-in-the-message", "amount": 1})
    listed = json.loads(aegis("--json", "messages", "list", "--type", "order").stdout)["messages"]
    assert [(each["type"], each["to"]) for each in listed] == [("order", "agent:store")]
    assert "sku-in-the-message" not in json.dumps(listed)
    assert listed[0]["id"] in aegis("messages", "list").stdout
    assert "no message waits" in aegis("messages", "list", "--type", "note").stdout
    assert post.lease(accept="2.0").json()["code"] == "version-mismatch"
    (letter,) = json.loads(aegis("--json", "messages", "dead").stdout)["letters"]
    assert letter["id"] in aegis("messages", "dead").stdout
    shown = aegis("messages", "show", letter["id"])
    assert "stated by agent:payer" in shown.stdout
    assert "sku-in-the-message" not in shown.stdout
    assert post.of_type("dead_letter_read") == []
    assert "sku-in-the-message" in aegis("messages", "show", letter["id"], "--as", "person:alice").stdout
    assert [event["by"] for event in post.of_type("dead_letter_read")] == ["person:alice"]
    told = aegis("explain", letter["request_id"])
    assert (told.returncode, "message.order" in told.stdout) == (0, True), told.stderr
    assert "version_mismatch" in aegis("audit", "tail").stdout
    back = aegis("messages", "requeue", letter["id"], "--as", "person:alice", "--reason", "mended")
    assert back.stdout == f"{letter['id']} waits for agent:store again\n"
    assert post.take()["message_id"] == letter["id"]
    assert "held by" in aegis("messages", "show", letter["id"]).stdout
    again = aegis("messages", "requeue", letter["id"], "--as", "person:alice", "--reason", "mended")
    assert (again.returncode, "no dead letter" in again.stderr) == (2, True)


def test_a_refused_message_can_only_be_discarded_by_a_person_of_the_tenant(post, aegis):
    post.send("nothing.such")
    (letter,) = json.loads(aegis("--json", "messages", "dead").stdout)["letters"]
    told = aegis("messages", "requeue", letter["id"], "--as", "person:alice", "--reason", "x")
    assert (told.returncode, "was never permitted" in told.stderr) == (2, True)
    assert aegis("messages", "discard", letter["id"], "--as", "person:nobody", "--reason", "x").returncode != 0
    assert aegis("messages", "discard", letter["id"], "--as", "person:bob", "--reason", "noise").returncode == 0
    (event,) = post.of_type("dead_letter_discarded")
    assert (event["by"], event["why"], event["reason"]) == ("person:bob", "noise", "unknown_type")
    assert "no message `msg_x`" in aegis("messages", "show", "msg_x").stderr


def test_a_silent_break_of_a_message_is_refused(post, aegis):
    old, new = post.root / "old.yaml", post.root / "new.yaml"
    old.write_text(ORDER.format(tenant="acme", version="1.0.0", field="amount", more=""))
    new.write_text(ORDER.format(tenant="acme", version="1.1.0", field="count", more=""))
    told = aegis("contract", "check", str(old), str(new))
    assert told.returncode == 1
    assert "needs version 2.0.0, found 1.1.0" in told.stdout
    new.write_text(ORDER.format(tenant="acme", version="1.1.0", field="amount", more="\n      note: {type: string}"))
    assert aegis("contract", "check", str(old), str(new)).returncode == 0


def test_a_set_that_names_messages_is_checked_and_built(post, aegis):
    told = aegis("check")
    assert "failed" not in told.stdout, told.stdout
    assert "message `" not in told.stdout
    note = post.root / "tenants/acme/messages/note.yaml"
    note.write_text(note.read_text().replace('["agent:payer"]', '["agent:payer", "agent:pyer"]'))
    told = json.loads(aegis("--json", "check").stdout)
    assert any(
        "names `agent:pyer` under `from`, whom the directory does not have; did you mean `agent:payer`?" in row["text"]
        for row in told["results"]
    )
    built = aegis("policy", "build", "--output", str(post.root / "out.tar.gz"))
    assert built.returncode == 0, built.stderr
    assert aegis("policy", "lint", str(post.root / "tenants/acme/policy.yaml")).returncode == 0
