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
RUN_WORKFLOW = "run_workflow"
TAKE_STEP = "take_step"
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
WORKFLOW = "aegis.workflow.name"
WORKFLOW_VERSION = "aegis.workflow.version"
STEP = "aegis.step"
ATTEMPT = "aegis.attempt"

OURS = (
    DECISION, RULE, SHADOW_RULE, POLICY_NAME, POLICY_VERSION, ENFORCED, REQUEST_ID, PARENT_REQUEST_ID, PARENT_AGENT_ID, RUN_ID,
    APPROVAL_ID, AUDIT_EVENT, AUDIT_SEQ, TENANT, DOOR, EFFECT, OUTCOME, REPEAT_OF, REPEATED, COST, TO,
    WORKFLOW, WORKFLOW_VERSION, STEP, ATTEMPT,
)  # fmt: skip


PROCESS, TENANTS = "process", "tenants"


class Measure(Struct, frozen=True, kw_only=True):
    """A metric: its name where Prometheus reads it, its name over OTLP, its unit, its labels, and what it tells.

    What tells of `tenants` is for the operator alone.
    """

    prometheus: str
    otlp: str
    tells: str
    unit: str = "1"
    labels: tuple[str, ...] = ()
    of: str = PROCESS


def _process(prometheus: str, otlp: str, unit: str, labels: str, tells: str) -> Measure:
    return Measure(prometheus=prometheus, otlp=otlp, unit=unit, labels=tuple(labels.split()), tells=tells)


def _tenants(prometheus: str, otlp: str, unit: str, labels: str, tells: str) -> Measure:
    named = ("tenant", *labels.split())
    return Measure(prometheus=prometheus, otlp=otlp, unit=unit, labels=named, tells=tells, of=TENANTS)


