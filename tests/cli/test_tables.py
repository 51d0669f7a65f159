"""Tables and event lines on a narrow terminal."""

import re

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.surfaces.cli import output, story

WORD = st.text("abcdefgh", min_size=1, max_size=14)
CELL = st.lists(WORD, max_size=4).map(" ".join)
ROWS = st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=4))


@given(rows=ROWS, room=st.integers(30, 120), kept=st.lists(st.booleans(), min_size=5, max_size=5))
def test_where_there_is_room_for_every_word_no_word_is_cut_and_no_column_leaves_the_terminal(rows, room, kept):
    widths = output._widths(rows, kept[: len(rows[0])], room)
    if None in widths:
        return
    assert sum(widths) + 2 * len(widths) <= room
    for width, keep, column in zip(widths, kept, zip(*rows, strict=True), strict=False):
        whole = column if keep else " ".join(column).split()
        assert all(len(text) <= width for text in whole)


def test_a_table_on_eighty_columns_wraps_between_words(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    row = ("msg_01a1ff739c2173098672489acc66a854", "order.placed 1.2.0", "data_does_not_fit", "57 s ago")
    output.table(("letter", "type", "reason", "when"), [row], empty="", keep=("letter",))
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert all(word in re.split(r"\s+", told) for word in " ".join(row).split())


EVENT = {
    "seq": 53,
    "time": "2026-11-21T18:44:25.108000Z",
    "type": "token_issued",
    "grant": "client_credentials",
    "agent_id": "agent:planner",
    "token_jti": "tok_01a1ff6c809278809db360e173270e61",
    "request_id": "req_01a1ff6c87927def810dcb61a86fccb1",
}


def test_an_event_is_one_line_in_a_file_and_hangs_below_on_a_narrow_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert "\n" not in story.one_line(EVENT)
    monkeypatch.setenv("COLUMNS", "80")
    lines = story.one_line(EVENT).splitlines()
    assert [EVENT["agent_id"] in lines[0], EVENT["token_jti"] in lines[1]] == [True, True]


@pytest.mark.parametrize(
    "more",
    [
        {"type": "repeat", "of": "req_01a1ff6c80927def810dcb61a86fccb0", "result": "replayed", "tool": {"name": "notes.add"}},
        {"type": "approval", "answer": "approve", "approver": "person:alice-of-the-desk", "tool": {"name": "notes.add"}},
        {"type": "decision", "decision": "deny", "tool": {"name": "notes.add"}, "rules": ["default-deny", "a" * 30]},
    ],
)
def test_no_event_is_wider_than_the_terminal(monkeypatch, more):
    monkeypatch.setenv("COLUMNS", "80")
    lines = click.unstyle(story.one_line({**EVENT, **more})).splitlines()
    assert max(map(len, lines)) <= 80, lines
    assert EVENT["agent_id"] in " ".join(lines)
    assert EVENT["request_id"] in " ".join(lines)
    assert more.get("of", "") in " ".join(lines)


def test_one_change_is_a_change_and_a_revocation_says_of_what():
    body = {"seq": 1, "time": "2026-11-21T18:44:25.108000Z", "type": "keys_changed", "changes": [{}]}
    assert story.one_line(body).endswith("1 change")
    told = story.one_line(
        {**body, "type": "revoked", "by": "person:olga", "token": "tok_1", "reason": "stolen", "on_tenant": "acme"}
    )
    assert told.endswith("acme tok_1 (stolen)")
