"""The token endpoint and delegations: how an agent gets a token, and hands tasks down.

    POST /v1/token                                OAuth 2: a form, with the agent's own proof of who it is and no `Authorization`
    POST /v1/delegations                          a task handed down, narrowed, addressed to one agent
    POST /v1/delegations/{request_id}/end         the task is over: everything below it ends

Source: RFC 6749, section 4.4; RFC 7523, section 2.2; RFC 8693, section 2; RFC 9449, section 5; RFC 9396, section 2.
"""

from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from msgspec.structs import replace

from aegis.crypto import ijson
from aegis.crypto.jwk import PrivateKey
from aegis.errors import IdentityError, InputError
from aegis.identity import authz
from aegis.identity.chain import agree_on
from aegis.identity.claims import MAX_NAMES
from aegis.identity.delegation import Delegation, Wanted, build_delegation
from aegis.identity.possession import Proof, verify_proof
from aegis.identity.token import issuer, mint
from aegis.model.authority import Authority
from aegis.model.decision import Outcome
from aegis.runtime import delegations
from aegis.runtime.ask import Answer, Kind
from aegis.runtime.issuing import Asked
from aegis.surfaces.gateway import http, wire
from aegis.surfaces.gateway.asking import OK, shaped
from aegis.surfaces.gateway.caller import Caller, address, agent
from aegis.surfaces.gateway.problems import of_answer

CLIENT, EXCHANGE = "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DELEGATION = "urn:aegis:params:oauth:token-type:delegation"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
FOREIGN = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
FIELDS = frozenset(
    {
        "grant_type", "client_id", "client_assertion", "client_assertion_type", "subject_token", "subject_token_type",
        "requested_token_type", "audience", "scope", "authorization_details", "budget_micros", "task",
    }
)  # fmt: skip


async def token(gateway: Any, exchange: Any, body: bytes) -> tuple[int, Any]:
    """`POST /v1/token`. The caller is known by what the form holds; until then a refusal is nobody's."""
    request, app = exchange.request, gateway.app
    form = _form(body)
    asked = _asked(form, _proof(gateway, request))
    client = await app.issuer.client(asked)
    exchange.tenant, exchange.agent_id = client.tenant, client.agent_id
    asked = replace(asked, authority=_authority(_scopes(form.get("scope", "")), _details(form), _micros(form)))
    agree_on("tenant", client.tenant, request.headers.get("aegis-tenant", ""))
    agree_on("agent", client.agent_id, request.headers.get("aegis-agent-id", ""))
    if form.get("client_id", client.agent_id) != client.agent_id:
        raise IdentityError("wrong_owner", "`client_id` is another agent")
    if asked.tenant not in ("", client.tenant):
        raise IdentityError("wrong_audience", "`audience` is the issuer of another tenant")
    issued = await app.issuer.issue(client, asked)
    exchange.outcome = "token_issued"
    access = issued.access
    return OK, wire.TokenView(
        access_token=issued.token,
        issued_token_type=ACCESS,
        token_type="DPoP" if access.jkt else "Bearer",
        expires_in=int((access.expires_at - access.issued_at).total_seconds()),
        scope=" ".join(access.scopes),
        agent_id=access.agent_id,
        parent_agent_id=access.parent[0] if access.parent else "",
        parent_request_id=access.parent[1] if access.parent else "",
        task=access.task,
    )


