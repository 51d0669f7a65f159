"""An OPA of our own for a moment: started on loopback with a policy set as plain files, asked, and ended.

For `aegis policy test --opa`: the same tests as natively, decided by the operator's own OPA, hand-written Rego included.
"""

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from aegis.adapters.opa import parser
from aegis.crypto.canonical import canon_numbers
from aegis.errors import CanonicalError, ConfigError
from aegis.model.decision import Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.ir import Policy
from aegis.policy.rego import custom, module
from aegis.policy.rego.answer import ANSWER, Reader, refusal
from aegis.policy.rego.asked import document
from aegis.policy.rego.names import entry_point

START_SECONDS = 20
ANSWER_SECONDS = 10
ATTEMPTS = 3
_QUIET = ("--log-level", "error", "--disable-telemetry")


class OpaProcess:
    """One set in one OPA, while the context is open.

    Raises:
        ConfigError: There is no such program, or it does not take the set; with what it said.
    """

    def __init__(self, policy: Policy, program: str) -> None:
        found = shutil.which(program)
        if found is None:
            raise ConfigError(f"`{program}` is not on PATH: install Open Policy Agent, or name the program")
        self._program = found
        self._policy = policy
        self._reader = Reader(policy)
        self._folder = tempfile.TemporaryDirectory(prefix="aegis-opa-")
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        self._data = b""

    def __enter__(self) -> Self:
        try:
            self._check()
            self._start(self._written())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def verdicts(self, proposal: Proposal, facts: Facts, tenant_data: Mapping[str, Any]) -> tuple[Verdict, ...]:
        """What OPA says about a call, with this data of the tenant."""
        try:
            asked = document(proposal, facts, self._policy)
        except CanonicalError:
            return (refusal("opa#input", "the call has no form in JSON"),)
        self._give(tenant_data)
        path = entry_point(self._policy.tenant).replace(".", "/")
        answer = self._send("POST", f"/v1/data/{path}?strict-builtin-errors=true", {"input": asked})
        result = answer.get("result") if isinstance(answer, dict) else None
        return self._reader.verdicts(result) if result is not None else (refusal(ANSWER, "the policy engine has no answer"),)

    def _check(self) -> None:
        """Refuse hand-written modules that OPA's own parser reads as something that may not be loaded."""
        if wrong := custom.problems(self._policy, parser(self._program)):
            raise ConfigError("; ".join(wrong))

    def _written(self) -> Path:
        """The directory of the set's modules."""
        home = Path(self._folder.name) / "files"
        for name, text in {**module.library(), **module.modules(self._policy)}.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        return home

    def _give(self, tenant_data: Mapping[str, Any]) -> None:
        """Replace the tenant's data if it is other data than before."""
        data = module.data(self._policy, tenant_data)
        text = canon_numbers(data)
        if text != self._data:
            self._send("PUT", f"/v1/data/{module.DATA_ROOT}", data[module.DATA_ROOT])
            self._data = text

    def _send(self, method: str, path: str, body: Any) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own URL
            self._url + path, json.dumps(body).encode(), {"content-type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - our own URL
                content = answer.read()
        except (urllib.error.URLError, OSError) as error:
            raise ConfigError(f"the OPA that was started for the tests does not answer: {error}") from None
        return json.loads(content) if content else None

    def _start(self, home: Path) -> None:
        said = ""
        for _ in range(ATTEMPTS):  # another process may take the free port first
            port = _free_port()
            self._url = f"http://127.0.0.1:{port}"
            said = self._listens(port, home)
            if not said:
                return
        raise ConfigError(f"OPA does not take the set: {said[:2000]}")

    def _listens(self, port: int, home: Path) -> str:
        """Empty once it answers, else what it said before it ended."""
        log = Path(self._folder.name) / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603 - the operator's own OPA
                [self._program, "run", "--server", "--addr", f"127.0.0.1:{port}", *_QUIET, str(home)], stdout=out, stderr=out
            )
        until = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self._url}/health", timeout=2):  # noqa: S310 - our own URL
                    return ""
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        self._process.kill()
        self._process.wait()
        return log.read_text("utf-8", errors="replace").strip() or "it did not answer in time"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
