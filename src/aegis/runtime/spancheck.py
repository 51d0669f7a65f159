"""Holds a span that somebody kept against the event of the journal that tells of the same.

What a collector keeps can be changed by whoever writes to it; the event is sealed in the log, and carries the ids of its span.
"""

from collections.abc import Mapping
from typing import Any

from aegis.model import conventions as names

_COMPARED = (
    (names.DECISION, "decision"),
    (names.RULE, "rules"),
    (names.REQUEST_ID, "request_id"),
    (names.APPROVAL_ID, "approval_id"),
    (names.AGENT_ID, "agent_id"),
    (names.TOOL_NAME, "tool.name"),
    (names.POLICY_NAME, "policy.bundle"),
    (names.POLICY_VERSION, "policy.version"),
    (names.AUDIT_EVENT, "id"),
    (names.AUDIT_SEQ, "seq"),
    (names.TENANT, "tenant"),
    (names.PARENT_REQUEST_ID, "parent_request_id"),
    (names.PARENT_AGENT_ID, "parent_agent_id"),
    (names.RUN_ID, "agent.txn"),
    (names.OUTCOME, "outcome"),
    (names.OUTCOME, "state"),
    (names.REPEAT_OF, "of"),
)


def differences(attributes: Mapping[str, Any], ids: Mapping[str, str], event: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a span that somebody kept says otherwise than the event of the journal: the names, none when they agree.

    Args:
        attributes: What the span says, by name.
        ids: Its `trace_id`, `span_id` and `parent_span_id`.
        event: The body of the event that carries the same span id. Its `seq` is told by spans that end after it is known.
    """
    found = [name for name in ("trace_id", "span_id", "parent_span_id") if ids.get(name, "") != event.get(name, "")]
    for name, path in _COMPARED:
        told = _at(event, path)
        said = attributes.get(name)
        if told is _ABSENT or (said is None and (told in ("", [], None) or name == names.AUDIT_SEQ)):
            continue
        if (list(said) if isinstance(said, tuple | list) else said) != told:
            found.append(name)
    return tuple(found)


_ABSENT = object()


def _at(event: Mapping[str, Any], path: str) -> Any:
    value: Any = event
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value
