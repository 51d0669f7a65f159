"""A guardrail at work: it looks at what waits over HTTP, as a person would, and answers with statements of its own key.

It has no other way in than people have: it proves who it is, sees the cards that it may answer, and signs what it says about
exactly that card. What its rules do not answer it leaves alone. A turn that fails is tried again by the next one; an approval is
looked at once, and once more when more people may answer it.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Literal

import aiohttp
import msgspec
from msgspec import Struct

from aegis.crypto.jwk import PrivateKey
from aegis.errors import GatewayError
from aegis.identity.token import build_person, build_statement, mint
from aegis.workflow.guardrail import Guardrail, opinion

SECONDS = 30
PAGE = 200
KEPT = 100_000
_ANSWER, _PROBLEM = 200, 400


class Self(Struct, frozen=True, kw_only=True):
    """Who the guardrail is."""

    tenant: str
    person: str
    key: PrivateKey
    audience: str


class Said(Struct, frozen=True, kw_only=True):
    """One answer and what became of it: `state` of the approval afterwards, or `refused` and why."""

    approval_id: str
    answer: Literal["approve", "deny"]
    rule: str
    state: str = ""
    refused: str = ""


class Guarding:
    """Answers the approvals of one gateway by the rules of one guardrail."""

    def __init__(self, url: str, who: Self, rules: Guardrail, now: Callable[[], datetime]) -> None:
        self._url = url.rstrip("/")
        self._who = who
        self._rules = rules
        self._now = now
        self._seen: OrderedDict[tuple[str, bool], None] = OrderedDict()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def turn(self) -> AsyncIterator[Said]:
        """Look at what waits and was not looked at before, and answer what the rules answer.

        Raises:
            GatewayError: The gateway cannot be reached, or did not take something; it is tried again by the next turn.
        """
        trouble: GatewayError | None = None
        for known in await self._waiting():
            try:
                answered = await self._look(known["approval_id"])
            except GatewayError as error:
                if not error.problem:
                    raise
                trouble = error  # of this approval: it must not keep the others waiting
                continue
            self._seen[_key(known)] = None
            if answered is not None:
                yield answered
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        if trouble is not None:
            raise trouble

    async def _waiting(self) -> list[dict[str, Any]]:
        """Approvals that were not looked at, oldest first. The newest come first, so a page without any is the last one."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            _, told = await self._ask("GET", f"/v1/approvals?state=pending&limit={PAGE}&after={after}")
            page = told["approvals"]
            fresh = [each for each in page if _key(each) not in self._seen]
            found += fresh
            if not fresh or len(page) < PAGE:
                return found[::-1]
            after = page[-1]["approval_id"]

    async def _look(self, approval_id: str) -> Said | None:
        """Look at one card, and answer it if a rule says how; a card that this guardrail may not see is nobody's."""
        status, card = await self._ask("GET", f"/v1/approvals/{approval_id}", also=404)
        if status != _ANSWER or card["state"] != "pending" or self._who.person in card["approved_by"]:
            return None
        found = opinion(self._rules, _facts(card))
        if found is None:
            return None
        statement = build_statement(
            approval_id=approval_id, tenant=self._who.tenant, request_hash=card["request_hash"], approve=found.approve,
            shown=card["shown"], approver=self._who.person, reason=found.text, now=self._now(),
        )  # fmt: skip
        body = {"statement": mint(statement, self._who.key)}
        status, told = await self._ask("POST", f"/v1/approvals/{approval_id}/answer", body, also=409)
        made = Said(approval_id=approval_id, answer="approve" if found.approve else "deny", rule=found.rule)
        if status != _ANSWER:
            return msgspec.structs.replace(made, refused=str(told.get("detail", "")))
        return msgspec.structs.replace(made, state=str(told["state"]))

    async def _ask(self, method: str, path: str, body: Any = None, *, also: int = 0) -> tuple[int, dict[str, Any]]:
        """One request of the guardrail as a person; `also` is a status that is an answer, too."""
        claims = build_person(tenant=self._who.tenant, person=self._who.person, audience=self._who.audience, now=self._now())
        headers = {"authorization": f"Bearer {mint(claims, self._who.key)}", "content-type": "application/json"}
        content = msgspec.json.encode(body) if body is not None else None
        try:
            async with self._opened().request(
                method, self._url + path, data=content, headers=headers, allow_redirects=False
            ) as response:
                status, told = response.status, msgspec.json.decode(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            raise GatewayError(f"the gateway gives no answer: {type(error).__name__}") from None
        if not isinstance(told, dict) or status not in (_ANSWER, also):
            problem = told if isinstance(told, dict) else {}
            raise GatewayError(f"the gateway answers {status}: {problem.get('detail', '')}", {**problem, "status": status})
        return status, told

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=SECONDS)
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, timeout=timeout)
        return self._session


def _key(card: dict[str, Any]) -> tuple[str, bool]:
    return card["approval_id"], bool(card.get("escalated"))


def _facts(card: dict[str, Any]) -> dict[str, Any]:
    """The card in the form of the rules."""
    approval = {name: card.get(name, "") for name in ("tool", "agent_id", "run", "step", "reason")}
    approval |= {
        "workflow": card.get("workflow", "").partition("@")[0],
        "quorum": card["quorum"],
        "findings": card.get("findings", []),
        "automatic": bool(card.get("automatic")),
    }
    return {"approval": approval, "shown": card.get("arguments")}
