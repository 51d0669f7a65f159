"""A receiver of events in a process of its own, which can be killed: it writes down what it acknowledges before it answers.

    python receiver.py PORT LOG MOOD_FILE

The mood is read at every request: a JSON object {"status": ..., "headers": {...}, "body": ..., "delay": ..., "max_bytes": ...}.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log = moods = Path()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            mood = json.loads(self.moods.read_text())
        except (OSError, ValueError):
            mood = {}
        time.sleep(mood.get("delay", 0))
        status = mood.get("status", 200)
        if len(body) > mood.get("max_bytes", 1 << 30):
            status = 413
        if mood.get("poison") and mood["poison"].encode() in body:
            status = 400
        line = json.dumps({"status": status, "headers": dict(self.headers.items()), "body": body.decode()}) + "\n"
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)
        answer = mood.get("body", "").encode() * mood.get("times", 1)
        self.send_response(status)
        for name, value in mood.get("headers", {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


if __name__ == "__main__":
    Handler.log, Handler.moods = Path(sys.argv[2]), Path(sys.argv[3])
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever(poll_interval=0.02)
