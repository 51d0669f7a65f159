"""Every name that our telemetry uses, in one table.

The first part are names of the OpenTelemetry semantic conventions: general ones, and those for generative AI, which are still in
development (schema 1.42.0). The second part are ours: they begin with `aegis.` and do not change their meaning. The last part says
under which name a metric that Prometheus reads goes out over OTLP.
"""

from msgspec import Struct

SCHEMA_URL = "https://opentelemetry.io/schemas/gen-ai/1.42.0"
SCOPE = "aegis"

# General attributes
ERROR_TYPE = "error.type"
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
URL_TEMPLATE = "url.template"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION = "messaging.operation.name"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
MESSAGING_DESTINATION = "messaging.destination.name"
SERVICE_NAME = "service.name"
SERVICE_INSTANCE = "service.instance.id"
SERVICE_VERSION = "service.version"

# Generative AI
OPERATION = "gen_ai.operation.name"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
AGENT_ID = "gen_ai.agent.id"
EXECUTE_TOOL = "execute_tool"

STANDARD = (
    ERROR_TYPE, HTTP_METHOD, HTTP_ROUTE, HTTP_STATUS, URL_TEMPLATE, SERVER_ADDRESS, SERVER_PORT, MESSAGING_SYSTEM,
    MESSAGING_OPERATION, MESSAGING_OPERATION_TYPE, MESSAGING_DESTINATION, SERVICE_NAME, SERVICE_INSTANCE, SERVICE_VERSION,
    OPERATION, TOOL_NAME, TOOL_TYPE, AGENT_ID,
)  # fmt: skip
"""The attributes that others define; a test compares them with the official packages."""

# Ours
GUARDRAIL = "apply_guardrail aegis"
WAIT = "await_approval"
SETTLE = "settle"
DECISION = "aegis.decision"
RULE = "aegis.rule"
SHADOW_RULE = "aegis.shadow.rule"
POLICY_NAME = "aegis.policy.name"
POLICY_VERSION = "aegis.policy.version"
ENFORCED = "aegis.enforced"
REQUEST_ID = "aegis.request.id"
PARENT_REQUEST_ID = "aegis.parent.request.id"
PARENT_AGENT_ID = "aegis.parent.agent.id"
RUN_ID = "aegis.run.id"
APPROVAL_ID = "aegis.approval.id"
AUDIT_EVENT = "aegis.audit.event"
AUDIT_SEQ = "aegis.audit.seq"
TENANT = "aegis.tenant"
DOOR = "aegis.door"
EFFECT = "aegis.tool.effect"
OUTCOME = "aegis.outcome"
REPEAT_OF = "aegis.repeat.of"
REPEATED = "aegis.repeat.told"
COST = "aegis.cost.micros"
TO = "aegis.to"

OURS = (
    DECISION, RULE, SHADOW_RULE, POLICY_NAME, POLICY_VERSION, ENFORCED, REQUEST_ID, PARENT_REQUEST_ID, PARENT_AGENT_ID, RUN_ID,
    APPROVAL_ID, AUDIT_EVENT, AUDIT_SEQ, TENANT, DOOR, EFFECT, OUTCOME, REPEAT_OF, REPEATED, COST, TO,
)  # fmt: skip


class Measure(Struct, frozen=True):
    """A metric: its name where Prometheus reads it, its name over OTLP, its unit, and what it tells."""

    prometheus: str
    otlp: str
    unit: str
    tells: str
