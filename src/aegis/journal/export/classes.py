"""Which class of OCSF each event type is, and what of the event has a place of its own there.

    API Activity          6003   a call of a tool, and every other request that an agent or a person makes of the gateway
    Authentication        3002   a token was issued, a proof of possession was used
    Authorize Session     3003   authority was handed down, a person answered an approval
    Entity Management     3004   what the gateway works by was changed: policies, tools, keys, permissions, halts, revocations
    Event Log Activity    1008   the log itself: checkpoints, retention

A type without a row is an API Activity whose operation is the type itself: a newer gateway's events pass through an older exporter.
"""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from aegis.journal.export.parts import (
    Body,
    actor,
    api,
    authenticated,
    entity,
    members,
    number,
    outcome,
    policy,
    present,
    reasons,
    text,
    texts,
    tool,
    user,
)
from aegis.journal.export.terms import (
    ACTIVATE,
    ALLOWED,
    API,
    CREATE,
    DECIDED,
    DELETE,
    DELETE_LOG,
    DENIED,
    DISABLE,
    ENABLE,
    ENROLL,
    ENTITY,
    FAILURE,
    HIGH,
    INFORMATIONAL,
    LOG,
    LOW,
    MEDIUM,
    OBSERVED,
    OTHER,
    READ,
    RESUME,
    SESSION,
    SUCCESS,
    SUSPEND,
    TICKET,
    UNDECIDED,
    UPDATE,
    Said,
)

_REQUESTS: Mapping[str, tuple[int, str]] = {
    # type: activity, operation
    "repeat": (OTHER, "tools/call"),
    "message": (CREATE, "messages/send"),
    "message_leased": (READ, "messages/lease"),
    "message_acked": (DELETE, "messages/ack"),
    "message_nacked": (UPDATE, "messages/nack"),
    "message_lapsed": (UPDATE, "messages/lapse"),
    "dead_letter": (CREATE, "dead_letters/bury"),
    "dead_letter_read": (READ, "dead_letters/read"),
    "dead_letter_requeued": (UPDATE, "dead_letters/requeue"),
    "dead_letter_discarded": (DELETE, "dead_letters/discard"),
    "override_used": (UPDATE, "approvals/use"),
    "approval_asked": (CREATE, "approvals/ask"),
    "approval_escalated": (UPDATE, "approvals/escalate"),
    "approval_expired": (UPDATE, "approvals/expire"),
    "approval_withdrawn": (DELETE, "approvals/withdraw"),
    "notice_dropped": (DELETE, "notices/drop"),
    "resource_conflict": (OTHER, "tools/call"),
    "task_offered": (CREATE, "tasks/offer"),
    "task_leased": (READ, "tasks/lease"),
    "task_extended": (UPDATE, "tasks/extend"),
    "task_lapsed": (UPDATE, "tasks/lapse"),
    "task_ended": (DELETE, "tasks/end"),
    "workflow_started": (CREATE, "runs/start"),
    "workflow_succeeded": (UPDATE, "runs/step_succeeded"),
    "workflow_failed": (UPDATE, "runs/step_failed"),
    "workflow_offered": (UPDATE, "runs/step_offered"),
    "workflow_held": (UPDATE, "runs/step_held"),
    "workflow_escalated": (UPDATE, "runs/step_escalated"),
    "workflow_released": (UPDATE, "runs/step_released"),
    "workflow_redispatched": (UPDATE, "runs/step_redispatched"),
    "workflow_waited": (UPDATE, "runs/step_waited"),
    "workflow_signalled": (UPDATE, "runs/signal"),
    "workflow_cancel": (UPDATE, "runs/cancel"),
    "workflow_timed_out": (UPDATE, "runs/time_out"),
    "workflow_halted": (UPDATE, "runs/halt"),
    "workflow_resumed": (UPDATE, "runs/resume"),
    "workflow_requeued": (UPDATE, "runs/step_requeue"),
    "workflow_discarded": (UPDATE, "runs/step_discard"),
    "workflow_settled": (UPDATE, "runs/step_settle"),
    "run_operated": (UPDATE, "runs/operate"),
    "run_read": (READ, "runs/read"),
    "false_positive": (CREATE, "shadow/mark"),
    "forgotten": (DELETE, "rows/forget"),
}
_CHANGES: Mapping[str, tuple[int, str, int]] = {
    # type: activity, what is changed, severity
    "permissions_changed": (UPDATE, "directory", INFORMATIONAL),
    "directory_refused": (UPDATE, "directory", HIGH),
    "keys_changed": (UPDATE, "keys", INFORMATIONAL),
    "keys_pinned": (UPDATE, "keys", INFORMATIONAL),
    "keys_refused": (UPDATE, "keys", HIGH),
    "data_keys_rewrapped": (UPDATE, "data keys", INFORMATIONAL),
    "erasure": (DELETE, "data key", LOW),
    "credential": (UPDATE, "credential", INFORMATIONAL),
    "policy_pushed": (CREATE, "policy", INFORMATIONAL),
    "policy_activated": (ACTIVATE, "policy", LOW),
    "policy_refused": (ACTIVATE, "policy", HIGH),
    "contracts_refused": (UPDATE, "contracts", HIGH),
    "tool_registered": (ENROLL, "tool", INFORMATIONAL),
    "tool_approved": (ENABLE, "tool", LOW),
    "tool_quarantined": (SUSPEND, "tool", HIGH),
    "tool_restored": (RESUME, "tool", INFORMATIONAL),
    "revoked": (DISABLE, "", MEDIUM),
    "halt": (SUSPEND, "", HIGH),
    "queue_changed": (UPDATE, "queue", LOW),
    "export_moved": (UPDATE, "export", MEDIUM),
}
_QUARANTINE = {"tool_quarantined": (DENIED, 3), "tool_restored": (ALLOWED, 9), "revoked": (DENIED, 24)}
_LOG: Mapping[str, tuple[int, int]] = {
    # type: activity, severity
    "checkpoint": (OTHER, INFORMATIONAL),
    "retention": (DELETE_LOG, LOW),
    "checkpoint_gap": (OTHER, MEDIUM),
    "anchor_begun": (OTHER, HIGH),
}


