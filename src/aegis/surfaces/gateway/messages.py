"""Messages between agents: send one, lease the next, say what became of it.

A send is the call of the tool `message.TYPE` and goes the way of every call. What cannot even be one (a type or version that nobody
knows) and what breaks its contract is refused and kept as a dead letter. Whoever is not the addressee learns nothing: 404.
"""

from typing import Any

from msgspec.structs import replace

from aegis.crypto import ijson
from aegis.errors import InputError
from aegis.model.authority import covers
from aegis.model.datasubject import key_name
from aegis.model.decision import Decision
from aegis.model.message import PREFIX, Accepts, MessageContract, send_key
from aegis.model.principal import Principal
from aegis.runtime.ask import Answer, Kind
from aegis.runtime.letters import Refusal
from aegis.runtime.messages import Mismatch, Told, Wanted
from aegis.runtime.record import text
from aegis.runtime.spanning import link
from aegis.runtime.tenant import Tenant
from aegis.runtime.trace import Trace
from aegis.surfaces.gateway import envelope, http
from aegis.surfaces.gateway.asking import ask_of, shaped, told
from aegis.surfaces.gateway.caller import Caller, agent
from aegis.surfaces.gateway.envelope import AckBody, Envelope, LeaseBody, NackBody, ReceivedView, SettledView
from aegis.surfaces.gateway.problems import problem
from aegis.surfaces.gateway.wire import CallView

OK, ACCEPTED = 200, 202
MAX_TOLD = 16
MAX_ACCEPTS = 8


