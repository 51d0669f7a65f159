"""Another issuer for tests: its keys, its tokens (good and hostile), and the address at which its key set lies."""

import base64
import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ALGORITHMS = ("RS256", "ES256", "EdDSA", "Ed25519")
_MADE = {}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, length):
    return b64(value.to_bytes(length, "big"))


class Key:
    """A key pair that signs for one algorithm."""

    def __init__(self, algorithm, kid="k1", bits=2048):
        self.algorithm, self.kid = algorithm, kid
        if algorithm == "RS256":
            self.private = _MADE.setdefault((kid, bits), None) or rsa.generate_private_key(65537, bits)
            _MADE[kid, bits] = self.private  # they take long to make
        elif algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()

    def sign(self, message):
        if self.algorithm == "RS256":
            return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())
        if self.algorithm == "ES256":
            r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.private.sign(message)

    @property
    def pem(self):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, form)

    def jwk(self, **more):
        public = self.private.public_key()
        if self.algorithm == "RS256":
            numbers = public.public_numbers()
            found = {"kty": "RSA", "n": number(numbers.n, (numbers.n.bit_length() + 7) // 8), "e": "AQAB"}
        elif self.algorithm == "ES256":
            numbers = public.public_numbers()
            found = {"kty": "EC", "crv": "P-256", "x": number(numbers.x, 32), "y": number(numbers.y, 32)}
        else:
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            found = {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
        found = {"kid": self.kid, "use": "sig", "alg": self.algorithm, **found, **more}
        return {name: value for name, value in found.items() if value is not ...}


def raw(header, claims, sign):
    """A token over these very bytes."""
    signed = f"{b64(header)}.{b64(claims)}"
    return f"{signed}.{b64(sign(signed.encode()))}"


def token(key, claims, **header):
    """A token; a member of the header that is `...` is left out."""
    head = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT", **header}
    head = {name: value for name, value in head.items() if value is not ...}
    return raw(json.dumps(head).encode(), json.dumps(claims).encode(), key.sign)


class KeyServer:
    """Serves a key set over real HTTP and counts how often. `mood` says how."""

    def __init__(self):
        self.keys = []
        self.mood = "ok"
        self.asked = []
        self.gate = threading.Event()
        self.gate.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def uri(self):
        return f"{self.url}/keys"

    def document(self):
        return json.dumps({"keys": self.keys}).encode()

    def close(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(server):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append((self.path, dict(self.headers.items())))
                server.gate.wait(20)
                mood, content, more = server.mood, server.document(), {}
                status = {"broken": 500, "redirect": 302, "gone": 404}.get(mood, 200)
                if mood == "redirect":
                    more["location"] = f"{server.url}/elsewhere"
                if mood == "huge":
                    content = b'{"keys": [' + b" " * 300_000 + b"]}"
                if mood == "garbage":
                    content = b"<html>"
                if mood == "packed":
                    content, more["content-encoding"] = gzip.compress(content), "gzip"
                if mood == "slow":
                    time.sleep(0.3)
                try:
                    self.send_response(status)
                    for name, value in more.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True

            def log_message(self, *args):
                pass

        return Handler
