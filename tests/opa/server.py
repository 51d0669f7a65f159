"""A real Open Policy Agent as a server, for tests.

`binary()` finds one: `$AEGIS_OPA`, then `opa` on PATH, then one that an earlier run has built, then `go install` where Go is present. The
build has a time limit and is tried once an hour at most; where there is no binary, `binary()` skips the test and says why.

    with Server(files={"a/main.rego": text, "data.json": {...}}) as opa:
        httpx.post(f"{opa.url}/v1/data/a/main/decision", json={"input": {...}})

`bundles=` starts it with bundles instead, `words=` adds arguments (keys to verify with, for example). `Server` raises `DidNotStart`,
with what OPA said, when OPA ends before it listens.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

VERSION = "v1.20.2"
BUILD_SECONDS = 420
START_SECONDS = 30
AGAIN_AFTER_SECONDS = 3600
_QUIET = ("--log-level", "error", "--disable-telemetry", "--skip-known-schema-check")


class DidNotStart(Exception):  # noqa: N818 - what happened, and the text says why
    """OPA ended before it listened."""


def binary() -> str:
    """The path of an `opa`, or skip."""
    found, reason = _found()
    if not found:
        pytest.skip(f"no OPA server here: {reason}")
    return found


@cache
def _found() -> tuple[str, str]:
    """(path, why there is none)."""
    named = os.environ.get("AEGIS_OPA")
    if named:
        return (named, "") if os.access(named, os.X_OK) else ("", "$AEGIS_OPA is not a program")
    if on_path := shutil.which("opa"):
        return on_path, ""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aegis-tests" / f"opa-{VERSION}"
    if (home / "opa").exists():
        return str(home / "opa"), ""
    go = shutil.which("go")
    return _built(go, home) if go else ("", "neither `opa` nor `go` on PATH")


def _built(go: str, home: Path) -> tuple[str, str]:
    """One build at a time on a machine; a failed one is not repeated at once."""
    home.mkdir(parents=True, exist_ok=True)
    failed = home / "failed"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (home / "opa").exists():
            return str(home / "opa"), ""
        if failed.exists() and time.time() - failed.stat().st_mtime < AGAIN_AFTER_SECONDS:
            return "", failed.read_text()
        reason = _build(go, home)
        if reason:
            failed.write_text(reason)
            return "", reason
        return str(home / "opa"), ""


def _build(go: str, home: Path) -> str:
    """Why the build failed; empty when it did not."""
    with tempfile.TemporaryDirectory(dir=home) as folder:
        command = [go, "install", f"github.com/open-policy-agent/opa@{VERSION}"]
        told = subprocess.Popen(
            command, env=os.environ | {"GOBIN": folder}, cwd=folder, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            said = told.communicate(timeout=BUILD_SECONDS)[1]
        except subprocess.TimeoutExpired:
            os.killpg(told.pid, signal.SIGKILL)
            told.communicate()
            return f"`go install` took longer than {BUILD_SECONDS} s"
        if told.returncode:
            return f"`go install` failed: {said.strip().splitlines()[-1][:200] if said.strip() else told.returncode}"
        (Path(folder) / "opa").replace(home / "opa")
    return ""


class Server:
    """An OPA that listens at `url` while the context is open."""

    def __init__(
        self,
        files: Mapping[str, str | dict[str, Any]] | None = None,
        *,
        bundles: Iterable[Path] = (),
        words: Iterable[str] = (),
    ) -> None:
        """`files` are modules (text) and documents (`data.json`) by path."""
        self._program = binary()
        self._files = files or {}
        self._bundles = tuple(bundles)
        self._words = tuple(words)
        self._folder = tempfile.TemporaryDirectory(prefix="aegis-opa-")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        for name, content in self._files.items():
            path = folder / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        try:
            self._start(folder)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> None:
        """End the server at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self, folder: Path) -> None:
        for _ in range(5):  # another process may take the free port first
            port = _free_port()
            self.url = f"http://127.0.0.1:{port}"
            said = self._listens(folder, port)
            if said is None:
                return
            if "address already in use" not in said:
                break
        raise DidNotStart(said)

    def _listens(self, folder: Path, port: int) -> str | None:
        """Nothing once the server answers, or what it said before it ended."""
        given = [str(folder / "files")] if self._files else []
        if self._bundles:
            given = ["--bundle", *map(str, self._bundles)]
        told = [self._program, "run", "--server", "--addr", f"127.0.0.1:{port}", *_QUIET, *self._words, *given]
        log = folder / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(told, stdout=out, stderr=out, cwd=folder)
        until = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return None
            time.sleep(0.02)
        self.stop()
        return log.read_text(errors="replace")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