async def send(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/messages`."""
    who = agent(caller)
    sent = shaped(gateway, body, Envelope)
    caller.agrees(sent.parentagent, sent.parentrequest)
    if sent.traceparent and not exchange.trace.parent_id:
        exchange.trace = Trace.continued(sent.traceparent)
    if not envelope.is_source(sent.source, who):
        raise http.refuse("forbidden", f"`source` is the agent that sends: expected `{who.agent_id}`", field="/source")
    version = envelope.stated_version(sent, who.tenant)
    tenant = gateway.app.gate.tenant(who.tenant)
    versions = _versions(tenant, sent.type)
    contract = versions.get(version)
    if contract is None:
        reason, field, detail = _unknown(tenant, who, sent, version, versions)
        await _keep(gateway, exchange, who, sent, version, body, reason, detail)
        raise http.refuse("unknown-message", detail, field=field)
    asked = ask_of(gateway, exchange, who, contract.name, envelope.arguments(sent, who), version)
    asked = replace(asked, idempotency_key=_key(contract, sent, who, asked.idempotency_key))
    said = await gateway.app.gate.call(asked)
    if misfit := _misfit(said):
        await _keep(gateway, exchange, who, sent, version, body, "data_does_not_fit", misfit)
    status, answer = told(gateway, exchange, said)
    return (ACCEPTED, envelope.sent_view(answer)) if isinstance(answer, CallView) else (status, answer)


async def lease(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/messages/lease`."""
    who = agent(caller)
    asked = shaped(gateway, body, LeaseBody)
    caller.agrees(asked.parent_agent_id, asked.parent_request_id)
    tenant = gateway.app.gate.tenant(who.tenant)
    versions = _versions(tenant, asked.type)
    addresses = {to: None for each in versions.values() for to in each.reaches(who.agent_id, who.roles)}
    if not addresses:
        raise http.refuse("not-found", "no message of this type is addressed to this agent", field="/type")
    accepts = _accepts(asked.accept, versions)
    wanted = _wanted(tenant, asked.type, tuple(addresses), accepts, asked.lease_seconds)
    await _let_in(gateway, tenant, who, wanted)
    found = await gateway.app.messages.lease(tenant, who, wanted, exchange.trace)
    exchange.links = link(found.waiting.traceparent) if found else ()
    if isinstance(found, Mismatch):
        raise http.refuse("version-mismatch", found.detail, field="/accept")
    return OK, ReceivedView(message=envelope.lease_view(found, tenant.name, accepts.text) if found else None)


async def ack(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:
    """`POST /v1/messages/{message_id}/ack`."""
    who = agent(caller)
    asked = shaped(gateway, body, AckBody)
    await _still_in(gateway, caller, who, parts[0], asked)
    _settled(await gateway.app.messages.ack(who.tenant, who, parts[0], asked.lease, exchange.trace))
    return OK, SettledView(message_id=parts[0], state="acked")


async def nack(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:
    """`POST /v1/messages/{message_id}/nack`."""
    who = agent(caller)
    asked = shaped(gateway, body, NackBody)
    await _still_in(gateway, caller, who, parts[0], asked)
    _settled(await gateway.app.messages.nack(who.tenant, who, parts[0], asked.lease, asked.reason, exchange.trace))
    return OK, SettledView(message_id=parts[0], state="nacked")


def _versions(tenant: Tenant, kind: str) -> dict[str, MessageContract]:
    """Every version of a message, by its number. What serves comes first, before contracts that only older calls still need."""
    found: dict[str, MessageContract] = {}
    for each in tenant.by_digest.values():
        if each.name == PREFIX + kind and isinstance(each, MessageContract):
            found.setdefault(each.version, each)
    return found


def _unknown(
    tenant: Tenant, who: Principal, sent: Envelope, version: str, versions: dict[str, MessageContract]
) -> tuple[str, str, str]:
    """(reason, field, detail) of an envelope that nothing stands behind; it names what this agent may send."""
    if versions:
        known = envelope.version_list(versions)
        return "unknown_version", "/schemaversion", f"message `{sent.type}` has no version {version}; there are: {known}"
    names = {who.agent_id, *(f"role:{role}" for role in who.roles)}
    mine = sorted(
        each.type
        for each in tenant.contracts.values()
        if isinstance(each, MessageContract) and names & set(each.senders) and any(covers(scope, each.name) for scope in who.scopes)
    )
    may = ", ".join(mine[:MAX_TOLD]) or "none"
    return "unknown_type", "/type", f"no message `{text(sent.type, 64)}` here; this agent may send: {may}"


def _key(contract: MessageContract, sent: Envelope, who: Principal, given: str) -> str:
    """The idempotency key of the send, from where its contract says."""
    if contract.keyed == "required":
        return given
    key = send_key(who.agent_id, sent.id)
    if given not in ("", key):
        raise InputError("the key of this message follows from its source and id: leave the header out", "/headers/idempotency-key")
    return key


def _misfit(said: Answer) -> str:
    """Where the message breaks its contract; empty when it does not."""
    if said.kind is not Kind.DENIED or said.decision is None:
        return ""
    broken = [reason for reason in said.decision.reasons if reason.rule.endswith("#contract")]
    return f"`{broken[0].field}`: {broken[0].text}" if broken else ""


async def _keep(
    gateway: Any, exchange: Any, who: Principal, sent: Envelope, version: str, body: bytes, reason: str, detail: str
) -> None:
    """Keep a refused message as a dead letter, within what an agent may fill."""
    refused = Refusal(
        type=sent.type, version=version, source_id=sent.id, reason=reason, detail=detail,
        envelope=ijson.parse(body, max_size_bytes=len(body)), request_id=exchange.request_id,
        sealed_for=key_name(gateway.app.gate.tenant(who.tenant).redaction_key, who.subject),
    )  # fmt: skip
    await gateway.app.messages.letters.refuse(who, refused)


def _accepts(given: str, versions: dict[str, MessageContract]) -> Accepts:
    """The versions that a consumer reads; each must be one that there is."""
    found = []
    for word in given.split(","):
        numbers = word.split(".")
        if len(numbers) not in (2, 3) or not all(each.isdecimal() and each.isascii() and len(each) < 8 for each in numbers):
            raise InputError("expected MAJOR.MINOR, or several with a comma between two", "/accept")
        major, minor = int(numbers[0]), int(numbers[1])
        if not any(each.numbers[0] == major and each.numbers[1] >= minor for each in versions.values()):
            known = envelope.version_list(versions)
            raise http.refuse(
                "unknown-message", f"there is no version {major}.{minor} (`accept`); there are: {known}", field="/accept"
            )
        found.append((major, minor))
    if len(found) > MAX_ACCEPTS:
        raise InputError(f"expected at most {MAX_ACCEPTS} versions", "/accept")
    return Accepts(tuple(found))


def _wanted(tenant: Tenant, kind: str, addresses: tuple[str, ...], accepts: Accepts, seconds: int) -> Wanted:
    newest = tenant.contracts.get(PREFIX + kind)
    return Wanted(
        type=kind, addresses=addresses, accepts=accepts, seconds=seconds,
        digest=newest.digest if newest else "", version=newest.version if newest else "",
    )  # fmt: skip


async def _still_in(gateway: Any, caller: Caller, who: Principal, message_id: str, asked: AckBody | NackBody) -> None:
    """Hold the caller against what it may do now, as when it took the message."""
    caller.agrees(asked.parent_agent_id, asked.parent_request_id)
    waiting = await gateway.app.messages.find(who.tenant, message_id)
    if waiting is not None and waiting.holder == who.agent_id:
        tenant = gateway.app.gate.tenant(who.tenant)
        await _let_in(gateway, tenant, who, _wanted(tenant, waiting.type, (), Accepts(()), 0))


async def _let_in(gateway: Any, tenant: Tenant, who: Principal, wanted: Wanted) -> None:
    decision: Decision | None = await gateway.app.messages.barred(tenant, who, wanted)
    if decision is not None:
        first = decision.reasons[0] if decision.reasons else None
        rule = first.rule if first else ""
        detail = f"rule `{rule}`: {first.text}" if first else "denied"
        raise http.RefusedError(problem("policy-violation", detail=detail, rule=rule, rules=decision.rules))


def _settled(said: Told) -> None:
    if said is Told.ABSENT:
        raise http.refuse("not-found", "no such message is leased to this agent")
    if said is Told.LOST:
        raise http.refuse("lease-lost")


ROUTES: dict[tuple[str, tuple[str, ...]], Any] = {
    ("POST", ("v1", "messages")): send,
    ("POST", ("v1", "messages", "lease")): lease,
    ("POST", ("v1", "messages", "{message_id}", "ack")): ack,
    ("POST", ("v1", "messages", "{message_id}", "nack")): nack,
}
