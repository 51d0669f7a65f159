"""`aegis keys new all` and `aegis keys list`."""

import json
import shutil

from cli.command import aegis


def made(home, *words):
    done = aegis(home, "--json", "keys", "new", "all", *words)
    assert done.returncode == 0, done.stderr
    return {(each["class"], each["owner"]) for each in json.loads(done.stdout)["made"]}


def test_one_command_makes_every_key_that_a_tenant_lacks_and_none_twice(tmp_path):
    home = tmp_path / "home"
    assert aegis(None, "init", str(home)).returncode == 0
    assert made(home) == {("workload", "agent:assistant")}, "what `aegis init` made is left alone"
    globex = home / "tenants" / "globex"
    shutil.copytree(home / "tenants" / "acme", globex)
    for path in filter(lambda each: each.is_file(), globex.rglob("*")):
        path.write_text(path.read_text("utf-8").replace("acme", "globex"), "utf-8")
    own = {(key_class, "") for key_class in ("sts", "override", "log", "kek", "hash", "publisher", "bundle")}
    assert made(home, "--tenant", "globex") == own | {("human", "person:alice"), ("workload", "agent:assistant")}
    assert made(home, "--tenant", "globex") == set()
    checked = aegis(home, "check")
    assert checked.returncode == 0, checked.stdout
    assert aegis(home, "token", "agent:assistant", "--tenant", "globex", "--assertion").stdout.count(".") == 2
    assert "leave --owner out" in aegis(home, "keys", "new", "all", "--tenant", "acme", "--owner", "person:alice").stderr


def test_keys_are_listed_in_eighty_columns_with_whole_words_and_whole_ids(tmp_path):
    home = tmp_path / "home"
    assert aegis(None, "init", str(home)).returncode == 0
    kids = [key["kid"] for key in json.loads(aegis(home, "--json", "keys", "list").stdout)["keys"]]
    told = aegis(home, "keys", "list", env={"COLUMNS": "80"}).stdout
    assert max(map(len, told.splitlines())) <= 80
    assert all(word in told for word in (*kids, "publisher", "person:alice"))


def test_check_tells_of_a_tenant_whose_tokens_nobody_here_can_sign(tmp_path):
    home = tmp_path / "home"
    assert aegis(None, "init", str(home)).returncode == 0
    shutil.rmtree(home / "keys" / "sts")
    told = aegis(home, "check")
    assert (told.returncode, "a gateway here issues no tokens" in told.stdout.replace("\n", " ")) == (0, True), told.stdout


def test_a_directory_of_an_older_version_is_told_of_all_log_keys_at_once(tmp_path):
    home = tmp_path / "home"
    assert aegis(None, "init", str(home)).returncode == 0
    public = home / "keys" / "public.json"
    held = json.loads(public.read_text("utf-8"))
    held["keys"] = [key for key in held["keys"] if key["class"] != "log"]
    public.write_text(json.dumps(held), "utf-8")
    shutil.rmtree(home / "keys" / "log")
    told = " ".join(aegis(home, "check").stdout.split())
    for tenant in ("acme", "_system"):
        assert f"`aegis keys new log --tenant {tenant}`" in told
        assert aegis(home, "keys", "new", "log", "--tenant", tenant).returncode == 0
    assert aegis(home, "check").returncode == 0


def test_a_key_that_was_revoked_is_listed_so_though_the_file_still_lists_it(tmp_path):
    home = tmp_path / "home"
    assert aegis(None, "init", str(home)).returncode == 0
    made = json.loads(aegis(home, "--json", "keys", "new", "workload", "--owner", "agent:assistant").stdout)["kid"]
    assert "revoked" not in aegis(home, "keys", "list").stdout
    told = aegis(home, "revoke", "--key", made, "--as", "person:alice", "--reason", "a laptop was stolen")
    assert told.returncode == 0, told.stderr
    listed = json.loads(aegis(home, "--json", "keys", "list").stdout)["keys"]
    assert [key["kid"] for key in listed if key["revoked"]] == [made]
    assert "agent:assistant  revoked" in aegis(home, "keys", "list").stdout
