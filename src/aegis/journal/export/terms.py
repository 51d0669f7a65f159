"""The numbers and captions of OCSF 1.8 that we use, and what an event says in them.

The numbers of actions and dispositions for the outcomes of a decision are a table that other documents repeat; change none of it.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Class(Struct, frozen=True, kw_only=True):
    """A class of OCSF: its names, and those of its activities that we use."""

    name: str
    category: str
    category_uid: int
    activities: Mapping[int, str]
    profiles: tuple[str, ...] = ("security_control",)


class Said(Struct, frozen=True, kw_only=True):
    """What one event says. `other` names an activity that has no number, `pending` a status that is neither good nor bad."""

    class_uid: int
    activity: int
    fields: dict[str, Any]
    other: str = "Other"
    pending: str = "Other"
    status: int = 1
    severity: int = 1
    action: int = 3
    disposition: int = 17


API, TICKET, SESSION, ENTITY, LOG = 6003, 3002, 3003, 3004, 1008
CREATE, READ, UPDATE, DELETE, OTHER = 1, 2, 3, 4, 99
ENABLE, DISABLE, ACTIVATE, SUSPEND, RESUME, ENROLL = 8, 9, 10, 12, 13, 6
DELETE_LOG = 2  # each class numbers its activities anew
POLICY = 5  # of a managed entity
SUCCESS, FAILURE, UNDECIDED = 1, 2, 99
INFORMATIONAL, LOW, MEDIUM, HIGH = 1, 2, 3, 4
ALLOWED, DENIED, OBSERVED, MODIFIED = 1, 2, 3, 4

SEVERITIES = {1: "Informational", 2: "Low", 3: "Medium", 4: "High"}
STATUSES = {1: "Success", 2: "Failure"}
ACTIONS = {1: "Allowed", 2: "Denied", 3: "Observed", 4: "Modified"}
DISPOSITIONS = {
    1: "Allowed", 2: "Blocked", 3: "Quarantined", 8: "Approved", 9: "Restored", 11: "Corrected", 14: "Delayed", 17: "Logged",
    24: "Access Revoked", 25: "Rejected",
}  # fmt: skip
_IAM = "Identity & Access Management"
CLASSES: Mapping[int, Class] = {
    API: Class(
        name="API Activity", category="Application Activity", category_uid=6, profiles=("security_control", "trace"),
        activities={1: "Create", 2: "Read", 3: "Update", 4: "Delete"},
    ),
    TICKET: Class(name="Authentication", category=_IAM, category_uid=3, activities={3: "Authentication Ticket"}),
    SESSION: Class(name="Authorize Session", category=_IAM, category_uid=3, activities={1: "Assign Privileges"}),
    ENTITY: Class(
        name="Entity Management", category=_IAM, category_uid=3,
        activities={
            1: "Create", 3: "Update", 4: "Delete", 6: "Enroll", 8: "Enable", 9: "Disable", 10: "Activate", 12: "Suspend",
            13: "Resume",
        },
    ),
    LOG: Class(name="Event Log Activity", category="System Activity", category_uid=1, activities={2: "Delete"}),
}  # fmt: skip
DECIDED: Mapping[str, tuple[int, int, int, int]] = {
    # outcome: action, disposition, status, severity
    "allow": (ALLOWED, 1, SUCCESS, INFORMATIONAL),
    "approved": (ALLOWED, 8, SUCCESS, INFORMATIONAL),
    "sanitize": (MODIFIED, 11, SUCCESS, INFORMATIONAL),
    "approval_needed": (DENIED, 14, UNDECIDED, LOW),
    "deny": (DENIED, 2, FAILURE, MEDIUM),
}
