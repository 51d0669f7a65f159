"""Tools that know nothing of Aegis, each a process with a database and an access log of its own.

Run as `python -m aegis.surfaces.cli.demo.tool_server KIND DIRECTORY`; the first line on standard output is the port. The access log
is what the demo believes in the end: a tool writes down what it really did.
"""

import json
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

CLOSED = "acct_00000099"
"""An account that is closed after its first payment: the bank takes no second one."""
Reply = tuple[int, dict[str, Any]]


class Ledger:
    """The tool's own store: one table of things done, one line in a log for every request."""

    def __init__(self, directory: Path, kind: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._log = (directory / f"{kind}.access.log").open("a", encoding="utf-8")
        self._db = sqlite3.connect(directory / f"{kind}.db", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE IF NOT EXISTS done (id INTEGER PRIMARY KEY, key TEXT UNIQUE, what TEXT NOT NULL)")

    def once(self, key: str, what: dict[str, Any]) -> tuple[int, bool]:
        """Do `what` unless `key` was seen; the id of the thing done, and whether it was done now."""
        with self._lock:
            if key and (row := self._db.execute("SELECT id FROM done WHERE key = ?", (key,)).fetchone()):
                return int(row[0]), False
            cursor = self._db.execute("INSERT INTO done (key, what) VALUES (?, ?)", (key or None, json.dumps(what)))
            return int(cursor.lastrowid or 0), True

    def by_key(self, key: str) -> int | None:
        """The id of what was done under `key`."""
        with self._lock:
            row = self._db.execute("SELECT id FROM done WHERE key = ?", (key,)).fetchone()
            return int(row[0]) if row else None

    def log(self, line: dict[str, Any]) -> None:
        """Append to the access log."""
        with self._lock:
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()


def payments(ledger: Ledger, method: str, path: list[str], query: dict[str, str], key: str, body: dict[str, Any]) -> Reply:  # noqa: ARG001
    """POST /accounts/{id}/transfers moves money, once for each key."""
    match method, path:
        case "POST", ["accounts", account, "transfers"]:
            if body.get("to") == CLOSED and body.get("memo") == "rest":
                return 422, {"error": "this account was closed"}
            done, _ = ledger.once(key, {"from": account, **body})
            return 200, {"payment_id": f"pay_{done:06d}", "status": "booked"}
        case "POST", ["payments", payment, "refund"]:
            done, _ = ledger.once(key, {"refund_of": payment, "amount_minor": 0})
            return 200, {"refund_id": f"ref_{done:06d}"}
    return 404, {"error": "no such path"}


PATIENTS = {
    "pat_0001": {"name": "Ada Example", "ssn": "078-05-1120", "birth_date": "1961-04-12", "balance_minor": 12050},
    "pat_0002": {"name": "Ben Sample", "ssn": "219-09-9999", "birth_date": "1984-11-02", "balance_minor": 0},
}


def records(ledger: Ledger, method: str, path: list[str], query: dict[str, str], key: str, body: dict[str, Any]) -> Reply:  # noqa: ARG001
    """GET /patients/{id} reads one record, with everything in it."""
    match method, path:
        case "GET", ["patients", patient] if patient in PATIENTS:
            return 200, {"patient_id": patient, **PATIENTS[patient]}
    return 404, {"error": "no such patient"}


def deploy(ledger: Ledger, method: str, path: list[str], query: dict[str, str], key: str, body: dict[str, Any]) -> Reply:  # noqa: ARG001
    """PUT rolls a version out; GET /rollouts/{key} tells whether that happened."""
    match method, path:
        case "PUT", ["environments", environment, "services", service]:
            done, _ = ledger.once(key, {"environment": environment, "service": service, **body})
            return 200, {"rollout_id": f"roll_{done:04d}"}
        case "GET", ["rollouts", asked]:
            found = ledger.by_key(asked)
            return (200, {"rollout_id": f"roll_{found:04d}"}) if found else (404, {"error": "no such rollout"})
    return 404, {"error": "no such path"}


VENDORS = {
    "bolts": [
        ("Northwind", "acct_00000021", 120_000, 6),
        ("Contoso", "acct_00000022", 98_000, 9),
        ("Fabrikam", "acct_00000023", 101_000, 3),
    ],
    "motor": [("Closed & Sons", CLOSED, 80_000, 2), ("Contoso", "acct_00000022", 240_000, 9)],
}  # fmt: skip


def orders(ledger: Ledger, method: str, path: list[str], query: dict[str, str], key: str, body: dict[str, Any]) -> Reply:
    """GET /vendors says who sells a part; POST /orders orders it, once for each key, and /orders/{id}/cancel takes it back."""
    match method, path:
        case "GET", ["vendors"]:
            names = ("vendor", "account_id", "price_minor", "days")
            return 200, {"vendors": [dict(zip(names, each, strict=True)) for each in VENDORS.get(query.get("part", ""), [])]}
        case "POST", ["orders"]:
            done, _ = ledger.once(key, {"order": body})
            return 200, {"order_id": f"ord_{done:04d}"}
        case "POST", ["orders", order, "cancel"]:
            ledger.once(key, {"cancelled": order})
            return 200, {"cancelled": order}
    return 404, {"error": "no such path"}


KINDS: dict[str, Callable[..., Reply]] = {"payments": payments, "records": records, "deploy": deploy, "orders": orders}


def handler(kind: str, ledger: Ledger, credential: str) -> type[BaseHTTPRequestHandler]:
    """A request handler for one kind of tool, which takes only its own credential."""

    class Tool(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            parts = urlsplit(self.path)
            key = self.headers.get("idempotency-key", "")
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status: int
            reply: dict[str, Any]
            if self.headers.get("authorization") != f"Bearer {credential}":
                status, reply = 401, {"error": "wrong credential"}
            else:
                status, reply = KINDS[kind](ledger, self.command, parts.path.strip("/").split("/"), query, key, body)
            ledger.log(
                {
                    "method": self.command,
                    "path": parts.path,
                    "key": key,
                    "status": status,
                    "request": self.headers.get("aegis-request-id", ""),
                    "headers": sorted(name.lower() for name in self.headers),
                }
            )
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in http.server
            """Nothing on the terminal: the access log is a file."""

    return Tool


class Server(ThreadingHTTPServer):
    """A server that a burst of callers finds open."""

    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    """Serve one kind of tool on a free port."""
    kind, directory = sys.argv[1], Path(sys.argv[2])
    ledger = Ledger(directory, kind)
    server = Server(("127.0.0.1", 0), handler(kind, ledger, os.environ["TOOL_CREDENTIAL"]))
    print(server.server_address[1], flush=True)  # noqa: T201 - the port, for who started us
    server.serve_forever()


if __name__ == "__main__":
    main()
