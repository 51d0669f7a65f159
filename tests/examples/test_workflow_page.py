"""The page `a workflow in ten minutes` followed by copy and paste: every file is saved, every command is run, in their order."""

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.docs.test_readme import Desk, desk

from aegis.surfaces.cli.main import cli

__all__ = ["desk"]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "workflow-in-ten-minutes.md").read_text("utf-8")
STEPS = re.compile(r"(?:as|Replace)\s+`([^`]+)`[^`]*```(?:yaml|python)\n(.*?)```|```sh\n(.*?)```", re.DOTALL)
ENDS = {"follow": 4, "plan": 4}  # both wait for a person


class Reader:
    """Somebody who pastes the page. Commands run in here, for the sake of time; the gateway, the tool and the author are processes."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._jobs: dict[str, Any] = {}
        self.run = ""
        self.told: list[tuple[str, str]] = []

    def aegis(self, *words: str, wanted: int = 0) -> str:
        ran = CliRunner().invoke(cli, ["--dir", str(self._desk.home), *words], standalone_mode=False)
        assert (ran.exception, ran.return_value or 0) == (None, wanted), (words, ran.output)
        return ran.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.aegis("--json", *words))

    def until(self, holds: Callable[[], Any]) -> Any:
        """What holds in the end; a reader types slowly enough that it does at once."""
        for _ in range(600):
            if found := holds():
                return found
            time.sleep(0.1)
        pytest.fail(f"it does not come to this: {self.told[-1:]}")

    def paste(self, line: str) -> None:
        words = shlex.split(line)
        match words:
            case ["aegis", "init", *_] | ["cd", *_]:
                pass  # the desk is such a directory
            case ["mkdir", *folders]:
                for folder in folders:
                    (self._desk.home / folder).mkdir()
            case ["aegis", "up", "&"]:
                self._desk.up()
            case ["python", program, "&"]:
                self._jobs[program] = self._desk.start(program)
                if program == "notes_server.py":
                    self._desk.wait(f"http://127.0.0.1:{self._desk.ports['9000']}/notes")
            case ["kill", "-9", "%2"]:
                assert self._desk.gateway is not None
                self._desk.gateway.kill()
                self._desk.gateway.wait()
            case ["kill", "%1"]:
                self._jobs["notes_server.py"].kill()
                self._jobs["notes_server.py"].wait()
            case ["aegis", *rest]:
                self._command(line, rest)
            case _:
                pytest.fail(f"nobody tries `{line}`")

    def _command(self, line: str, words: list[str]) -> None:
        if "APPROVAL_ID" in words:
            waiting = self.until(lambda: self.json("approvals", "list")["approvals"])[0]["approval_id"]
            words = [waiting if word == "APPROVAL_ID" else word for word in words]
        words = [re.sub(r"^RUN\b", self.run, word) for word in words]
        told = self.aegis(*words, wanted=next((code for word, code in ENDS.items() if word in line), 0))
        if words[:2] == ["workflow", "run"]:
            self.run = re.search(r"run_[0-9a-f]{32}", told)[0]
        if words[:2] in (["approvals", "approve"], ["dlq", "requeue"]):
            self.until(self._at_rest)
        self.told.append((" ".join(words), told))

    def _at_rest(self) -> bool:
        """Whether the run has ended, or lies where a person must do something about a step."""
        known = self.json("workflow", "show", self.run)
        return known["state"] == "succeeded" or any(step.get("waits", {}).get("what") == "person" for step in known["steps"])


@pytest.fixture
def reader(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    for name, value in desk.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return Reader(desk)


def test_who_follows_the_page_runs_approves_breaks_and_replays_a_first_workflow(desk: Desk, reader: Reader) -> None:
    for name, text, commands in STEPS.findall(PAGE):
        if name:
            desk.save(name, text)
        for line in commands.splitlines():
            reader.paste(line)
    said = dict(reader.told)
    assert said["workflow validate"].startswith("1 workflow: 0 errors, 0 warnings")
    shown = [text for line, text in reader.told if line.startswith("workflow show")]
    assert [re.search(r"state +(\w+)", text)[1] for text in shown] == ["waiting", "succeeded", "waiting", "succeeded"]
    assert "identical" in said[f"replay {reader.run}"]
    assert said["call notes.list --as agent:assistant"].count("Good news about") == 1
