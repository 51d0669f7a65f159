"""The command as people and programs use it, by exit codes and output."""

import json
import signal
import subprocess
import sys
import threading
from contextlib import chdir, contextmanager

import pytest

from aegis.surfaces.cli.demo.stage import Stage
from cli.command import ENV, aegis, process
from gateway.world import ToolServer


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A directory as `aegis init` writes it, its example tool replaced by a real server that counts."""
    place = tmp_path_factory.mktemp("cli") / "home"
    made = process(None, "init", str(place))
    assert made.returncode == 0, made.stderr
    return place


@contextmanager
def serving(home):
    """`aegis up` on a free port, and the example's tool server."""
    gateway = subprocess.Popen(
        [sys.executable, "-m", "aegis", "--dir", str(home), "up", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENV,
    )
    try:
        line = gateway.stdout.readline()
        assert "aegis is up on http://" in line, line
        threading.Thread(target=gateway.stdout.read, daemon=True).start()
        yield line.split("aegis is up on ")[1].split()[0]
    finally:
        gateway.terminate()
        assert gateway.wait(20) == 0
        gateway.stdout.close()


@pytest.fixture(scope="module")
def up(home):
    tool = ToolServer()
    for name in ("notes.add", "notes.list"):
        path = home / "tenants/acme/tools" / f"{name}.yaml"
        path.write_text(
            path.read_text().replace("127.0.0.1:9000", f"127.0.0.1:{tool.port}").replace("path: /notes\n", f"path: /pay/{name}\n")
        )
    path = home / "tenants/acme/tools/notes.list.yaml"
    path.write_text(
        path.read_text().replace("required: [notes]", "required: [id]").replace("{notes: {type: array}}", "{id: {type: integer}}")
    )
    with serving(home) as url:
        yield url, tool
    tool.close()


def call(home, url, *words, run=aegis):
    return run(home, "call", "notes.add", "--as", "agent:assistant", "--url", url, *words)


def test_help_and_usage_errors_import_no_product_module():
    code = "import sys; sys.argv=['aegis',{!r}]\nfrom aegis.surfaces.cli.main import main\ntry: main()\nexcept SystemExit: pass\nprint(sorted(m for m in sys.modules if m.startswith('aegis.') and 'cli' not in m and m != 'aegis.surfaces'))"
    for word in ("--help", "nonsense"):
        found = subprocess.run([sys.executable, "-c", code.format(word)], capture_output=True, text=True, check=True, env=ENV)
        assert found.stdout.splitlines()[-1] == "[]", (word, found.stdout)


def test_a_wrong_command_names_the_nearest_one():
    told = process(None, "aproval")
    assert told.returncode == 2
    assert "did you mean `approvals`?" in told.stderr


def test_an_option_of_every_command_that_stands_behind_one_is_told_its_place():
    told = aegis(None, "audit", "search", "--json")
    assert (told.returncode, "--json stands before the command: aegis --json ..." in told.stderr) == (2, True)


def test_every_command_has_help_that_says_what_it_does():
    from aegis.surfaces.cli.main import COMMANDS

    for name in COMMANDS:
        told = aegis(None, name, "--help")
        assert told.returncode == 0, name
        assert len(told.stdout.splitlines()) > 3, name
        assert max(len(line) for line in told.stdout.splitlines()) <= 100, name


def test_init_overwrites_nothing(home):
    told = aegis(None, "init", str(home))
    assert told.returncode == 2
    assert "is there already" in told.stderr


def test_a_fresh_directory_passes_its_own_check(home):
    told = aegis(home, "check")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "checks passed" in told.stdout


def test_check_names_file_line_and_near_word(home, tmp_path):
    path = home / "tenants/acme/policy.yaml"
    good = path.read_text()
    try:
        path.write_text(good.replace("effect: allow", "effect: alow", 1))
        told = aegis(home, "--json", "check")
        assert told.returncode == 1
        text = " ".join(row["text"] for row in json.loads(told.stdout)["results"] if row["state"] == "failed")
        assert "policy.yaml:" in text
        assert "did you mean `allow`?" in text
    finally:
        path.write_text(good)


def test_check_warns_of_an_approver_whom_nobody_is_and_of_a_member_that_no_result_has(home):
    path = home / "tenants/acme/policy.yaml"
    good = path.read_text()
    mask = "- {id: slip, effect: sanitize, stage: response, tools: [notes.add], redact: [{path: /result/idd, with: mask}]}\n"
    try:
        path.write_text(
            good.replace("role:editor", "role:edtior").replace("    - id: notes.write", f"    {mask}    - id: notes.write", 1)
        )
        told = aegis(home, "--json", "check")
        text = " ".join(row["text"] for row in json.loads(told.stdout)["results"])
        assert "asks `role:edtior`, whom the directory does not have; did you mean `role:editor`?" in text
        assert "`/result/idd` is nothing that the output of `notes.add`" in text
        assert "did you mean `id`?" in text
    finally:
        path.write_text(good)


def test_check_warns_of_a_role_that_no_agent_has_and_of_a_version_that_no_contract_meets(home):
    path = home / "tenants/acme/policy.yaml"
    good = path.read_text()
    try:
        path.write_text(good.replace("contains: writer", "contains: wirter").replace('">=1.0.0 <2.0.0"', '">=3.0.0"', 1))
        told = aegis(home, "--json", "check")
        text = " ".join(row["text"] for row in json.loads(told.stdout)["results"])
        assert "looks for the role `wirter`, which no agent of the directory has; did you mean `writer`?" in text
        assert "every call of `notes.add` is denied: no registered version is >=3.0.0, found 1.0.0" in text
    finally:
        path.write_text(good)


def test_a_tenant_that_is_not_there_is_refused(home):
    told = aegis(home, "approvals", "list", "--tenant", "amce")
    assert told.returncode == 2
    assert "no tenant `amce`; there are: acme; did you mean `acme`?" in told.stderr


def test_a_wrong_setting_names_file_key_and_reason(home):
    told = process(home, "check", env={"AEGIS_GATEWAY_PORT": "ninety"})
    assert (told.returncode, "AEGIS_GATEWAY_PORT" in told.stderr, "integer" in told.stderr) == (2, True, True)
    path = home / "aegis.toml"
    good = path.read_text()
    try:
        path.write_text(good.replace("max_in_flight", "max_inflight"))
        told = aegis(home, "check")
        assert (told.returncode, "did you mean `max_in_flight`" in told.stderr) == (2, True)
    finally:
        path.write_text(good)


def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(home):
    (key,) = (home / "keys/override/acme").rglob("*.json")
    key.chmod(0o644)
    try:
        told = aegis(home, "check")
        assert told.returncode == 1
        assert "chmod 600" in told.stdout
    finally:
        key.chmod(0o600)


def test_the_story_of_a_call(home, up):
    url, tool = up
    done = call(home, url, "-a", "title=Milk", "-a", "text=buy some", "--key", "n1", run=process)
    assert (done.returncode, '"id": 1' in done.stdout) == (0, True), done.stderr
    denied = call(home, url, "-a", "title=Long", "-a", "text=" + "x" * 300, "--key", "n2", run=process)
    assert denied.returncode == 3
    assert "notes.short" in denied.stderr
    held = process(
        home,
        "--json",
        "call",
        "notes.add",
        "--as",
        "agent:assistant",
        "--url",
        url,
        "-a",
        "title=Announcement",
        "-a",
        "text=hi",
        "--key",
        "n3",
    )
    assert held.returncode == 4
    assert "approval:" in held.stderr
    (waiting,) = json.loads(aegis(home, "--json", "approvals", "list").stdout)["approvals"]
    shown = aegis(home, "approvals", "show", waiting["approval_id"])
    assert '"title": "Announcement"' in shown.stdout
    approved = aegis(home, "approvals", "approve", waiting["approval_id"], "--as", "person:alice")
    assert (approved.returncode, "can run once now" in approved.stdout) == (0, True), approved.stderr
    again = aegis(home, "approvals", "approve", waiting["approval_id"], "--as", "person:alice")
    assert again.returncode == 3
    assert call(home, url, "-a", "title=Announcement", "-a", "text=hi", "--key", "n3").returncode == 0
    request = json.loads(aegis(home, "--json", "audit", "tail", "-n", "1").stdout)["request_id"]
    told = aegis(home, "explain", request)
    assert told.returncode == 0
    assert "agent:assistant was allowed to call notes.add" in told.stdout
    assert "with approval" in told.stdout
    assert len(tool.done) == 2
    tail = aegis(home, "audit", "tail")
    assert tail.stdout.count("\n") == len(tail.stdout.splitlines()) > 5
    assert aegis(home, "fsck").returncode == 0


def test_explain_tells_why_an_allow_did_not_apply_without_any_value(home, up):
    url, _ = up
    call(home, url, "-a", "title=Secret-Title-9", "-a", "text=" + "y" * 300, "--key", "n9")
    request = json.loads(aegis(home, "--json", "audit", "tail", "-n", "1").stdout)["request_id"]
    told = aegis(home, "explain", request)
    assert "may not call notes.add" in told.stdout
    assert "args.text longer_than 200" in told.stdout
    assert "Secret-Title-9" not in told.stdout


def test_decide_and_tools(home, up):
    url, tool = up
    before = len(tool.done)
    told = aegis(
        home,
        "--json",
        "decide",
        "notes.add",
        "--as",
        "agent:assistant",
        "--url",
        url,
        "--args",
        '{"title":"T","text":"x"}',
        "--key",
        "d1",
    )
    assert (told.returncode, json.loads(told.stdout)["decision"]) == (0, "allow")
    assert len(tool.done) == before
    assert [t["name"] for t in json.loads(aegis(home, "--json", "tools", "list").stdout)["tools"]] == ["notes.add", "notes.list"]
    assert aegis(home, "tools", "show", "notes.add").returncode == 0
    assert aegis(home, "tools", "show", "notes.ad").returncode == 2


def test_a_gateway_that_is_not_there_is_exit_code_5(home):
    told = call(home, "http://127.0.0.1:9", "-a", "title=x", "-a", "text=y", "--key", "z")
    assert told.returncode == 5
    assert "did not answer" in told.stderr


def test_no_identity_is_a_usage_error_that_says_what_to_do(home):
    told = aegis(home, "call", "notes.add", "--key", "z")
    assert (told.returncode, "--as AGENT" in told.stderr) == (2, True)


def test_tokens_and_keys(home):
    token = aegis(home, "token", "agent:assistant").stdout.strip()
    assert token.count(".") == 2
    assert aegis(home, "token", "agent:nobody").returncode == 2
    assert aegis(home, "token", "person:alice").stdout.strip().count(".") == 2
    assert aegis(home, "token", "agent:assistant", "--ttl", "301").returncode == 2
    before = json.loads(aegis(home, "--json", "keys", "list").stdout)["keys"]
    assert aegis(home, "keys", "rotate", "sts").returncode == 0
    after = json.loads(aegis(home, "--json", "keys", "list").stdout)["keys"]
    assert len(after) == len(before) + 1
    assert aegis(home, "keys", "new", "sts").returncode == 2
    assert aegis(home, "keys", "new", "human").returncode == 2


def test_up_refuses_to_start_without_a_key_and_says_which(home):
    keys = home / "keys" / "kek"
    keys.rename(home / "moved")
    try:
        told = process(home, "up", "--port", "0")
        assert told.returncode == 2
        assert "aegis keys new kek --tenant acme" in told.stderr
    finally:
        (home / "moved").rename(keys)


def test_the_demo_agrees_with_the_tools(monkeypatch):
    """Its gateways, tools, agents and workers are processes of their own, and of its many commands one."""
    alone, ending = Stage.command, signal.getsignal(signal.SIGTERM)

    def command(stage, *words):
        if words == ("fsck",):
            return alone(stage, *words)
        with chdir(stage.directory):
            return aegis(None, "--dir", stage.home, *words, env={"COLUMNS": "74"})

    monkeypatch.setattr(Stage, "command", command)
    try:
        told = aegis(None, "--json", "demo")
    finally:
        signal.signal(signal.SIGTERM, ending)
    assert told.returncode == 0, told.stdout + told.stderr
    story = json.loads(told.stdout)
    assert story["agreed"] is True
    assert len(story["rows"]) > 15
    assert all(check["holds"] for check in story["checks"])
