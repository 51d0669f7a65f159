"""`aegis check` tells of a store that a gateway would not serve."""

import json
import shutil

from tests.cli.command import aegis

WHO = ("--as", "person:alice", "--reason", "a test")


def test_a_store_that_was_put_back_fails_its_check(tmp_path):
    home = tmp_path / "home"
    assert aegis(None, "init", str(home)).returncode == 0
    assert aegis(home, "halt", "agent:assistant", *WHO).returncode == 0
    seal = ("audit", "checkpoint", "--now", "--tenant", "_system")
    assert aegis(home, *seal).returncode == 0
    store = home / "data" / "aegis.db"
    shutil.copy(store, tmp_path / "old.db")
    assert aegis(home, "resume", "agent:assistant", *WHO).returncode == 0
    assert aegis(home, *seal).returncode == 0
    assert "agrees with the anchor" in aegis(home, "check").stdout
    for path in store.parent.glob("aegis.db*"):
        if path.is_file():
            path.unlink()
    shutil.copy(tmp_path / "old.db", store)
    told = aegis(home, "--json", "check")
    (journal,) = [row for row in json.loads(told.stdout)["results"] if row["what"] == "journal"]
    assert (told.returncode, journal["state"]) == (1, "failed")
    assert "were sealed" in journal["text"]
