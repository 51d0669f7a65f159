"""The page on delegation followed by copy and paste: tokens, a task handed down, taken up, exceeded and ended, with `curl`."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.test_readme import Desk, desk

__all__ = ["desk"]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "delegation.md").read_text("utf-8").split("## By hand")[1].split("\n## ")[0]


@pytest.fixture
def by_hand(desk: Desk, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    """What the commands of the page print, in a directory of its own where a gateway and the example tool run."""
    (line,), (script,) = (re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("yaml", "sh"))
    directory = desk.home / "tenants" / "acme" / "directory.yaml"
    directory.write_text(directory.read_text("utf-8").replace("  people:\n", f"{line}  people:\n"), "utf-8")
    desk.start("notes_server.py")
    desk.up()
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, words in (("python", [sys.executable]), ("aegis", [sys.executable, "-m", "aegis"])):
        (commands / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', "utf-8")
        (commands / name).chmod(0o755)
    return subprocess.run(
        ["sh", "-e"],
        input=script.replace("8420", desk.ports["8420"]),
        cwd=desk.home,
        env=desk.env | {"PATH": os.pathsep.join((str(commands), os.environ["PATH"])), "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_who_follows_the_page_hands_a_task_down_that_cannot_be_exceeded(by_hand: "subprocess.CompletedProcess[str]") -> None:
    assert by_hand.returncode == 0, by_hand.stderr
    told = by_hand.stdout
    assert "authority.limit" in told
    assert told.count('"decision":"allow"') == 1, "one note was handed down, and one note was written"
    assert "authority.calls" in told
    assert "chain.parent_not_live" in told
    unwrapped = " ".join(told.split())
    assert "handed notes.add (once, within limits on title) to agent:helper for task shopping; it has ended." in unwrapped
