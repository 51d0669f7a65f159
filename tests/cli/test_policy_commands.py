"""`aegis policy` as authors use it: on a file and on a tenant, for people at 80 columns and for programs, by exit codes."""

import json

import pytest

from cli.command import aegis
from cli.test_commands import serving

CASES = [("Milk", "buy some"), ("Announcement one", "we moved"), ("Milk", "x" * 150), ("Milk", "y" * 300)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A directory as `aegis init` writes it, with a rule in shadow, and a few decisions in its journal."""
    place = tmp_path_factory.mktemp("policy") / "home"
    assert aegis(None, "init", str(place)).returncode == 0
    path = place / "tenants/acme/policy.yaml"
    rule = "    - {id: notes.brief, effect: deny, mode: shadow, tools: [notes.add], when: {args.text: {longer_than: 100}}, reason: be brief}\n"
    path.write_text(path.read_text().replace("  tests:\n", rule + "  tests:\n"))
    with serving(place) as url:
        for number, (title, text) in enumerate(CASES):
            words = ("--as", "agent:assistant", "--url", url, "-a", f"title={title}", "-a", f"text={text}", "--key", f"k{number}")
            told = aegis(place, "decide", "notes.add", *words)
            assert told.returncode in (0, 3, 4), told.stderr
    return place


def told(home, *words, code=0):
    """What a command says for programs; and that for people it keeps to 80 columns and ends alike."""
    plain = aegis(home, "policy", *words)
    assert plain.returncode == code, plain.stdout + plain.stderr
    wide = [
        line for line in plain.stdout.splitlines() if len(line) > 80 and "candidate.yaml" not in line and "policy.yaml" not in line
    ]
    assert not wide, plain.stdout
    found = aegis(home, "--json", "policy", *words)
    assert found.returncode == code, found.stdout + found.stderr
    return json.loads(found.stdout), plain.stdout


def edited(home, tmp_path, *changes):
    text = (home / "tenants/acme/policy.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "candidate.yaml"
    path.write_text(text)
    return str(path)


def test_lint_of_a_tenant_and_of_a_file(home, tmp_path):
    found, text = told(home, "lint")
    assert found["ok"]
    assert "untested" in {each["check"] for each in found["findings"]}
    assert "acme-core: 4 rules" in text
    dead = edited(home, tmp_path, ("longer_than: 200", "longer_than: 200, shorter_than: 100"))
    found, _ = told(None, "lint", dead, code=1)
    assert [each["about"] for each in found["findings"] if each["check"] == "dead-rule"] == ["notes.short"]


def test_coverage_tells_shares_and_can_demand_them(home):
    found, text = told(home, "coverage", "--min-critical", "100")
    assert (found["critical_percent"], found["ok"]) == (100, True)
    assert "notes.brief" in text
    told(home, "coverage", "--min-rules", "100", code=1)


def test_tools_in_the_journal_that_a_set_does_not_know_are_named(home, tmp_path):
    other = edited(home, tmp_path, ("notes.add", "notes.put"))
    assert told(home, "coverage", other, "--traffic")[0]["coverage"]["ungoverned"] == ["notes.add"]


def test_the_tests_of_a_set_run_and_more_are_generated(home, tmp_path):
    found, text = told(home, "test")
    assert all(each["passed"] for each in found["tests"])
    assert {each["rule"]: bool(each["hits"] and each["misses"]) for each in found["generated"]} == dict.fromkeys(
        ("notes.write", "notes.short", "notes.announcement", "notes.brief"), True
    )
    assert "3 of 3 tests passed" in text
    wrong = edited(home, tmp_path, ("expect: {outcome: approval_needed}", "expect: {outcome: allow}"))
    assert "expected outcome allow" in told(None, "test", wrong, code=1)[1]


def test_a_simulation_lists_each_difference(home, tmp_path):
    path = edited(home, tmp_path, ("mode: shadow, ", ""), ("longer_than: 200", "longer_than: 400"))
    found, text = told(home, "simulate", path)
    assert (found["decisions"], found["kinds"]) == (4, {"allow -> deny": 1})
    assert [(each["kind"], each["rules"]) for each in found["listed"]] == [("allow -> deny", ["notes.brief"])]
    assert "1 of 4 decisions would be different" in text
    same = str(home / "tenants/acme/policy.yaml")
    assert told(home, "simulate", same, "--live")[0]["kinds"] == {"allow -> deny": 1}
    told(home, "simulate", path, "--max-flips", "0", code=1)
    loose = edited(home, tmp_path, ("longer_than: 200", "longer_than: 400"))
    found, text = told(home, "simulate", loose, "--no-loosen", code=1)
    assert found["loosened"] == 1
    assert "LOOSENED" in text


def test_a_simulation_of_the_same_set_finds_nothing(home):
    found, _ = told(home, "simulate", str(home / "tenants/acme/policy.yaml"))
    assert (found["decisions"], found["flips"], found["not_comparable"]) == (4, 0, {})


def test_the_shadow_report_counts_and_people_mark_what_was_wrong(home):
    found, text = told(home, "shadow-report", "--min-calls", "1", "--min-days", "0")
    (line,) = found["lines"]
    assert (line["rule"], line["calls"], line["fired"], line["would_block"]) == ("notes.brief", 4, 2, 1)
    assert found["rules"][0]["ready"]
    (example,) = line["examples"]
    assert example in text
    assert "x" * 100 not in text
    told(home, "shadow-report", "--require-ready", code=1)
    mark = ("policy", "shadow-report", "--false-positive", example, "--rule", "notes.brief", "--as", "person:alice")
    assert aegis(home, *mark, "--note", "fine").returncode == 0
    assert "marked already" in aegis(home, *mark).stderr
    found, _ = told(home, "shadow-report", "--min-calls", "1", "--min-days", "0")
    assert (found["rules"][0]["false_positives"], found["rules"][0]["ready"]) == (1, False)
    assert "did not fire in shadow" in aegis(home, *mark[:4], "--rule", "notes.short", "--as", "person:alice").stderr


def test_a_diff_lists_what_loosens_and_can_forbid_it(home, tmp_path):
    path = edited(home, tmp_path, ("longer_than: 200", "longer_than: 400"))
    found, text = told(home, "diff", path, "--no-loosen", code=1)
    assert [(each["name"], each["change"]) for each in found["changes"]] == [("notes.short", "changed")]
    assert found["loosened"] > 0
    assert "LOOSENED" in text
    assert told(home, "diff", path, path)[0]["flips"] == []


def test_fmt_checks_or_replaces_a_file_and_is_settled_then(home, tmp_path):
    path = edited(home, tmp_path, ("  mode: enforce\n", "  # how\n  mode:    enforce   # for all\n"))
    told(None, "fmt", "--check", path, code=1)
    assert aegis(None, "policy", "fmt", path).returncode == 0
    assert told(None, "fmt", "--check", path)[0]["changed"] == []
    text = (tmp_path / "candidate.yaml").read_text()
    assert "  # how\n  mode: enforce  # for all\n" in text


def test_generated_tests_can_be_written_down_and_then_cover_every_rule(home, tmp_path):
    path = edited(home, tmp_path)
    assert told(None, "coverage", path)[0]["rules_percent"] < 100
    written = aegis(None, "--json", "policy", "test", path, "--write")
    assert json.loads(written.stdout)["written"] > 0
    found, _ = told(None, "test", path)
    assert all(each["passed"] for each in found["tests"])
    assert told(None, "coverage", path, "--min-rules", "100")[0]["ok"]


def test_a_plan_is_checked_before_anything_is_done(home, tmp_path):
    steps = [
        ("fine", "{title: Milk, text: short}"),
        ("open", "{title: {unknown: true}, text: short}"),
        ("never", f"{{title: x, text: {'x' * 250}}}"),
    ]
    lines = [f"  - {{id: {name}, tool: notes.add, args: {args}}}" for name, args in steps]
    path = tmp_path / "plan.yaml"
    path.write_text("\n".join(["apiVersion: aegis.plan/v1", "kind: Plan", "context: {agent.roles: [writer]}", "steps:", *lines]))
    found, text = told(home, "check-plan", str(path), code=1)
    assert [each["outcome"] for each in found["steps"]] == ["allow", "depends", "deny"]
    assert "depends on args.title" in text
    assert "notes.short at `args.text` against 200" in text
