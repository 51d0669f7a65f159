"""What every service of the examples is made of: JSON over HTTP, and a ledger of what it really did.

A service knows nothing of the gateway. It takes only its own credential (`CREDENTIAL`), and writes one line into its ledger
(`LEDGER`) for each effect, before it answers. An `Idempotency-Key` that it has seen before changes nothing and gets the first
answer. The first line on standard output is the port.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

Reply = tuple[int, Mapping[str, Any]]


class Asked(NamedTuple):
    """One request, taken apart."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    key: str
    body: Mapping[str, Any]


class Ledger:
    """A file with one line for each effect, in the order in which they took place."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
        self.done: list[dict[str, Any]] = lines
        self._keys: dict[str, dict[str, Any]] = {line["key"]: line for line in lines}
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def seen(self, key: str) -> bool:
        """Whether something was done under this key."""
        return key in self._keys

    def once(self, key: str, what: str, kind: str, **about: Any) -> dict[str, Any]:
        """Do `what` unless the key was seen: the line, whose `id` begins with `kind`."""
        with self._lock:
            if key and key in self._keys:
                return self._keys[key]
            line = {"id": f"{kind}_{len(self.done) + 1:06d}", "key": key, "what": what, **about}
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self.done.append(line)
            self._keys[key] = line
            return line


def serve(answer: Callable[[Asked, Ledger], Reply]) -> None:
    """Serve on a free port, until the process is ended."""
    ledger, credential = Ledger(Path(os.environ["LEDGER"])), os.environ["CREDENTIAL"]

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            parts = urlsplit(self.path)
            path = tuple(unquote(each) for each in parts.path.strip("/").split("/"))
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            asked = Asked(self.command, path, query, self.headers.get("idempotency-key", ""), body)
            known = self.headers.get("authorization") == f"Bearer {credential}"
            status, reply = answer(asked, ledger) if known else (401, {"error": "wrong credential"})
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # a burst of callers finds it open

    server = Server(("127.0.0.1", 0), Connection)
    print(server.server_address[1], flush=True)  # noqa: T201 - the port, for who started us
    server.serve_forever()
