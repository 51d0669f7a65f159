"""A log for tests: leaves in memory, a key, and what a gateway would send. And a witness that runs."""

import http.client
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from aegis.adapters.witness import home as homes
from aegis.crypto import merkle, note
from aegis.crypto.jwk import PrivateKey, private_key
from aegis.crypto.merkle import Frontier
from aegis.crypto.note import Verifier
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.witness import Request

ORIGIN = "aegis.acme/audit/1"
KEY = private_key(b"\x11" * 32)


class Log:
    """A tree over the leaves that it was given."""

    def __init__(self, leaves: Iterable[bytes] = (), *, origin: str = ORIGIN, key: PrivateKey = KEY) -> None:
        self.origin = origin
        self.key = key
        self.leaves = [merkle.leaf_hash(leaf) for leaf in leaves]

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.origin, self.key.public)

    def grow(self, count: int, word: bytes = b"event") -> "Log":
        self.leaves += [merkle.leaf_hash(word + b" %d" % place) for place in range(len(self.leaves), len(self.leaves) + count)]
        return self

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = len(self.leaves) if size is None else size
        return Checkpoint(self.origin, size, Frontier().extend(self.leaves[:size]).root)

    def note(self, size: int | None = None) -> bytes:
        text = self.checkpoint(size).text
        return note.Note(text, (note.sign(text, self.origin, self.key),)).data

    def proof(self, old: int, size: int | None = None) -> list[bytes]:
        return merkle.consistency_proof(old, len(self.leaves) if size is None else size, self._subtree)

    def _subtree(self, level: int, number: int) -> bytes:
        return Frontier().extend(self.leaves[number << level : (number + 1) << level]).root


def log(size: int, **more) -> Log:
    return Log(**more).grow(size)


SERVE = "import sys; from aegis.surfaces.cli.main import main; main(sys.argv[1:])"


class Running:
    """A witness that serves, as a process; `script` runs instead of the command."""

    def __init__(self, state: Path, name: str, logs: list[str], *, script: str = "", port: int = 0) -> None:
        self.home = homes.load(state) if state.exists() else homes.create(state, name, logs)
        self.verifier = self.home.verifier
        arguments = ["witness", "serve", str(state), "--port", str(port)]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `stop`; not a pipe, because nobody reads it before
        self.process = subprocess.Popen(
            [sys.executable, "-c", script or SERVE, *arguments], stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        told = self.process.stdout.readline()
        if " is up on " not in told:
            raise AssertionError(f"the witness did not start: {told}{self.stop()}")
        self.url = told.split(" is up on ")[1].split()[0]
        self.port = int(self.url.rpartition(":")[2])

    def post(self, body: bytes, path: str = "/add-checkpoint") -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.headers["content-type"], answer.read()
        finally:
            connection.close()

    def add(self, log: Log, old: int, size: int | None = None, *, proof: list[bytes] | None = None) -> tuple[int, str, bytes]:
        """Ask for a cosignature over `log` at `size`, with a proof from `old`."""
        shown = log.proof(old, size) if proof is None else proof
        return self.post(Request(old, tuple(shown), note.parse(log.note(size))).data)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> str:
        """End it; what it logged."""
        if self._log.closed:
            return ""
        self.process.terminate()
        self.process.communicate()
        with self._log:
            self._log.seek(0)
            return self._log.read()
