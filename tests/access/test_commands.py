"""`aegis access` and `aegis check`: what they print, how they end, and that what they claim is what the gateway does."""

import csv
import io
import json
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from access.tenants import opened, small
from aegis.model.decision import Outcome
from aegis.policy.access.matrix import Approvals, Approver, Cell, Matrix, Row
from aegis.policy.access.witness import Witness
from aegis.surfaces.cli import access_page
from aegis.surfaces.cli.main import cli
from registry.shipped import shipped, text, within


def ran(root, *args):
    found = CliRunner().invoke(cli, ["--dir", str(root), *args], standalone_mode=False)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.return_value or 0, found.stdout


def settled(w):
    """The working directory of a world, with the settings that commands read."""
    (w.root / "aegis.toml").write_text(f'[store]\nurl = "{w.settings.store.url}"\n')
    return w.root


def answer(root, *args):
    code, said = ran(root, "--json", *args)
    return code, json.loads(said)


def test_every_witness_of_an_agent_is_what_the_gateway_decides_over_http(w):
    found = answer(settled(w), "access", "matrix", "--tenant", "acme")[1]
    calls = 0
    bound = {name for name, entry in w.app.gate.tenant("acme").directory.agents.items() if entry.proof_required}
    for row in (row for row in found["rows"] if row["kind"] == "agent" and row["name"] not in bound):
        for tool, cell in row["cells"].items():
            for example in cell["examples"]:
                given = example["input"]
                if given.keys() & {"chain", "past"} or any(
                    not path.startswith(("args.", "agent.", "tool", "environment")) for path in given
                ):
                    continue
                token = w.token(given["agent.id"], roles=tuple(given["agent.roles"]), scopes=tuple(given["agent.scopes"]))
                arguments = {path.removeprefix("args."): value for path, value in given.items() if path.startswith("args.")}
                calls += 1
                told = w.post("/v1/decide", {"tool": tool, "arguments": arguments}, token, idempotency_key=f"k{calls}")
                seen = told.json().get("decision") or {"approval-needed": "approval_needed"}.get(told.json().get("code"))
                assert seen == example["outcome"], (told.json(), example)
            if cell["says"] == "none":
                calls += 1
                arguments = {"id": "a"} if tool == "records.read" else {"amount": 5}
                told = w.post(
                    "/v1/decide", {"tool": tool, "arguments": arguments}, w.token(row["name"]), idempotency_key=f"k{calls}"
                )
                assert told.status_code in (401, 403), (row["name"], tool, told.json())
                assert told.json().get("code") != "approval-needed"
    assert calls > 10


def test_the_matrix_is_of_the_policy_that_serves_and_not_of_the_files_beside_it(on_sqlite):
    w = on_sqlite
    before = answer(settled(w), "access", "matrix", "--tenant", "acme")[1]
    assert next(row for row in before["rows"] if row["name"] == "agent:reader")["cells"]["records.read"]["says"] != "none"
    shipped(w, text(w, 1).replace("{id: read.v1, effect: allow", "{id: read.v1, effect: deny"))
    within(15, lambda: next(each for each in w.app.rollout.status() if each.tenant == "acme").enforced == 1)
    after = answer(settled(w), "access", "matrix", "--tenant", "acme")[1]
    assert after["policy"]["version"] == "1"
    assert {row["cells"]["records.read"]["says"] for row in after["rows"]} == {"none"}


def test_the_table_fits_into_80_columns_and_tells_what_is_proven(tmp_path):
    small(tmp_path)
    code, said = ran(tmp_path, "access", "matrix")
    assert code == 0
    assert max(map(len, said.splitlines())) <= 80
    rows = [line.split() for line in said.splitlines()]
    assert ["role", "treasury", "-", "allow", "allow/approval", "if"] in rows
    assert ["approver", "role:lead", "-", "-", "approves"] in rows
    assert not (tmp_path / "data").exists()  # looking makes no database


def test_many_tools_are_listed_one_below_the_other(tmp_path):
    made = matrix_of({f"tool.number-{number}": Cell() for number in range(30)} | {"tool.open": seen(Outcome.ALLOW)})
    said = access_page.table(made, width=80)
    assert max(map(len, said.splitlines())) <= 80
    assert said.splitlines()[1].split() == ["role", "treasury", "tool.open", "allow"]
    assert len(said.splitlines()) == 2
    assert access_page.table(matrix_of({f"tool.number-{number}": Cell() for number in range(30)}), width=80).endswith(
        "(no tool)  -\n"
    )


def seen(*outcomes, rules=("r",), given=None):
    found = {each: Witness(given=given or {"tool": "t"}, outcome=each, rules=rules) for each in outcomes}
    held = found.pop(Outcome.APPROVAL_NEEDED, None)
    return Cell(permits=found, holds={"h": held} if held else {})


def matrix_of(cells, people=()):
    return Matrix(tools=tuple(sorted(cells)), rows=(Row(name="treasury", kind="role", cells=cells),), people=people)


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-2", "@sum", "\tx", 'say "hi", they', "two\nlines", "plain"])
def test_csv_holds_every_name_and_no_formula(name):
    made = Matrix(tools=(name,), rows=(Row(name=name, kind="agent", cells={name: seen(Outcome.ALLOW)}),))
    said = access_page.csv(made)
    (head, row) = csv.reader(io.StringIO(said, newline=""))
    assert (head, row) == (["kind", "who", head[2]], ["agent", row[1], "allow"])
    assert head[2] == row[1] == (name if name[0] not in "=+-@\t" else f"'{name}")
    assert said.endswith("\r\n")
    assert said.replace("\r\n", "").count("\r") == 0