METRICS = (
    _process(
        "aegis_http_requests_total", "aegis.http.requests", "{request}", "path status", "HTTP requests by path pattern and status."
    ),
    _process("aegis_http_request_seconds", "http.server.request.duration", "s", "path", "Time from headers to answer."),
    _process("aegis_outcomes_total", "aegis.outcomes", "{decision}", "outcome", "Decisions by outcome."),
    _process(
        "aegis_unauthenticated_total",
        "aegis.unauthenticated",
        "{request}",
        "reason",
        "Requests refused before anybody was known, by reason.",
    ),
    _process("aegis_calls_in_flight", "aegis.calls.in_flight", "{call}", "", "Calls under way in this process."),
    _process("aegis_store", "aegis.store", "1", "name", "Numbers of the store in this process."),
    _process(
        "aegis_policies_refused",
        "aegis.policies.refused",
        "{policy}",
        "",
        "Policies that this process refuses to serve, of all tenants.",
    ),
    _process("aegis_clock_behind_seconds", "aegis.clock.behind", "s", "", "How far the clock stands behind the journal."),
    _process("aegis_decision_seconds", "aegis.decision.duration", "s", "", "Time from a request to its durable decision."),
    _process(
        "aegis_upstream_seconds",
        "aegis.upstream.duration",
        "s",
        "result",
        "Time that conversations with tools took, by what came of them.",
    ),
    _process(
        "aegis_approval_wait_seconds",
        "aegis.approval.wait",
        "s",
        "result",
        "Time from holding a request to the answer that ended its wait.",
    ),
    _process(
        "aegis_spans_total", "aegis.spans", "{span}", "work", "Spans, by what they are about, whether or not they are exported."
    ),
    _process(
        "aegis_spans_dropped_total", "aegis.spans.dropped", "{span}", "why", "Spans that never reached the collector: queue, lost."
    ),
    _process("aegis_export_lag_seconds", "aegis.export.lag", "s", "", "Age of the oldest span that is being sent."),
    _tenants("aegis_decisions_total", "aegis.decisions", "{decision}", "tool outcome", "Decisions by tenant, tool and outcome."),
    _tenants(
        "aegis_policy_version", "aegis.policy.number", "1", "role", "Version of the policy by tenant and role; 0 is the files."
    ),
    _tenants("aegis_policy_refused", "aegis.policy.refused", "{policy}", "", "Policies that this process refuses to serve."),
    _tenants("aegis_policy_rules", "aegis.policy.rules", "{rule}", "", "Rules of the policy in force."),
    _tenants(
        "aegis_policy_rules_hit",
        "aegis.policy.rules_hit",
        "{rule}",
        "",
        "Rules of the policy in force that have decided something here.",
    ),
    _tenants("aegis_calls_total", "aegis.calls", "{call}", "tool agent result", "Permitted calls by what came of them."),
    _tenants("aegis_errors_total", "aegis.errors", "{error}", "cause", "Why requests were refused and calls failed."),
    _tenants("aegis_repeats_total", "aegis.repeats", "{request}", "tool told", "Requests that came again, by what they were told."),
    _tenants(
        "aegis_cost_micros_total",
        "aegis.cost",
        "{micro}",
        "tool agent",
        "Cost of permitted calls, in millionths of the tenant's unit of money.",
    ),
    _tenants(
        "aegis_chatter_total", "aegis.chatter", "{message}", "way sender receiver", "Messages and delegations between agents."
    ),
    _tenants("aegis_approvals_pending", "aegis.approvals.pending", "{approval}", "", "Requests that wait for people."),
    _tenants(
        "aegis_mailbox_messages",
        "aegis.mailbox.messages",
        "{message}",
        "state",
        "Messages that wait for agents (ready) or are in their hands (leased).",
    ),
    _tenants(
        "aegis_dead_letters", "aegis.dead_letters", "{message}", "", "Messages that reached nobody, until a person has looked."
    ),
    _tenants(
        "aegis_queue_tasks",
        "aegis.queue.tasks",
        "{task}",
        "queue state",
        "Tasks of an owned queue that lie in it (ready), are at work (working) or could not come in (waiting).",
    ),
    _tenants(
        "aegis_queue_age_seconds",
        "aegis.queue.age",
        "s",
        "queue",
        "For how long the oldest task that workers could take has waited.",
    ),
    _process("aegis_run_seconds", "aegis.run.duration", "s", "result", "Time from the start of a run to its end, by how it ended."),
    _process(
        "aegis_step_seconds",
        "aegis.step.duration",
        "s",
        "result",
        "Time from issuing an attempt of a step to its end, by what came of it.",
    ),
    _tenants("aegis_runs_total", "aegis.runs", "{run}", "workflow result", "Runs that ended, by how."),
    _tenants(
        "aegis_steps_total",
        "aegis.steps",
        "{attempt}",
        "workflow result",
        "Attempts of steps by what came of them; retried ones are tried again, parked ones are dead letters.",
    ),
    _tenants("aegis_runs_open", "aegis.runs.open", "{run}", "state", "Runs that did not end, by how they stand."),
    _tenants(
        "aegis_unsealed_seconds",
        "aegis.unsealed",
        "s",
        "",
        "For how long events of the tenant's log have waited for a signed checkpoint.",
    ),
    _tenants(
        "aegis_cosignature_age_seconds",
        "aegis.cosignature.age",
        "s",
        "",
        "For how long the witnesses have not cosigned the tenant's log.",
    ),
    _process(
        "aegis_audit_exports_lag_events",
        "aegis.audit.exports.lag",
        "{event}",
        "",
        "Events recorded and not acknowledged, of all tenants.",
    ),
    _process("aegis_audit_exports_halted", "aegis.audit.exports.halted", "{tenant}", "", "Tenants whose export needs a person."),
    _tenants("aegis_audit_export_lag_events", "aegis.audit.export.lag", "{event}", "", "Events recorded and not acknowledged."),
    _tenants("aegis_audit_export_halted", "aegis.audit.export.halted", "1", "", "1: the export of the tenant needs a person."),
)
"""Every metric of a gateway. Made-up names never become labels, so that there are few series."""

BY_PROMETHEUS = {each.prometheus.removesuffix("_total"): each for each in METRICS}
LABELS = {"tenant": TENANT, "tool": TOOL_NAME, "agent": AGENT_ID, "path": HTTP_ROUTE, "status": HTTP_STATUS}
"""Labels that have a name of their own as attributes; every other one is `aegis.LABEL`."""
