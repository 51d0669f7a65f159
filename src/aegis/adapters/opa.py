"""`engine: opa`: ask an Open Policy Agent over HTTP, and believe nothing that is not exactly the answer that was agreed.

One question is one POST to the entry point of the tenant's set, with strict builtin errors and with provenance, so that the answer
says which bundle gave it. A deadline covers everything. There is one second try when a kept connection turns out to be gone:
deciding has no effect. Whatever goes wrong comes back as one error verdict, which denies:

    opa#unavailable   no connection, or no answer before the deadline
    opa#answer        another status than 200, no result, or an answer that contradicts itself or the set
    opa#revision      an answer of another revision of the set
    opa#input         the call has no form in JSON
"""

import asyncio
import json
import subprocess
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import aiohttp

from aegis.model.decision import Verdict
from aegis.policy.ir import Policy
from aegis.policy.rego.answer import ANSWER, REVISION, Reader, refusal
from aegis.policy.rego.names import entry_point

DEADLINE = timedelta(milliseconds=500)
CONNECTIONS = 64
KEEP_SECONDS = 30
MAX_ANSWER_BYTES = 1_048_576
MAX_READERS = 256
PARSE_SECONDS = 20
_QUESTION = {"strict-builtin-errors": "true", "provenance": "true"}


class OpaEngine:
    """One pool of connections to one OPA, for all tenants. Open it with `start`, and `close` it."""

    def __init__(self, url: str, *, deadline: timedelta = DEADLINE, token: str = "") -> None:
        """`token` is sent as bearer token, for an OPA that wants one."""
        self._url = url.rstrip("/")
        self._deadline = deadline.total_seconds()
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None
        self._readers: dict[str, Reader] = {}

    async def start(self) -> None:
        """Open the pool; nothing is asked yet."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def reachable(self) -> bool:
        """Whether OPA answers at all before the deadline; what it holds is found out by asking."""
        try:
            async with asyncio.timeout(self._deadline):
                assert self._session is not None, "the engine has started"
                async with self._session.get(f"{self._url}/health", allow_redirects=False) as response:
                    return response.status == 200
        except (TimeoutError, aiohttp.ClientError):
            return False

    async def ask(self, policy: Policy, document: Mapping[str, Any], *, revision: str) -> tuple[Verdict, ...]:
        """What OPA says about the call in `document`; it raises nothing but cancellation.

        `document` is from `aegis.policy.rego.asked`. `revision` is the bundle that must have answered, or the digest of `policy`
        for an OPA that was given plain files.
        """
        try:
            body = json.dumps({"input": document}, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, TypeError, RecursionError):
            return (refusal("opa#input", "the call has no form in JSON"),)
        try:
            async with asyncio.timeout(self._deadline):
                status, answer = await self._post(f"{self._url}/v1/data/{entry_point(policy.tenant).replace('.', '/')}", body)
        except TimeoutError:
            return (refusal("opa#unavailable", "the policy engine did not answer in time"),)
        except Exception:  # whatever it was, nothing was decided
            return (refusal("opa#unavailable", "the policy engine cannot be reached"),)
        return self._read(policy, status, answer, revision)

    async def _post(self, url: str, body: bytes) -> tuple[int, bytes]:
        try:
            return await self._post_once(url, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self._post_once(url, body)

    async def _post_once(self, url: str, body: bytes) -> tuple[int, bytes]:
        if self._session is None:
            raise RuntimeError("the engine has not started")
        headers = {"content-type": "application/json"}
        async with self._session.post(url, params=_QUESTION, data=body, headers=headers, allow_redirects=False) as response:
            read = await response.content.read(MAX_ANSWER_BYTES + 1)
            while 0 < len(read) <= MAX_ANSWER_BYTES and (more := await response.content.read(MAX_ANSWER_BYTES + 1 - len(read))):
                read += more
            return response.status, read

    def _read(self, policy: Policy, status: int, answer: bytes, revision: str) -> tuple[Verdict, ...]:
        if status != 200:
            return (refusal(ANSWER, f"the policy engine answered with status {status}"),)
        try:
            body = json.loads(answer) if len(answer) <= MAX_ANSWER_BYTES else None
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("result"), dict):
            return (refusal(ANSWER, "the policy engine has no answer: the policy set may not be loaded there"),)
        if revision not in _revisions(body):
            return (refusal(REVISION, "the policy engine has another revision of the policy set"),)
        return self._reader(policy).verdicts(body["result"])

    def _reader(self, policy: Policy) -> Reader:
        reader = self._readers.get(policy.digest)
        if reader is None:
            if len(self._readers) >= MAX_READERS:
                self._readers.pop(next(iter(self._readers)))
            reader = self._readers[policy.digest] = Reader(policy)
        return reader


def _revisions(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """The revisions of the bundles behind an answer; of the set itself where the OPA has no bundles."""
    provenance = body.get("provenance")
    bundles = provenance.get("bundles") if isinstance(provenance, dict) else None
    if not bundles:
        return (body["result"].get("revision"),)
    return tuple(each.get("revision") for each in bundles.values() if isinstance(each, dict)) if isinstance(bundles, dict) else ()


def parser(program: str) -> Callable[[str], dict[str, Any]]:
    """A function from the text of a module to its syntax tree, by `opa parse`; it raises `ValueError` when that is not Rego."""

    def parse(text: str) -> dict[str, Any]:
        command = [program, "parse", "--format", "json", "/dev/stdin"]
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own OPA
                command, input=text, capture_output=True, text=True, timeout=PARSE_SECONDS, check=False
            )
            tree = json.loads(done.stdout or done.stderr)
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            raise ValueError(f"`{program} parse` gave no syntax tree ({type(error).__name__})") from None
        if done.returncode or not isinstance(tree, dict) or "package" not in tree:
            raise ValueError(_said(tree))
        return tree

    return parse


def _said(tree: Any) -> str:
    """The first complaint of OPA, with its place."""
    errors = tree.get("errors") if isinstance(tree, dict) else None
    if not isinstance(errors, list) or not errors:
        return "no syntax tree"
    first = errors[0]
    place = first.get("location", {})
    return f"line {place.get('row')}: {first.get('message')}"
