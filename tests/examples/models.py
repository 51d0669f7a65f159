"""A server that speaks the chat completions of OpenAI, as far as a client that asks for JSON sees it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ModelServer:
    """Answers with what `say` makes of the user's message; `status` stands for every other answer. `asked` is what came."""

    def __init__(self, say, *, status=200):
        self.asked = []
        outer = self

        class Completions(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append((self.path, dict(self.headers.items()), body))
                content = {
                    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"], "system_fingerprint": "fp_1",
                    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": say(body["messages"])}}],
                    "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
                }  # fmt: skip
                text = json.dumps(content if status == 200 else {"error": {"message": "no", "type": "server_error"}}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("location", f"{outer.url}/elsewhere")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Completions)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
