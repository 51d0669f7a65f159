"""Commands within the story: run as a person would in another terminal, and shown with what they say."""

import itertools
import subprocess
import textwrap

from aegis.surfaces.cli.demo.stage import Stage
from aegis.surfaces.cli.demo.tale import Tale


def run(stage: Stage, tale: Tale, *words: str, last: int = 12) -> subprocess.CompletedProcess[str]:
    """Run a command of ours, and show the end of what it says."""
    told = stage.command(*words)
    shown = " ".join(f'"{word}"' if " " in word else word for word in words if not word.startswith("/"))
    show(tale, f"aegis {shown}", told, last)
    if told.returncode:
        tale.expect(f"aegis {words[0]} {words[1]} went well", told.returncode == 0)
    return told


def show(tale: Tale, command: str, told: subprocess.CompletedProcess[str], last: int = 12, until: str = "") -> None:
    """A command and the end of what it said, or all before the line that begins with `until`, at the width of the story."""
    tale.say(f"$ {command}")
    lines = (told.stdout or told.stderr).strip().splitlines()
    if until:
        lines = list(itertools.takewhile(lambda line: not line.strip().startswith(until), lines))
    for line in lines[-last:]:
        indent = " " * (len(line) - len(line.lstrip()))
        for piece in textwrap.wrap(line, 74, subsequent_indent=indent) or [""]:
            tale.say(f"  {piece}")
