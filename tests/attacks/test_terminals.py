"""What an agent or a tool writes is shown to people as it is, and does nothing to their terminals."""

import json

from click.testing import CliRunner

from aegis.surfaces.cli.main import cli

EVIL = "pay \x1b[2J\x1b]0;x\x07\u202e10.00\u202c \u009b31m to bob"


def told(w, *words):
    (w.root / "aegis.toml").write_text("")
    ran = CliRunner().invoke(cli, ["--dir", str(w.root), *words], standalone_mode=False, color=True)
    assert ran.exception is None, ran.output
    return ran.stdout


def test_arguments_that_wait_for_a_person_cannot_turn_the_line_around(on_sqlite):
    w = on_sqlite
    held = w.call("pay.honours", {"amount": 1500, "memo": EVIL}, "k").json()["approval_id"]
    text = told(w, "approvals", "show", held, "--tenant", "acme")
    shown = text[text.index("{") :]
    assert json.loads(shown[: shown.rindex("}") + 1])["memo"] == EVIL
    assert not set(shown) & set("\x1b\x07\u202e\u202c\u009b")


def test_words_in_a_table_are_one_line_of_it_and_move_no_cursor(on_sqlite):
    w = on_sqlite
    told(w, "halt", "agent:other", "--reason", EVIL, "--as", "person:alice", "--tenant", "acme")
    assert not set(told(w, "halts")) & set("\x07\u202e\u202c\u009b")
