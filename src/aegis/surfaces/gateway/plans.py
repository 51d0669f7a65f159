"""Plans that agents submit: hand one in, hand it in again once a person agreed, see where it stands.

    POST /v1/plans               decided; its run is under way when the answer is 200
    GET  /v1/plans/{plan_id}     for the agent that submitted it, and for people

A plan is text of an agent's own making. It is read by the parser of definitions and by nothing else: no part of it is run, looked
up or put into a template before it has passed. What is wrong with it is told with its place.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from aegis.errors import AegisError
from aegis.model.decision import Outcome
from aegis.model.document import parse
from aegis.model.event import instant
from aegis.runtime.ask import Answer, Kind
from aegis.runtime.record import text as text_of
from aegis.runtime.runs.submission import TOOL, Submitted, Told
from aegis.surfaces.gateway import http
from aegis.surfaces.gateway.asking import OK, shaped
from aegis.surfaces.gateway.caller import Caller, agent
from aegis.surfaces.gateway.problems import of_answer
from aegis.workflow.gates.report import Cost
from aegis.workflow.graph import Workflow
from aegis.workflow.reading import workflow

MAX_PLAN = 262_144
MAX_DETAIL = 1024
SOURCE = "plan"
_STATES = {"pending": "waiting", "approved": "approved", "denied": "denied", "expired": "expired", "used": "passed"}


class PlanBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/plans`: the definition as text (YAML or JSON) or as JSON, and the input of its run."""

    plan: Annotated[str, Meta(min_length=1, max_length=MAX_PLAN)] | dict[str, Any]
    input: dict[str, Any] | None = None
    parent_agent_id: str = ""
    parent_request_id: str = ""
    txn: str = ""
    task: str = ""


class FindingView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a gate has to say, at `place` in the plan: `plan:line:column`."""

    gate: str
    code: str
    level: Literal["refuse", "person", "note"]
    text: str
    step: str = ""
    place: str = ""


class FactorView(Struct, frozen=True, kw_only=True):
    """One line of the risk's sum."""

    name: str
    count: int
    weight: int
    subtotal: int


class CostView(Struct, frozen=True, kw_only=True):
    """What the plan needs at least and at most."""

    calls: tuple[int, int]
    tokens: tuple[int, int]
    micros: tuple[int, int]


class PlanView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a plan stands. `run` is there once its run was begun; findings and factors when it was just decided."""

    plan_id: str
    state: Literal["refused", "waiting", "approved", "denied", "expired", "passed", "started"]
    name: str
    version: str
    digest: str
    agent_id: str
    request_id: str
    submitted_at: str
    risk: int
    report: str
    run: str = ""
    approval_id: str = ""
    found: tuple[str, ...] = ()
    findings: tuple[FindingView, ...] = ()
    factors: tuple[FactorView, ...] = ()
    cost: CostView | None = None


TYPES = (PlanBody, PlanView, FindingView, FactorView, CostView)


async def submit(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/plans`."""
    who = agent(caller)
    asked = shaped(gateway, body, PlanBody)
    caller.agrees(asked.parent_agent_id, asked.parent_request_id, asked.txn, asked.task)
    key = exchange.request.headers.get("idempotency-key", "")
    if not 0 < len(key) <= 128 or not all(" " < char <= "~" for char in key):
        raise http.refuse("malformed", "header `idempotency-key`: expected 1 to 128 visible ASCII characters; it starts one run")
    exchange.tool = TOOL
    text, plan = _read(asked.plan)
    told = await gateway.app.plans.submit(
        Submitted(
            who=who, text=text, plan=plan, input=asked.input or {}, key=key, request_id=exchange.request_id, trace=exchange.trace
        )
    )
    exchange.request_id = told.request_id if told.decision is None else exchange.request_id
    return _answered(gateway, exchange, told)


async def shown(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`GET /v1/plans/{plan_id}`."""
    told = await gateway.app.plans.find(caller.tenant, parts[0])
    if told is None or (caller.agent is not None and told.row.agent_id != caller.agent.agent_id):
        raise http.refuse("not-found")
    return OK, view(told)


def view(told: Told) -> PlanView:
    """A plan as its submitter and people may see it: nothing of its text, nothing of its input."""
    row, report = told.row, told.report
    return PlanView(
        plan_id=row.plan_id, state=_state(told), name=row.name, version=row.version, digest=row.digest, agent_id=row.agent_id,
        request_id=row.request_id, submitted_at=instant(row.at), risk=row.risk, report=row.report, run=told.run,
        approval_id=row.approval_id, found=row.findings,
        findings=tuple(
            FindingView(gate=each.gate, code=each.code, level=each.level, text=each.text, step=each.step, place=each.place)
            for each in (report.findings if report else ())
        ),
        factors=tuple(
            FactorView(name=each.name, count=each.count, weight=each.weight, subtotal=each.subtotal)
            for each in (report.factors if report else ())
            if each.count
        ),
        cost=_cost(report.cost) if report else None,
    )  # fmt: skip


def _read(plan: str | dict[str, Any]) -> tuple[str, Workflow]:
    """The text of a plan and what it means."""
    text = plan if isinstance(plan, str) else msgspec.json.encode(plan).decode()
    if len(text) > MAX_PLAN:
        raise http.refuse("too-large", f"a plan has at most {MAX_PLAN} characters", field="/plan")
    try:
        return text, workflow(parse(text, source=SOURCE))
    except AegisError as error:
        raise http.refuse("malformed", text_of(str(error), MAX_DETAIL), field="/plan") from None


def _state(told: Told) -> Any:
    if told.run:
        return "started"
    if told.row.state == "waiting" and told.approval is not None:
        return _STATES[str(told.approval.state)]
    return told.row.state


def _cost(cost: Cost) -> CostView:
    return CostView(
        calls=(cost.least.calls, cost.most.calls),
        tokens=(cost.least.tokens, cost.most.tokens),
        micros=(cost.least.micros, cost.most.micros),
    )


def _answered(gateway: Any, exchange: Any, told: Told) -> tuple[int, Any]:
    decision = told.decision
    exchange.outcome = str(decision.outcome) if decision else str(Outcome.ALLOW)
    exchange.rules = decision.rules if decision else ()
    if told.taken:
        raise http.refuse("request-id-reused", "the request id stands for another request already")
    if decision is None or decision.permits:
        return OK, view(told)
    kind = Kind.DENIED if decision.outcome is Outcome.DENY else Kind.HELD
    refused = Answer(
        kind=kind, request_id=told.request_id, tool=TOOL, decision=decision, seq=told.seq, approval=told.approval
    )  # fmt: skip
    found = of_answer(refused, gateway.audit_origin(exchange.tenant))
    return found.status, found


ROUTES: dict[tuple[str, tuple[str, ...]], Any] = {
    ("POST", ("v1", "plans")): submit,
    ("GET", ("v1", "plans", "{plan_id}")): shown,
}
