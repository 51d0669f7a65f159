"""A collector of OTLP over HTTP for tests: it reads what it is sent with the official messages, and refuses what they do not know."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_SHAPES = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}
_IDS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}


def parsed(path, body):
    """The official message of a body. OTLP writes ids in hexadecimal where the JSON of Protobuf writes base64."""
    return json_format.ParseDict(_rewritten(json.loads(body)), _SHAPES[path]())


def _rewritten(value):
    if isinstance(value, list):
        return [_rewritten(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _id(name, each) if name in _IDS else _rewritten(each) for name, each in value.items()}


def _id(name, text):
    assert len(text) == _IDS[name], f"{name}: {text}"
    return base64.b64encode(bytes.fromhex(text)).decode()


def attributes(told):
    """Attributes as a plain mapping."""

    def plain(value):
        kind = value.WhichOneof("value")
        return [plain(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)

    return {each.key: plain(each.value) for each in told}


class Collector:
    """`answers` are the statuses of the next answers, or (status, headers, body); then it takes everything."""

    def __init__(self):
        self.bodies = []
        self.headers = []
        self.answers = []
        self.gate = threading.Event()
        self.gate.set()
        self.seen = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def spans(self):
        """Every span that was taken, as the official message."""
        return [
            span
            for path, body in list(self.bodies)
            if path.endswith("/v1/traces")
            for resource in parsed("/v1/traces", body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self):
        """The newest metrics, by name."""
        newest = [body for path, body in list(self.bodies) if path.endswith("/v1/metrics")]
        if not newest:
            return {}
        told = parsed("/v1/metrics", newest[-1])
        return {each.name: each for found in told.resource_metrics for scope in found.scope_metrics for each in scope.metrics}

    def of_trace(self, trace_id):
        return [span for span in self.spans if span.trace_id.hex() == trace_id]

    def wait(self, ready, seconds=15):
        """Wait until `ready(self)` is true, and give it back."""
        deadline = time.monotonic() + seconds
        while not (found := ready(self)):
            assert time.monotonic() < deadline, "the collector never got it"
            time.sleep(0.05)
        return found

    def _handler(collector):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.seen += 1
                collector.gate.wait(20)
                answer = collector.answers.pop(0) if collector.answers else 200
                status, headers, told = answer if isinstance(answer, tuple) else (answer, {}, b"{}")
                if status == 200:
                    collector.bodies.append((self.path, body))
                    collector.headers.append(dict(self.headers.items()))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *args):
                pass

        return Handler
