"""The commands that operate runs: begin and follow, show why one waits, dead letters one by one and in bulk, replay."""

import json

import pytest
from tests.cli.command import aegis

from runs.operated import go, operated


@pytest.fixture
def o(tmp_path):
    """A world with the workflow `risky`, and settings by which commands find its gateway."""
    with operated(tmp_path) as made:
        (tmp_path / "aegis.toml").write_text("")
        yield made


def run(o, *words, code=0, as_json=False):
    """What a command says, as a person of acme or a program sees it."""
    told = aegis(
        o.root, *(["--json"] if as_json else []), *words, env={"AEGIS_URL": o.url, "AEGIS_TENANT": "acme", "COLUMNS": "80"}
    )
    assert told.returncode == code, (told.stdout, told.stderr)
    assert all(len(line) <= 80 for line in told.stdout.splitlines() if "aegis " not in line) or as_json, told.stdout
    return json.loads(told.stdout) if as_json else told.stdout


def test_a_run_is_begun_followed_and_shown_with_what_it_waits_for(o):
    begun = run(o, "workflow", "run", "risky", "-i", "amount=7", "--as", "agent:payer", "--key", "k1", as_json=True)["run"]
    again = run(o, "workflow", "run", "risky", "-i", "amount=7", "--as", "agent:payer", "--key", "k1")
    assert begun in again
    o.until(begun, "waiting")

    shown = run(o, "workflow", "show", begun)
    assert "waits for the signal go until" in shown
    assert f"next: aegis workflow signal {begun} go --as WHO -p NAME=VALUE" in shown
    assert begun in run(o, "workflow", "list", "risky", "--state", "waiting")

    run(o, "workflow", "signal", begun, "go", "--as", "person:alice", "-p", "amount=8")
    o.until(begun, "succeeded")
    followed = run(o, "workflow", "run", "risky", "-i", "amount=7", "--as", "agent:payer", "--key", "k1", "--follow")
    assert "second: succeeded" in followed
    assert "succeeded   (spent 2 calls)" in followed


def test_following_ends_with_4_at_an_approval_and_names_the_command_that_answers_it(o):
    told = run(o, "workflow", "run", "risky", "-i", "amount=1500", "--as", "agent:payer", "--follow", code=4)

    assert "first: held (waits for a person: apr_" in told
    assert "next: aegis approvals approve apr_" in told


def test_following_ends_with_1_when_the_run_was_undone_or_is_stuck(o):
    begun = o.waiting()
    run(o, "workflow", "cancel", begun, "--as", "person:alice", "--reason", "not wanted")
    o.until(begun, "compensated")
    told = run(o, "workflow", "run", "risky", "-i", "amount=7", "--as", "agent:payer", "--key", "k1", "--follow", code=1)
    assert "compensated: cancelled" in told
    assert "first: compensated" in told

    stuck = o.stuck("k2")
    shown = run(o, "workflow", "show", stuck)
    assert "undo failed" in shown
    assert "risky.md" in shown
    assert f"aegis dlq show {stuck}/first" in shown
    run(o, "workflow", "retry", stuck, "--as", "person:alice")
    o.until(stuck, "compensated")


