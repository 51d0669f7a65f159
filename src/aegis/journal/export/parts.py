"""The parts of a record that several classes of OCSF share: who acted, on what, by which rules."""

from collections.abc import Mapping
from typing import Any

from aegis.journal.export.terms import OTHER, POLICY

Body = Mapping[str, Any]


def api(body: Body, operation: str, *, response: dict[str, Any] | None = None) -> dict[str, Any]:
    """A request of the gateway, who made it, and the tool that it was about."""
    who = text(body, "agent_id") or text(body, "by") or "aegis"
    asked = {
        "operation": operation,
        "request": {"uid": body["request_id"]} if body["request_id"] else None,
        "response": response,
        "service": {"name": "aegis"},
    }
    found = {"actor": actor(body), "api": present(asked), "src_endpoint": {"svc_name": who, "name": who}}
    return found | ({"resources": [_resource(body)]} if tool(body) else {})


def actor(body: Body) -> dict[str, Any]:
    """Who acted: the agent by its SPIFFE id, for the person or service at the root of its chain; or a person; or the gateway."""
    agent, person, root = text(body, "agent_id"), text(body, "by"), body.get("actor")
    if agent.startswith("agent:"):
        spiffe = f"spiffe://{body['tenant']}.aegis/agent/{agent.removeprefix('agent:')}"
        subject = text(root, "sub") if isinstance(root, Mapping) else ""
        return present({"app_name": agent, "app_uid": spiffe, "user": user(subject) if subject else None})
    if person or agent:
        return {"user": user(person or agent)}
    return present({"app_name": "aegis", "app_uid": text(body, "gateway")})


def user(name: str) -> dict[str, Any]:
    """An agent is a service, everybody else a user."""
    agent = name.startswith("agent:")
    return {
        "uid": name or "unknown",
        "name": name or "unknown",
        "type_id": 4 if agent else 1,
        "type": "Service" if agent else "User",
    }


def authenticated(body: Body) -> dict[str, Any]:
    """Who showed the gateway who they are."""
    return {
        "actor": actor(body),
        "user": user(text(body, "agent_id")),
        "service": {"name": "aegis", "uid": text(body, "gateway") or "aegis"},
        "auth_protocol_id": 6,
        "auth_protocol": "OAUTH 2.0",
    }


def entity(body: Body, what: str) -> dict[str, Any]:
    """What a change was made to; of the tenant that the event is about, when it stands in the gateway's own log."""
    name, kind = _changed(body, what)
    version = text(body["tool"], "version") if tool(body) else ""
    found = {"name": name, "uid": f"{text(body, 'on_tenant') or body['tenant']}/{name}", "version": version}
    rules = policy(body) if kind == "policy" else None
    return present({**found, "type_id": POLICY if rules else OTHER, "type": "Policy" if rules else kind, "policy": rules})


def policy(body: Body) -> dict[str, Any] | None:
    """Which rules decided, or were changed."""
    found = body.get("policy") or body.get("enforced") or body.get("shadow")
    if not isinstance(found, Mapping):
        return None
    names = {"name": text(found, "bundle") or text(found, "name"), "version": text(found, "version"), "uid": text(found, "digest")}
    return present(names) if names["name"] or names["uid"] else None


def reasons(body: Body) -> dict[str, Any]:
    """The rules that decided, and why in words."""
    words = "; ".join(filter(None, (text(each, "text") for each in members(body, "reasons"))))
    return present({"status_code": ", ".join(texts(body, "rules")), "status_detail": words})


def outcome(body: Body) -> str:
    """The outcome of a decision; an allowed call that a person had to permit is `approved`."""
    found = text(body, "decision")
    return "approved" if found == "allow" and body.get("approval_id") else found


def tool(body: Body) -> str:
    """The name of the tool that the event is about."""
    found = body.get("tool")
    return text(found, "name") if isinstance(found, Mapping) else ""


def text(body: Body, name: str) -> str:
    """A field that is text; empty when it is missing or something else."""
    found = body.get(name)
    return found if isinstance(found, str) else ""


def number(body: Body, name: str) -> int:
    """A field that is a natural number; 0 when it is missing or something else."""
    found = body.get(name)
    return found if type(found) is int and found > 0 else 0


def texts(body: Body, name: str) -> list[str]:
    """The texts of a field that is a list."""
    found = body.get(name)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def members(body: Body, name: str) -> list[Body]:
    """The objects of a field that is a list."""
    found = body.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something: OCSF has no nulls."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def _resource(body: Body) -> dict[str, Any]:
    found = body["tool"]
    named = {"name": found["name"], "version": text(found, "version"), "uid": text(found, "digest")}
    return present({**named, "type": "tool", "role_id": 1, "role": "Target"})


def _changed(body: Body, what: str) -> tuple[str, str]:
    """Name and kind of what was changed."""
    if body["type"] == "halt":
        named = text(body, "what")
        return named, named.partition(":")[0]
    if body["type"] == "revoked":
        for kind in ("token", "key"):
            if named := text(body, kind):
                return named, kind
        who = text(body, "who") or "tenant"
        return who, who.partition(":")[0]
    return tool(body) or text(body, "name") or text(body, "subject") or what, what
