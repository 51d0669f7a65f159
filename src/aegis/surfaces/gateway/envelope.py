"""CloudEvents 1.0 in structured JSON, as agents send and receive it, and the bodies around it.

The attributes are a closed set: one that we would not carry to the reader is refused and not lost on the way. Three are ours:
`schemaversion` is the version of the contract (or `dataschema` states it), `to` the addressee where the contract leaves a choice,
`parentagent` and `parentrequest` the parent of a delegated sender, which are not carried on. `traceparent` is that of the extension
for distributed tracing: it counts where the request has no such header, and the reader gets that of the send.
"""

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from aegis.errors import InputError
from aegis.model.event import instant
from aegis.model.message import MessageContract
from aegis.model.principal import Principal
from aegis.runtime.mailbox import Waiting
from aegis.runtime.messages import Leased
from aegis.surfaces.gateway.wire import CallView, Version

MAX_LEASE_SECONDS = 900
_SCHEMA = re.compile(r"urn:aegis:message:([a-z0-9-]+):([a-z0-9._-]+):([0-9]+\.[0-9]+\.[0-9]+)")
_Name = Annotated[str, Meta(min_length=1, max_length=128)]


class Envelope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/messages`: a CloudEvents 1.0 envelope. `source` is the calling agent."""

    specversion: Literal["1.0"]
    id: _Name
    source: Annotated[str, Meta(min_length=1, max_length=256)]
    type: _Name
    schemaversion: Version = ""
    dataschema: Annotated[str, Meta(max_length=512)] = ""
    datacontenttype: Literal["application/json"] = "application/json"
    subject: Annotated[str, Meta(max_length=256)] = ""
    time: Annotated[str, Meta(max_length=40)] = ""
    to: Annotated[str, Meta(max_length=128)] = ""
    data: Any = None
    traceparent: Annotated[str, Meta(max_length=64)] = ""
    parentagent: str = ""
    parentrequest: str = ""


class SentView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message that was taken: one id for each addressee. `repeat_of` is set when it was taken before."""

    request_id: str
    messages: tuple[dict[str, str], ...]
    decision: str
    policy_version: str
    rules: tuple[str, ...]
    approval_id: str = ""
    repeat_of: str = ""


class LeaseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/messages/lease`. `accept` are the versions that the consumer reads, such as `1.2` or `1.2,2.0`."""

    type: _Name
    accept: Annotated[str, Meta(min_length=1, max_length=128)]
    lease_seconds: Annotated[int, Meta(ge=1, le=MAX_LEASE_SECONDS)] = 60
    parent_agent_id: str = ""
    parent_request_id: str = ""


class LeaseView(Struct, frozen=True, kw_only=True):
    """A message in the hands of a consumer until `expires_at`. `event` is the CloudEvents envelope."""

    message_id: str
    lease: str
    expires_at: str
    deliveries: int
    accepted: str
    event: dict[str, Any]


class ReceivedView(Struct, frozen=True, kw_only=True):
    """The next message; null when nothing waits."""

    message: LeaseView | None


class AckBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/messages/{message_id}/ack`."""

    lease: _Name
    parent_agent_id: str = ""
    parent_request_id: str = ""


class NackBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/messages/{message_id}/nack`. `reason` is recorded: no data of the message belongs there."""

    lease: _Name
    reason: Annotated[str, Meta(min_length=1, max_length=256)]
    parent_agent_id: str = ""
    parent_request_id: str = ""


class SettledView(Struct, frozen=True, kw_only=True):
    """What was said of a message."""

    message_id: str
    state: Literal["acked", "nacked"]


TYPES = (Envelope, SentView, LeaseBody, ReceivedView, AckBody, NackBody, SettledView)


def is_source(source: str, who: Principal) -> bool:
    """Whether an envelope's source is this agent, by its id or in SPIFFE form."""
    return source in (who.agent_id, f"spiffe://{who.tenant}.aegis/agent/{who.agent_id.removeprefix('agent:')}")


def stated_version(sent: Envelope, tenant: str) -> str:
    """The version that the envelope states.

    Raises:
        InputError: It states none, or two that differ, or `dataschema` is of another message or tenant.
    """
    if not sent.dataschema:
        if not sent.schemaversion:
            raise InputError("expected the version of the message's contract, such as 1.2.0", "/schemaversion")
        return sent.schemaversion
    found = _SCHEMA.fullmatch(sent.dataschema)
    if found is None or (found[1], found[2]) != (tenant, sent.type):
        raise InputError("expected urn:aegis:message:TENANT:TYPE:X.Y.Z of this tenant and type", "/dataschema")
    if sent.schemaversion not in ("", found[3]):
        raise InputError("expected the version that `dataschema` states, or nothing", "/schemaversion")
    return found[3]


def arguments(sent: Envelope, who: Principal) -> dict[str, Any]:
    """The arguments of the call that sends it."""
    optional = {"subject": sent.subject, "time": sent.time, "to": sent.to}
    given = {name: value for name, value in optional.items() if value}
    return {"source": who.agent_id, "id": sent.id, **given, "data": sent.data}


def sent_view(told: CallView) -> SentView:
    """The answer to a send; a rule may have taken the ids out of its result."""
    found = told.result.get("messages") if isinstance(told.result, dict) else None
    return SentView(
        request_id=told.request_id,
        messages=tuple(found) if isinstance(found, list) else (),
        decision=told.decision,
        policy_version=told.policy_version,
        rules=told.rules,
        approval_id=told.approval_id,
        repeat_of=told.repeat_of,
    )


def lease_view(leased: Leased, tenant: str, accepted: str) -> LeaseView:
    """A message as its consumer gets it."""
    waiting = leased.waiting
    return LeaseView(
        message_id=waiting.id,
        lease=waiting.lease,
        expires_at=instant(waiting.due),
        deliveries=waiting.deliveries,
        accepted=accepted,
        event=_event(waiting, leased.content, tenant),
    )


def _event(waiting: Waiting, content: dict[str, Any], tenant: str) -> dict[str, Any]:
    """The envelope as it is handed on: the version is stated both ways, at every hop."""
    return {
        "specversion": "1.0",
        "type": waiting.type,
        "schemaversion": waiting.version,
        "dataschema": f"urn:aegis:message:{tenant}:{waiting.type}:{waiting.version}",
        "datacontenttype": "application/json",
        **content,
        "to": waiting.to,
        **({"traceparent": waiting.traceparent} if waiting.traceparent else {}),
    }


def version_list(contracts: dict[str, MessageContract]) -> str:
    """The versions that there are, for people."""
    return ", ".join(each.version for each in sorted(contracts.values(), key=lambda each: each.numbers))