async def delegate(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/delegations`."""
    who = agent(caller)
    assert caller.access is not None, "an agent came with an access token"
    app = gateway.app
    asked = shaped(gateway, body, wire.DelegationBody)
    caller.agrees(asked.parent_agent_id, asked.parent_request_id, asked.txn)
    if asked.scopes == () and asked.tools is None:
        raise InputError("expected a scope; leave the member out to hand down all that your token opens", "/scopes")
    wanted = Wanted(
        to=asked.to or who.agent_id,
        authority=_authority(asked.scopes or (), asked.tools, asked.budget_micros),
        ttl=timedelta(seconds=asked.ttl_seconds),
        task=asked.task,
        max_depth=asked.max_depth,
    )
    exchange.tool = delegations.TOOL
    key = app.token_key(who.tenant, app.gate.clock.now())  # before anything is recorded: a gateway may hold none
    handed = await app.gate.delegations.hand_down(
        app.gate.tenant(who.tenant),
        delegations.Asked(
            who=who,
            held=caller.access,
            wanted=wanted,
            request_id=exchange.request_id,
            trace=exchange.trace,
            sign=partial(_signed, app, key),
        ),
    )
    exchange.outcome, exchange.rules = str(handed.decision.outcome), handed.decision.rules
    if handed.taken:
        raise http.refuse("request-id-reused", "the request id stands for another request already")
    if handed.delegation is None:
        kind = Kind.DENIED if handed.decision.outcome is Outcome.DENY else Kind.HELD
        refused = Answer(
            kind=kind, request_id=handed.request_id, tool=delegations.TOOL, decision=handed.decision, seq=handed.seq
        )  # fmt: skip
        found = of_answer(refused, gateway.audit_origin(exchange.tenant))
        return found.status, found
    made, now = handed.delegation, app.gate.clock.now()
    return OK, wire.DelegationView(
        request_id=handed.request_id,
        delegation=handed.text,
        to=made.to,
        expires_in=int((made.expires_at - now).total_seconds()),
        scopes=made.authority.scopes,
        tools=authz.written(made.authority.grants) if made.authority.grants is not None else None,
        budget_micros=made.authority.budget_micros,
        depth=len(made.chain),
        txn=made.txn,
        task=made.task,
    )


async def end(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/delegations/{request_id}/end`: by the agent that handed the task down."""
    who = agent(caller)
    gate = gateway.app.gate
    if not await gate.delegations.end(who.tenant, who.agent_id, parts[0], gate.recovery):
        raise http.refuse("not-found", "no delegation of this agent is under way under this id")
    return OK, {"request_id": parts[0], "state": "done"}


def _signed(app: Any, key: PrivateKey, made: Delegation) -> str:
    """The text of a delegation, read again as it will be when it is redeemed."""
    now = app.gate.clock.now()
    text = mint(build_delegation(made, audience=app.settings.gateway.audience, now=now), key)
    app.verifier.delegation(text, now=now)
    return text


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=len(FIELDS), errors="strict"
        )
    except ValueError:
        raise InputError("expected a form: `name=value` pairs, percent-encoded") from None
    form: dict[str, str] = {}
    for name, value in pairs:
        if name not in FIELDS:
            raise InputError("unknown parameter; expected " + ", ".join(f"`{known}`" for known in sorted(FIELDS)), name[:64])
        if name in form:
            raise InputError("the parameter is sent twice", name)
        form[name] = value
    return form


def _asked(form: dict[str, str], proof: Proof | None) -> Asked:
    """What is asked for, all but the authority: reading that costs more than should be done for nobody in particular."""
    grant = form.get("grant_type", "")
    if grant not in (CLIENT, EXCHANGE):
        raise InputError(f"expected `{CLIENT}` or `{EXCHANGE}`", "grant_type")
    if form.get("requested_token_type", ACCESS) != ACCESS:
        raise InputError(f"expected `{ACCESS}`", "requested_token_type")
    assertion = form.get("client_assertion", "")
    if assertion and form.get("client_assertion_type") != ASSERTION:
        raise InputError(f"expected `{ASSERTION}`", "client_assertion_type")
    subject, kind = form.get("subject_token", ""), form.get("subject_token_type", "")
    if (grant == EXCHANGE) != bool(subject):
        raise InputError("`subject_token` and the grant of an exchange go together", "subject_token")
    if subject and kind not in (DELEGATION, *FOREIGN):
        raise InputError(
            f"expected `{DELEGATION}`, or for another issuer's token `{FOREIGN[0]}` or `{FOREIGN[1]}`", "subject_token_type"
        )
    if grant == CLIENT and not assertion:
        raise InputError("an agent shows who it is by an assertion that it signs with its own key", "client_assertion")
    return Asked(
        assertion=assertion,
        delegation=subject if kind == DELEGATION else "",
        foreign=subject if kind in FOREIGN else "",
        tenant=_tenant(form.get("audience", "")),
        task=_task(form.get("task", "")),
        proof=proof,
    )


def _tenant(audience: str) -> str:
    """The tenant whose issuer `audience` names."""
    start = issuer("")
    if audience and not audience.startswith(start):
        raise InputError(f"expected the issuer of a tenant, `{start}TENANT`", "audience")
    return audience.removeprefix(start)


def _scopes(text: str) -> tuple[str, ...]:
    found = tuple(text.split(" ")) if text else ()
    if len(found) > MAX_NAMES or not all(found):
        raise InputError("expected tools with one space between two", "scope")
    return found


def _details(form: dict[str, str]) -> Any:
    if "authorization_details" not in form:
        return None
    text = form["authorization_details"].encode()
    return ijson.parse(text, max_depth=8, max_size_bytes=max(len(text), 1))


def _micros(form: dict[str, str]) -> int | None:
    text = form.get("budget_micros")
    if text is not None and not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= ijson.MAX_INTEGER):
        raise InputError("expected a whole number of millionths, at most 2^53 - 1", "budget_micros")
    return None if text is None else int(text)


def _task(text: str) -> str:
    if len(text) > 256 or not text.isprintable() or " " in text:
        raise InputError("expected at most 256 visible characters", "task")
    return text


def _authority(scopes: tuple[str, ...], tools: Any, budget_micros: int | None) -> Authority:
    """What is asked for. Text of an agent's own making is read as strictly as a token."""
    if scopes and tools is not None:
        raise InputError("name scopes or tools, not both: tools say more", "tools")
    try:
        grants = None if tools is None else authz.read(tools)
    except IdentityError as error:
        raise InputError(str(error), "tools") from None
    return Authority(scopes=scopes, grants=grants, budget_micros=budget_micros)


def _proof(gateway: Any, request: http.Request) -> Proof | None:
    """The proof of possession that came with the request, about no token yet."""
    text = request.headers.get("dpop", "")
    if not text:
        return None
    return verify_proof(text, method=request.method, url=address(gateway.app, request), now=gateway.app.gate.clock.now())
