"""A tool to try things with: keeps notes in memory, on port 9000. Run it with `python notes_server.py`."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NOTES: list[dict[str, object]] = []


class Notes(BaseHTTPRequestHandler):
    """POST /notes adds one, GET /notes lists them."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Add a note and tell its id."""
        note = json.loads(self.rfile.read(int(self.headers["content-length"])))
        NOTES.append(note | {"id": len(NOTES) + 1})
        self.answer({"id": len(NOTES)})

    def do_GET(self) -> None:
        """List the notes."""
        self.answer({"notes": NOTES})

    def answer(self, value: object) -> None:
        """Send `value` as JSON."""
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    print("notes on http://127.0.0.1:9000")  # noqa: T201 - a program for people
    ThreadingHTTPServer(("127.0.0.1", 9000), Notes).serve_forever()
