"""`aegis audit search`, `show` and `reindex`, over journals that a gateway wrote and over hostile ones."""

import json
import sqlite3
import time
import unicodedata
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from tests.search.journals import commit, events, run

from aegis.app import open_store
from aegis.errors import ConfigError
from aegis.journal.unit import Unit
from aegis.model.event import Event
from aegis.runtime.clock import Clock
from aegis.surfaces.cli.audit.asked import moment
from aegis.surfaces.cli.audit.tree import lasted, money
from aegis.surfaces.cli.main import cli
from authority.agents import Bot, child_of, with_keys
from gateway.world import World

RLO, ESCAPE, LINE = "\u202e", "\x1b[2J", "\u2028"


def ran(root, *args):
    found = CliRunner().invoke(cli, ["--dir", str(root), *args], standalone_mode=False)
    return found.exception or found.return_value or 0, found.stdout


def answer(root, *args):
    code, said = ran(root, "--json", *args)
    assert code == 0, code
    return json.loads(said)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A desk hands a payment to a payer; a small one is done, a great one waits for a person, is approved and done; one is denied."""
    made = World(tmp_path_factory.mktemp("story"), "sqlite:data/aegis.db")
    try:
        with_keys(made)
        (made.root / "aegis.toml").write_text('[store]\nurl = "sqlite:data/aegis.db"\n')
        made.start()
        desk = Bot(made, "agent:desk").get()
        payer, handed = child_of(
            desk, "agent:payer", tools=[{"tool": "pay.honours"}, {"tool": "pay.costly"}], task="close-books", ttl_seconds=120
        )
        names = {"handed": handed}
        for name, tool, amount in (("small", "pay.costly", 5), ("held", "pay.honours", 1500), ("denied", "pay.honours", 9000)):
            names[name] = payer.call(tool, {"amount": amount}, name).json()["request_id"]
        names["approval"] = next(e["approval_id"] for e in made.events(names["held"]) if e["type"] == "decision")
        assert made.approve(names["approval"]).status_code == 200
        again = payer.call("pay.honours", {"amount": 1500}, "held")
        assert again.status_code == 200, again.text
        names["again"] = again.json()["request_id"]
        names["other"] = made.call("pay.honours", {"amount": 1}, "other").json()["request_id"]
        yield made, names
    finally:
        made.close()  # fmt: skip


def test_a_trace_is_found_however_its_letters_are_written(told):
    w, names = told
    decision = next(e for e in w.events(names["denied"]) if e["type"] == "decision")
    found = answer(w.root, "audit", "search", "--tenant", "acme", "--trace", decision["trace_id"].upper(), "--since", "1h")
    assert decision["seq"] in [event["seq"] for event in found["events"]]
    assert {event["trace_id"] for event in found["events"]} == {decision["trace_id"]}


def test_a_name_without_its_kind_and_a_word_that_no_event_has_are_told(told):
    w, _ = told
    found = CliRunner().invoke(cli, ["--dir", str(w.root), "audit", "search", "--tenant", "acme", "--agent", "payer"])
    assert "did you mean `--agent agent:payer`?" in found.stderr
    found = CliRunner().invoke(cli, ["--dir", str(w.root), "audit", "search", "--tenant", "acme", "--decision", "blocked"])
    assert "'approval_needed'" in found.stderr


def test_the_story_of_a_request_tells_what_was_handed_down_decided_approved_and_done(told):
    w, names = told
    code, said = ran(w.root, "audit", "show", names["handed"], "--tenant", "acme")
    assert code == 0
    assert "agent:desk hands pay.honours, pay.costly to agent:payer: allow" in said
    assert "approved by person:alice after 0." in said
    assert "used approval" in said
    assert "by rule pay.ceiling on args.amount (limit 5000): too much" in said
    assert "costs 0.00001" in said
    assert all(names[each] in said for each in ("handed", "small", "held", "denied", "again"))
    assert names["other"] not in said
    assert max(map(len, said.splitlines())) <= 80
    assert said.index(names["handed"]) < said.index(names["small"]) < said.index(names["held"]) < said.index(names["denied"])


@pytest.mark.parametrize("name", ["small", "held", "again", "denied"])
def test_the_story_of_a_child_tells_on_whose_behalf_it_was_made(told, name):
    w, names = told
    found = answer(w.root, "audit", "show", names[name], "--tenant", "acme")
    requests = [each["request_id"] for each in found["requests"]]
    assert names["handed"] in requests
    assert names[name] in requests
    assert names["other"] not in requests
    assert ({names["held"], names["again"]} <= set(requests)) == (name in ("held", "again"))


def test_the_story_of_a_run_is_that_of_all_its_requests(told):
    w, names = told
    whole = answer(w.root, "audit", "show", names["handed"], "--tenant", "acme")
    assert whole["run"]
    of_run = answer(w.root, "audit", "show", whole["run"], "--tenant", "acme")
    assert of_run == whole
    assert whole["decisions"] == {"allow": 3, "approval_needed": 1, "deny": 1}
    assert whole["agents"] == ["agent:desk", "agent:payer"]
    assert whole["cost_micros"] == 10


def test_the_story_of_a_child_names_its_run(told):
    w, names = told
    _, said = ran(w.root, "audit", "show", names["small"], "--tenant", "acme")
    assert said.rstrip().endswith(f"all of its run: aegis audit show {names['handed']}")


def test_nobody_has_a_story_in_another_tenant(told):
    w, names = told
    whole = answer(w.root, "audit", "show", names["handed"], "--tenant", "acme")
    for name in (*names.values(), whole["run"]):
        failed, _ = ran(w.root, "audit", "show", name, "--tenant", "globex")
        assert isinstance(failed, ConfigError)
        assert answer(w.root, "audit", "search", "--request", name, "--tenant", "globex")["events"] == []


def ids(found):
    return [each["request_id"] for each in found["events"]]


def test_a_search_combines_what_it_is_given(told):
    w, names = told
    search = ("audit", "search", "--tenant", "acme")
    run_ = answer(w.root, "audit", "show", names["handed"], "--tenant", "acme")["run"]
    assert ids(answer(w.root, *search, "--decision", "deny")) == [names["denied"]]
    assert ids(answer(w.root, *search, "--rule", "pay.two-eyes", "--decision", "approval_needed")) == [names["held"]]
    assert ids(answer(w.root, *search, "--approver", "person:alice", "--type", "approval")) == [names["held"]]
    assert set(ids(answer(w.root, *search, "--outcome", "done", "--run", run_))) == {names["small"], names["again"]}
    assert ids(answer(w.root, *search, "--cost-at-least", "10", "--type", "outcome")) == [names["small"]]
    assert ids(answer(w.root, *search, "--cost-at-least", "11")) == []
    assert set(ids(answer(w.root, *search, "--parent", names["handed"]))) == {
        names[each] for each in ("small", "held", "denied", "again")
    }
    assert ids(answer(w.root, *search, "--through", "agent:desk", "--decision", "deny")) == [names["denied"]]
    assert ids(answer(w.root, *search, "--decision", "deny", "--until", "1h")) == []
    assert ids(answer(w.root, *search, "--decision", "deny", "--since", "1h")) == [names["denied"]]
    assert ids(answer(w.root, *search, "--decision", "deny", "--plain")) == [names["denied"]]
    assert answer(w.root, *search, "--approval", names["approval"], "--agent", "agent:nobody")["events"] == []  # fmt: skip


def test_pages_go_on_where_the_page_before_ended(told):
    w, _ = told
    whole = answer(w.root, "audit", "search", "--tenant", "acme", "-n", "1000")
    assert whole["cursor"] is None
    found, cursor = [], ()
    for _ in range(100):
        page = answer(w.root, "audit", "search", "--tenant", "acme", "-n", "3", *cursor)
        found += page["events"]
        if page["cursor"] is None:
            break
        cursor = ("--cursor", str(page["cursor"]))
    assert found == whole["events"]
    code, said = ran(w.root, "audit", "search", "--tenant", "acme", "-n", "3")
    assert code == 0
    assert f"--cursor {whole['events'][2]['seq']}" in said


@pytest.mark.parametrize(
    "words", [("--since", "yesterday"), ("--agent", ""), ("--agent", f"agent:{RLO}x"), ("--until", "2026-13-01")]
)
def test_what_no_event_can_have_is_refused_with_what_to_do(told, words):
    w, _ = told
    failed, _ = ran(w.root, "audit", "search", "--tenant", "acme", *words)
    assert isinstance(failed, ConfigError)
    assert "expected" in str(failed)
    assert RLO not in str(failed)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A journal that somebody wrote behind our back: every text in it would like to be the terminal's."""
    w = World(tmp_path_factory.mktemp("hostile"), "sqlite:data/aegis.db")
    (w.root / "aegis.toml").write_text('[store]\nurl = "sqlite:data/aegis.db"\n')
    bad = f"x{ESCAPE}{RLO}{LINE}\r\n\x07\u200b\U000e0041y"
    data = {
        "agent_id": f"agent:{bad}", "actor": {"sub": bad, "act": [{"sub": bad}]}, "agent": {"txn": "run_bad", "task": bad},
        "tool": {"name": bad, "version": bad}, "decision": "deny", "rules": [bad], "reasons": [{"rule": bad, "field": bad, "limit": bad, "text": bad}],
    }  # fmt: skip
    told = {"approver": bad, "answer": "approve", "reason": bad, "approval_id": bad, "outcome": bad, "by": bad, "what": bad}
    kinds = [
        ("decision", data),
        *((kind, told | {"agent_id": bad}) for kind in ("approval", "outcome", "override_used", "refusal", bad)),
    ]
    made = [
        Event(id=f"e{n}", type=kind, tenant="acme", time=datetime.now(UTC), request_id="req_bad", data=each)
        for n, (kind, each) in enumerate(kinds)
    ]

    async def fill():
        store = await open_store(w.settings, Clock())
        await store.commit(Unit(tenant="acme", events=tuple(made)))
        await store.close()

    run(fill())
    yield w, bad
    w.close()