def test_dead_letters_are_listed_shown_edited_and_cleared_up_in_bulk(o):
    runs = [o.parked(f"k{number}") for number in range(4)]
    listed = run(o, "dlq", "list", as_json=True)["letters"]
    assert {(each["run"], each["node"], each["why"]) for each in listed} == {(each, "second", "denied") for each in runs}
    assert "4      parked  risky/second: denied" in run(o, "dlq", "list", "--group")
    shown = run(o, "dlq", "show", f"{runs[0]}/second")
    assert "pay.ceiling" in shown
    assert f"aegis dlq discard {runs[0]}/second" in shown

    run(o, "dlq", "edit", f"{runs[0]}/second", "-a", "amount=9", "--as", "person:alice", "--reason", "mended")
    o.until(runs[0], "succeeded")
    run(o, "dlq", "requeue", f"{runs[1]}/second", "--as", "agent:payer")
    o.until_node(runs[1], "second", "parked")
    assert o.state(runs[1]).nodes["second"].dispatch == 2

    run(o, "dlq", "discard", "--filter", "workflow=risky", "--as", "person:alice", code=130)
    asked = aegis(
        o.root, "dlq", "discard", "--filter", "why=denied", "--as", "person:alice", env={"AEGIS_URL": o.url, "AEGIS_TENANT": "acme"}
    )
    assert "discard 3 dead letters?" in asked.stderr
    told = run(o, "dlq", "discard", "--filter", "why=denied", "--yes", "--as", "person:alice", "--reason", "paid by hand")
    assert "3 of 3 done" in told
    for each in runs[1:]:
        o.until(each, "compensated")
    assert run(o, "dlq", "list").strip() == "no dead letters"
    assert len(run(o, "dlq", "list", "--filter", "kind=failed", as_json=True)["letters"]) == 3
    reasons = [event["reason"] for event in o.told(runs[2]) if event["type"] == "run_operated" and event["action"] == "discard"]
    assert reasons == ["paid by hand"]


def test_the_story_of_a_run_tells_steps_people_and_decisions(o):
    stuck = o.stuck()
    run(o, "dlq", "settle", f"{stuck}/first", "--as", "person:bob", "--reason", "refunded by hand")
    o.until(stuck, "compensated")

    told = run(o, "audit", "show", stuck)
    for words in (
        "agent:payer runs risky 1.0.0: compensated",
        "cancelled by person:alice: not wanted",
        "first failed, refused: the tool answered 422",
        "first settled by hand by person:bob: refunded by hand",
        "settle first asked for by person:bob, signed: refunded by hand",
        "agent:other calls pay.ask: allow",
    ):
        assert words in told, told


def test_a_failed_compensation_is_settled_by_a_person(o):
    stuck = o.stuck()
    assert run(o, "dlq", "list", as_json=True)["letters"][0]["kind"] == "stuck"
    run(o, "dlq", "settle", f"{stuck}/first", "--as", "person:bob", "--reason", "refunded by hand")
    o.until(stuck, "compensated")
    assert "identical" in run(o, "replay", stuck)


def test_slips_are_told_with_what_to_do(o):
    begun = o.waiting()
    for words, said in (
        (("workflow", "show", "run_none"), "`aegis workflow list` lists them"),
        (("dlq", "show", f"{begun}/second"), "is no dead letter"),
        (("dlq", "show", "second"), "expected RUN/NODE"),
        (("dlq", "list", "--filter", "color=red"), "expected NAME=VALUE"),
        (("dlq", "requeue"), "give either RUN/NODE or --filter"),
        (("workflow", "retry", begun, "--as", "person:alice"), "no step of"),
        (("replay", "run_none"), "`aegis workflow list` lists them"),
        (("replay", begun, "--definition", "rusky"), "did you mean"),
    ):
        told = aegis(o.root, *words, env={"AEGIS_URL": o.url, "AEGIS_TENANT": "acme"})
        assert (told.returncode, said in told.stderr) == (2, True), (words, told.stderr)


def test_a_replay_says_identical_and_shows_where_another_definition_goes_another_way(o):
    begun = o.waiting()
    o.by_agent(go(begun))
    o.until(begun, "succeeded")

    told = run(o, "replay", begun)
    assert told.startswith("identical, 4 events; succeeded")
    assert run(o, "replay", begun, as_json=True)["verdict"] == "identical"

    text = (o.root / "tenants/acme/workflows/risky.yaml").read_text()
    other = o.root / "stricter.yaml"
    other.write_text(text.replace("needs: [go]", "needs: [go]\n      when: {steps.go.output.amount: {gt: 100}}"))
    shown = run(o, "replay", begun, "--definition", str(other), code=1)
    assert "different at event 3: signalled" in shown
    assert "act second 1.1" in shown
    assert "finish succeeded" in shown
    assert run(o, "replay", begun, "--models").strip() == "no agent named a model"