def said(body: Body) -> Said:
    """What the event says in the words of OCSF."""
    kind = body["type"]
    if kind in _CHANGES:
        return _change(body)
    if kind in _LOG:
        return _log(body)
    return _SPECIAL.get(kind, _request)(body)


def _decision(body: Body) -> Said:
    found = outcome(body)
    action, disposition, status, severity = DECIDED.get(found, (OBSERVED, 17, UNDECIDED, LOW))
    fields = api(body, "tools/call") | reasons(body)
    fields |= {"authorizations": [present({"decision": found, "policy": policy(body)})]}
    return Said(
        class_uid=API, activity=OTHER, other="tools/call", fields=fields | present({"policy": policy(body)}),
        action=action, disposition=disposition, status=status, severity=severity, pending="Pending",
    )  # fmt: skip


def _submitted(body: Body) -> Said:
    """A plan of an agent: decided as a call is, by its gates."""
    made = _decision(body)
    return replace(made, other="plans/submit", fields=made.fields | api(body, "plans/submit"))


def _ended(body: Body) -> Said:
    """What came of a call: the gateway only observed it."""
    state = text(body, "outcome")
    status = {"done": SUCCESS, "failed": FAILURE, "refused": FAILURE, "reopened": FAILURE}.get(state, UNDECIDED)
    response = present({"code": number(body, "upstream_status") or None, "error": text(body, "reason"), "message": state})
    fields = api(body, "tools/call", response=response) | present({"status_code": state, "status_detail": text(body, "reason")})
    if micros := number(body, "duration_us"):
        fields["duration"] = micros // 1000
    return Said(
        class_uid=API, activity=OTHER, other="tools/call", fields=fields, status=status, pending=state or "Other",
        severity=LOW if status != SUCCESS else INFORMATIONAL,
    )  # fmt: skip


def _refusal(body: Body) -> Said:
    fields = api(body, text(body, "door") or "request") | present({
        "status_code": text(body, "reason"), "status_detail": text(body, "what")
    })  # fmt: skip
    return Said(
        class_uid=API, activity=OTHER, other="refusal", fields=fields, status=FAILURE, severity=LOW, action=DENIED, disposition=25
    )