@pytest.mark.parametrize("words", [("search",), ("show", "req_bad"), ("show", "run_bad"), ("search", "--run", "run_bad")])
def test_what_an_event_holds_moves_no_cursor_and_turns_no_line(hostile, words):
    w, _ = hostile
    code, said = ran(w.root, "audit", *words, "--tenant", "acme")
    assert code == 0
    assert "x" in said
    harm = [char for char in said if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert harm == []


def test_a_program_gets_hostile_values_as_they_are(hostile):
    w, bad = hostile
    assert answer(w.root, "audit", "search", "--type", "decision", "--tenant", "acme")["events"][0]["agent_id"] == f"agent:{bad}"


@pytest.fixture
def filled(tmp_path):
    """A journal of two blocks and a little."""
    w = World(tmp_path, "sqlite:data/aegis.db")
    (w.root / "aegis.toml").write_text('[store]\nurl = "sqlite:data/aegis.db"\n')

    async def fill():
        store = await open_store(w.settings, Clock())
        await commit(store, events(2100))
        await store.close()

    run(fill())
    yield w
    w.close()


def test_an_index_that_hides_something_is_found_and_made_anew(filled):
    root = filled.root
    assert ran(root, "audit", "reindex", "--tenant", "acme") == (0, "indexed 2048 events\n")
    assert ran(root, "audit", "reindex", "--check", "--tenant", "acme") == (0, "the index hides nothing\n")
    whole = answer(root, "audit", "search", "--decision", "deny", "--tenant", "acme", "-n", "1000")
    with closing(sqlite3.connect(root / "data" / "aegis.db")) as db, db:
        db.execute("DELETE FROM posting WHERE field = 'decision' AND value = 'deny' AND block = 1")
    fewer = answer(root, "audit", "search", "--decision", "deny", "--tenant", "acme", "-n", "1000")
    assert len(fewer["events"]) < len(whole["events"])
    assert answer(root, "audit", "search", "--decision", "deny", "--plain", "--tenant", "acme", "-n", "1000") == whole
    code, said = ran(root, "audit", "reindex", "--check", "--tenant", "acme")
    assert code == 1
    assert "posting decision, block 1" in said
    assert ran(root, "audit", "reindex", "--tenant", "acme")[0] == 0
    assert answer(root, "audit", "search", "--decision", "deny", "--tenant", "acme", "-n", "1000") == whole


def test_a_gateway_that_serves_makes_the_index(filled):
    filled.start()
    deadline = time.monotonic() + 60
    found = set()
    while found != {0, 1}:
        assert time.monotonic() < deadline, "nothing was indexed"
        time.sleep(0.1)
        with closing(sqlite3.connect(filled.root / "data" / "aegis.db")) as db:
            found = {block for (block,) in db.execute("SELECT block FROM posting WHERE field = '' AND tenant = 'acme'")}
    filled.stop()
    assert ran(filled.root, "audit", "reindex", "--check", "--tenant", "acme") == (0, "the index hides nothing\n")


def test_times_are_told_as_people_tell_them():
    now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    assert moment("2h", now, "since") == now - timedelta(hours=2)
    assert moment("90 s", now, "since") == now - timedelta(seconds=90)
    assert moment("2026-11-21T09:00+01:00", now, "since") == datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    assert moment("2026-11-21", now, "until") == datetime(2026, 11, 21, tzinfo=UTC)
    assert moment(None, now, "until") is None
    assert lasted("2026-11-21T08:00:00.000000Z", "2026-11-21T08:05:30.000000Z") == "5.5 min"
    assert money(10) == "0.00001"
    assert money(2_500_000) == "2.5"
    assert money(10_000_000) == "10"
