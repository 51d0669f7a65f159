"""The command `aegis`, run as its entry point runs it: in this process, or in one of its own where that is what is tried.

A process of its own costs half a second, nearly all of it for modules that this one has loaded already. What the command sees is the
same: its words, its environment, its directory and its streams, which are no terminal.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner

from aegis.surfaces.cli.main import main

ENV = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
Ended = subprocess.CompletedProcess[str]


def aegis(directory: Path | None, *words: str, env: dict[str, str] | None = None) -> Ended:
    """Run the command here."""
    given = {name: None for name in os.environ if name.startswith("AEGIS_")} | (env or {})
    arguments = _arguments(directory, words)
    with _inside(directory), CliRunner().isolation(env=given) as (stdout, stderr, _):
        code = _ended(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        return Ended(arguments, code, stdout.getvalue().decode(), stderr.getvalue().decode())


def process(directory: Path | None, *words: str, env: dict[str, str] | None = None, timeout: float = 60) -> Ended:
    """Run the command in a process of its own, as a shell does."""
    return subprocess.run(
        [sys.executable, "-m", "aegis", *_arguments(directory, words)],
        capture_output=True, text=True, timeout=timeout, check=False, env={**ENV, **(env or {})}, cwd=directory,
    )  # fmt: skip


def _arguments(directory: Path | None, words: tuple[str, ...]) -> list[str]:
    return [*(("--dir", str(directory)) if directory else ()), *map(str, words)]


@contextlib.contextmanager
def _inside(directory: Path | None) -> Iterator[None]:
    with contextlib.chdir(directory) if directory else contextlib.nullcontext():
        yield


def _ended(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    raise AssertionError("the command came back without an exit code")