class Page(HTMLParser):
    """Tags that must be closed in order, and everything that a page could load or run."""

    def __init__(self):
        super().__init__()
        self.open, self.bad, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        self.bad += [tag] if tag in ("script", "img", "link", "iframe", "object", "form", "a") else []
        self.bad += [name for name, _ in attrs if name.startswith("on") or name in ("src", "href", "style")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_loads_nothing_and_escapes_everything():
    evil = '<script>alert("1")</script>&\'x'
    cell = seen(Outcome.ALLOW, Outcome.SANITIZE, Outcome.APPROVAL_NEEDED, rules=(evil,), given={"tool": evil, evil: [evil]})
    people = (Approver(name=evil, cells={evil: Approvals(seen={"r": cell.permits[Outcome.ALLOW]})}),)
    made = Matrix(
        tools=(evil,),
        rows=(
            Row(name=evil, kind="role", cells={evil: cell}),
            Row(name=evil, kind="agent", cells={evil: Cell(unproven=("permit",))}),
        ),
        people=people,
    )
    page = access_page.html(made, tenant=evil, policy=evil)
    parser = Page()
    parser.feed(page)
    assert (parser.open, parser.bad) == ([], [])
    assert "".join(parser.text).count(evil) >= 8
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert "url(" not in page
    assert "@import" not in page


def test_the_page_is_written_to_a_file_whole(tmp_path):
    small(tmp_path)
    target = tmp_path / "access.html"
    code, said = ran(tmp_path, "access", "matrix", "--format", "html", "--output", str(target))
    assert (code, said) == (0, "")
    page = target.read_text()
    assert page.startswith("<!doctype html>")
    assert "agent:payer" in page
    assert "pay.send" in page
    code, said = ran(tmp_path, "access", "matrix", "--format", "csv")
    assert (code, said.splitlines()[0]) == (0, "kind,who,files.drop,files.read,pay.send")


def test_check_proves_or_shows_a_call_and_ends_with_1(tmp_path):
    small(tmp_path)
    assert ran(tmp_path, "access", "check") == (0, ran(tmp_path, "access", "check")[1])
    code, found = answer(tmp_path, "access", "check", "treasury")
    assert (code, found["ok"], [each["who"] for each in found["results"]]) == (0, True, ["treasury", "agent:payer"])
    small(tmp_path, of_policy=[("tools: [files.drop], when: {agent.roles: {contains: clerk}}", "tools: [files.drop]")])
    code, found = answer(tmp_path, "access", "check")
    assert (code, found["ok"]) == (1, False)
    code, said = ran(tmp_path, "access", "check", "treasury")
    assert code == 1
    assert "`treasury` reaches `files.drop`" in " ".join(said.split())
    assert "expect: {outcome: deny}" in said


def checked(root, what):
    code, found = answer(root, "check")
    return code, [(row["state"], row["text"]) for row in found["results"] if row["what"] == what]


def test_aegis_check_runs_it_where_the_directory_says_what_roles_are_for(tmp_path):
    small(tmp_path)
    assert checked(tmp_path, "access acme") == (0, [("ok", "6 roles, agents and approvers are proven to keep to `spec.roles`")])
    small(tmp_path, of_policy=[("tools: [files.drop], when: {agent.roles: {contains: clerk}}", "tools: [files.drop]")])
    code, rows = checked(tmp_path, "access acme")
    assert code == 1
    assert [state for state, _ in rows] == ["failed"]
    path = tmp_path / "tenants/acme/directory.yaml"
    path.write_text(path.read_text().split("  roles:\n")[0])
    opened(tmp_path, "acme")
    assert checked(tmp_path, "access acme") == (0, [])


def test_aegis_check_tells_of_a_broken_directory_beside_the_rest(tmp_path):
    small(tmp_path)
    path = tmp_path / "tenants/acme/directory.yaml"
    path.write_text(path.read_text().replace("roles: [treasury]", "roles: [tresury]"))
    code, rows = checked(tmp_path, "tenant acme")
    assert code == 1
    ((state, told),) = rows
    assert state == "failed"
    assert "did you mean `treasury`" in told


def test_history_lists_what_changed_newest_first(w):
    path = w.root / "tenants/acme/directory.yaml"
    path.write_text(path.read_text().replace("person:bob: {roles: [lead]}", "person:bob: {roles: [lead], enabled: false}"))
    within(15, lambda: len(answer(settled(w), "access", "history", "--tenant", "acme")[1]["events"]) == 2)
    code, said = ran(w.root, "access", "history", "--tenant", "acme", "-n", "1")
    assert (code, len(said.splitlines())) == (0, 2)
    assert said.splitlines()[1].split()[1:] == ["person:bob", "enabled", "true", "false"]
    good = path.read_text()
    path.write_text("nothing: [")
    within(15, lambda: w.app.directories.refused("acme"))
    path.write_text(good)
    within(15, lambda: not w.app.directories.refused("acme"))
    events = answer(w.root, "access", "history", "--tenant", "acme")[1]["events"]
    assert [event["type"] for event in events] == ["directory_refused", "permissions_changed", "permissions_changed"]