def _request(body: Body) -> Said:
    activity, operation = _REQUESTS.get(body["type"], (OTHER, body["type"]))
    action, disposition = (ALLOWED, 8) if body["type"] == "override_used" else (OBSERVED, 17)
    fields = api(body, operation) | present({"status_detail": text(body, "reason")})
    return Said(class_uid=API, activity=activity, other=operation, fields=fields, action=action, disposition=disposition)


def _issued(body: Body) -> Said:
    token = present({"uid": text(body, "token_jti"), "type": "Access Token", "type_id": OTHER, "name": text(body, "grant")})
    fields = authenticated(body) | {"authentication_token": token, "session": present({"uid": text(body, "txn")})}
    return Said(class_uid=TICKET, activity=3, fields=present(fields), action=ALLOWED, disposition=1)


def _proven(body: Body) -> Said:
    return Said(class_uid=TICKET, activity=OTHER, other="Proof of Possession", fields=authenticated(body))


def _delegated(body: Body) -> Said:
    found = outcome(body)
    action, disposition, status, severity = DECIDED.get(found, (OBSERVED, 17, UNDECIDED, LOW))
    to = text(body, "to")
    privileges = [*texts(body, "scopes"), *(text(each, "tool") for each in members(body, "tools"))]
    fields = {
        "actor": actor(body),
        "user": user(to or text(body, "agent_id")),
        "privileges": privileges,
        "session": present({"uid": text(body, "delegation_jti"), "uid_alt": body["request_id"]}),
        "authorizations": [{"decision": found}],
    }
    return Said(
        class_uid=SESSION, activity=1, fields=present(fields) | {"privileges": privileges} | reasons(body),
        action=action, disposition=disposition, status=status, severity=severity, pending="Pending",
    )  # fmt: skip


def _answered(body: Body) -> Said:
    yes = text(body, "answer") == "approve"
    fields = {
        "actor": {"user": user(text(body, "approver"))},
        "user": user(text(body, "agent_id")),
        "session": present({"uid": text(body, "approval_id"), "uid_alt": body["request_id"]}),
        "status_detail": text(body, "reason"),
        "authorizations": [{"decision": text(body, "answer")}],
    }
    return Said(
        class_uid=SESSION, activity=1, fields=present(fields) | {"privileges": [tool(body)] if yes and tool(body) else []},
        action=ALLOWED if yes else DENIED, disposition=8 if yes else 25, severity=LOW,
    )  # fmt: skip


def _change(body: Body) -> Said:
    kind = body["type"]
    activity, what, severity = _CHANGES[kind]
    if kind == "halt" and text(body, "state") == "lifted":
        activity = RESUME
    action, disposition = _QUARANTINE.get(kind, (OBSERVED, 17))
    refused = kind.endswith("_refused")
    fields = {
        "actor": actor(body),
        "entity": entity(body, what),
        "comment": text(body, "reason") or text(body, "why") or text(body, "detail"),
        "status_detail": (text(body, "detail") or text(body, "why") or text(body, "reason")) if refused else None,
    }
    return Said(
        class_uid=ENTITY, activity=activity, fields=present(fields), severity=severity, status=FAILURE if refused else SUCCESS,
        action=DENIED if refused else action, disposition=25 if refused else disposition,
    )  # fmt: skip


def _log(body: Body) -> Said:
    activity, severity = _LOG[body["type"]]
    fields = {"actor": actor(body), "log_name": body["origin"], "log_type": "Application", "log_type_id": 2}
    return Said(
        class_uid=LOG, activity=activity, other=body["type"].replace("_", " ").capitalize(), fields=fields, severity=severity
    )


_SPECIAL: Mapping[str, Callable[[Body], Said]] = {
    "decision": _decision,
    "outcome": _ended,
    "late_outcome": _ended,
    "refusal": _refusal,
    "token_issued": _issued,
    "proof_used": _proven,
    "delegation": _delegated,
    "plan_submitted": _submitted,
    "approval": _answered,
}
