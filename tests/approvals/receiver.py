"""A receiver of webhooks on this host. It verifies with the library of the specification, and can misbehave."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver:
    """`got` are the verified notices with their ids, in order; `statuses` what is answered next, 204 when nothing is left."""

    def __init__(self, secret: str) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []
        self.seen = 0
        self._judge = Webhook(secret)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        until(lambda: len(self.got) >= count, f"{len(self.got)} notices came, not {count}")
        return self.got

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.seen += 1
                try:
                    receiver._judge.verify(body, headers)
                    status = receiver.statuses.pop(0) if receiver.statuses else 204
                except WebhookVerificationError:
                    status = 401
                if status == 204:
                    receiver.bodies.append(body)
                    receiver.got.append((headers["webhook-id"], json.loads(body)))
                self.send_response(status)
                if status == 302:
                    self.send_header("location", receiver.url + "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        return Handler


def until(holds: Callable[[], bool], why: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)
