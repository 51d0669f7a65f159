"""A plan that an agent thought up: read as strictly as anybody's, held against the gates, decided, and begun at most once.

A submission is a proposal like any other. The gates are one guard more: what they refuse is denied, what they want a person for is
held, and the rest may start. The decision is the event `plan_submitted`, with the digest of the plan, that of the report, and every
factor of its risk; plan and input lie sealed beside it. The request's hash is over tenant, plan, input, submitter, its chain and
key, so an approval is for exactly this plan: who changes a word of it asks anew. An approver is shown what the gates found; if they
find something else by the time that the plan comes back, the answer does not count for it.

The run is begun after the decision is durable, under a key that follows from the request's hash. Whoever dies in between, the same
submission begins it, and never twice.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from time import perf_counter_ns
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.crypto.canonical import canon
from aegis.crypto.digest import sha256
from aegis.errors import AegisError, StoreBusyError
from aegis.identity.chain import ChainGuard
from aegis.journal.unit import Committed, Payload, Put, Require, Row, Unit
from aegis.model.approval import Approval, ApprovalState
from aegis.model.approval import at as standing
from aegis.model.call import AGAIN, Call, CallState
from aegis.model.datasubject import key_name
from aegis.model.decision import ApprovalTerms, Decision, Outcome, Reason, Verdict
from aegis.model.document import parse
from aegis.model.event import Event
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal, canon_arguments
from aegis.model.workflow_contract import WorkflowContract
from aegis.policy.decide import decide
from aegis.policy.guards import HaltedGuard
from aegis.policy.readings import ReadingsGuard, RefusalGuard
from aegis.runtime import ids, record
from aegis.runtime.approvals import new_approval, reachable
from aegis.runtime.enforce import Gate
from aegis.runtime.facts import FactSource, Gathered
from aegis.runtime.first_unit import Decided, first_unit
from aegis.runtime.known import APPROVAL, CALL, Known
from aegis.runtime.runs.flow import Starter
from aegis.runtime.runs.starting import Start
from aegis.runtime.spanning import decision_span
from aegis.runtime.tenant import Tenant
from aegis.runtime.trace import Trace
from aegis.workflow.gates import Finding, GateReport, Gates, Scene, judge
from aegis.workflow.gates.report import Verdict as Said
from aegis.workflow.graph import Workflow

TOOL = "aegis.plan"
KIND = "plan_submitted"
ROW = "plan"
RULE = "gates"
EFFECT = "write"
ATTEMPTS = 8
MAX_TOLD = 24
_HASH = b"aegis-plan-v1\0"
PlanState = Literal["refused", "waiting", "passed"]
_STATES: Mapping[Outcome, PlanState] = {Outcome.DENY: "refused", Outcome.APPROVAL_NEEDED: "waiting"}


class Submitted(Struct, frozen=True, kw_only=True):
    """What an agent submits: the document, what it means, the input of the run, and the key under which it is begun once."""

    who: Principal
    text: str
    plan: Workflow
    input: Any
    key: str
    request_id: str = ""
    trace: Trace
    door: str = "http"


class PlanRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a plan beside the journal: no text, no input. `start` is the key under which its run is begun."""

    plan_id: str
    agent_id: str
    name: str
    version: str
    digest: str
    state: PlanState
    verdict: Said
    report: str
    risk: int
    request_id: str
    start: str
    at: datetime
    approval_id: str = ""
    findings: tuple[str, ...] = ()


class Told(Struct, frozen=True, kw_only=True):
    """What became of a submission. `decision` is `None` when it was decided before; `report` likewise.

    `taken`: the request id stands for another request.
    """

    row: PlanRow
    request_id: str
    decision: Decision | None = None
    report: GateReport | None = None
    approval: Approval | None = None
    run: str = ""
    seq: int = -1
    taken: bool = False


class Beginning(Protocol):
    """Begins runs (`runtime.runs.starting`)."""

    async def begin(self, start: Start) -> str:
        """The run of this start, begun now or the first time that it was asked for."""

    async def known(self, tenant: str, key: str) -> str:
        """The run that was started under this key; empty when there is none."""


class Study(Protocol):
    """What the host knows about plans."""

    def gates(self, tenant: str) -> Gates:
        """How the tenant weighs plans; raises an `AegisError` when that cannot be read."""

    def faults(self, tenant: Tenant, plan: Workflow, given: Any) -> tuple[Finding, ...]:
        """What is wrong with the plan as a workflow of this tenant, and with the input of its run."""


class GatesGuard:
    """The report of all gates as verdicts: one for each finding, up to a bound."""

    name = RULE

    def __init__(self, report: GateReport, terms: ApprovalTerms) -> None:
        self._report = report
        self._terms = terms

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """Allow, and what stands against it."""
        verdict = self._report.verdict
        allowed = Verdict(guard=self.name, effect=Outcome.ALLOW, rule=RULE)
        if verdict == "pass":
            return (allowed,)
        found = [each for each in self._report.findings if each.level == verdict][:MAX_TOLD]
        return (allowed, *(self._said(each, refused=verdict == "refuse") for each in found))

    def _said(self, found: Finding, *, refused: bool) -> Verdict:
        return Verdict(
            guard=self.name,
            effect=Outcome.DENY if refused else Outcome.APPROVAL_NEEDED,
            rule=f"{RULE}.{found.gate}.{found.code}",
            reason=found.text,
            field=f"steps.{found.step}" if found.step else "",
            terms=None if refused else self._terms,
        )


class Submissions:
    """Takes plans of agents. One for each process; it holds no state of its own."""

    def __init__(self, gate: Gate, beginning: Beginning, study: Study) -> None:
        self._gate = gate
        self._store, self._vault, self._clock = gate.store, gate.vault, gate.clock
        self._facts = FactSource(gate.store, gate.clock, gate.halts)
        self._beginning = beginning
        self._study = study

    async def submit(self, asked: Submitted) -> Told:
        """What became of the plan; its run is under way when that is `passed`."""
        tenant = self._gate.tenant(asked.who.tenant)
        made = hash_of(asked)
        for _ in range(ATTEMPTS):
            row = await self.row(tenant.name, plan_id(made))
            if row is not None and _read(row).state == "passed":
                kept = _read(row)
                return Told(row=kept, request_id=kept.request_id, run=await self._begun(tenant, asked, kept))
            told = await self._decided(tenant, asked, made, row.version if row else 0)
            if told is not None:
                begins = told.row.state == "passed" and not told.taken
                return replace(told, run=await self._begun(tenant, asked, told.row)) if begins else told
        raise StoreBusyError("what this plan stands on keeps changing: try again")

    async def row(self, tenant: str, plan: str) -> Row | None:
        """What is kept of a plan."""
        return (await self._store.rows(tenant, [(ROW, plan)])).get((ROW, plan))

    async def find(self, tenant: str, plan: str) -> Told | None:
        """Where a plan stands, with its approval and its run."""
        row = await self.row(tenant, plan)
        if row is None:
            return None
        kept = _read(row)
        approval = await self._gate.desk.find(tenant, kept.approval_id) if kept.approval_id else None
        run = await self._beginning.known(tenant, kept.start)
        return Told(row=kept, request_id=kept.request_id, approval=approval[0] if approval else None, run=run)

    async def weigh(self, tenant: Tenant, plan: Workflow, given: Any, who: Principal | None = None) -> tuple[GateReport, Gates]:
        """What the gates say now of a plan that `who` thought up, and by which weights; nothing is recorded.

        A document of gates that cannot be read refuses every plan.
        """
        try:
            gates = await asyncio.to_thread(self._study.gates, tenant.name)
            faults = await asyncio.to_thread(self._study.faults, tenant, plan, given)
        except AegisError:
            gates, faults = Gates(tenant=tenant.name), (_blind(),)
        scene = Scene(
            directory=tenant.directory,
            contracts=tenant.contracts,
            policy=tenant.enforced.policy if tenant.enforced else None,
            tenant_data=tenant.enforced.data if tenant.enforced else {},
            gates=gates,
            environment=tenant.environment,
            halted=self._halted(tenant.name),
            input=given,
            proposer=who,
            signed=_vouched(tenant, plan),
        )
        report = await asyncio.to_thread(judge, plan, scene, also=faults)  # a large plan takes a while, and others wait
        return report, gates

    def _halted(self, tenant: str) -> dict[str, str] | None:
        halts = self._gate.halts
        if halts.stale:
            return None
        return {each.what: each.told for each in halts.listed() if each.tenant == tenant and each.mode == "halt"}

    async def _decided(self, tenant: Tenant, asked: Submitted, made: str, version: int) -> Told | None:
        """Decide and record; `None` when something changed meanwhile."""
        started, now = perf_counter_ns(), self._clock.now()
        report, gates = await self.weigh(tenant, asked.plan, asked.input, asked.who)
        proposal = _proposal(tenant, asked, made, report, asked.request_id or ids.new("req", now))
        known = Known()
        await known.read(self._store, tenant.name, [(CALL, proposal.request_id), (APPROVAL, made)])
        gathered = await self._facts.gather(tenant, proposal, known)
        facts = _shown(gathered.facts, report)
        terms = ApprovalTerms(approver_sets=gates.approvers.sets, quorum=gates.approvers.quorum, ttl=gates.approvers.expires)
        guards = (ReadingsGuard(), HaltedGuard({TOOL: EFFECT}), ChainGuard(), RefusalGuard(), GatesGuard(report, terms))
        decision = _answerable(tenant, proposal, decide(proposal, facts, guards))
        if _taken(known, proposal):
            row = _kept(asked, proposal, report, decision, now, "")
            return Told(row=row, request_id=proposal.request_id, decision=decision, report=report, taken=True)
        seen = facts.approval
        return await self._recorded(tenant, asked, proposal, decision, report, gathered, seen, known, version, started)

    async def _recorded(
        self,
        tenant: Tenant,
        asked: Submitted,
        proposal: Proposal,
        decision: Decision,
        report: GateReport,
        gathered: Gathered,
        seen: Approval | None,
        known: Known,
        version: int,
        started: int,
    ) -> Told | None:
        now, trace = self._clock.now(), asked.trace.child()
        event_id = f"decision:{proposal.request_id}:{known.version((CALL, proposal.request_id))}"
        held = _held(tenant, proposal, decision, report, seen, now, trace)
        decision = replace(decision, approval_id=held.approval_id) if held is not None else decision
        whose = key_name(tenant.redaction_key, asked.who.subject)
        sealed = await self._vault.seal(tenant.name, event_id, "arguments", canon_arguments(proposal.arguments), whose)
        latency_us = (perf_counter_ns() - started) // 1000
        event = record.decision(
            proposal, decision, event_id=event_id, now=now, instance=self._gate.instance, door=asked.door, trace_id=trace.trace_id,
            span_id=trace.span_id, parent_span_id=trace.parent_id, latency_us=latency_us, sealed=sealed, effect=EFFECT,
            facts=gathered.facts, kind=KIND,
        )  # fmt: skip
        row = _kept(asked, proposal, report, decision, now, decision.approval_id)
        event = replace(event, data=event.data | _told(asked.plan, row, report))
        unit = _unit(tenant, proposal, decision, event, sealed, held, known, gathered, row, version, whose, trace)
        receipt = await self._store.commit(unit) if unit is not None else None
        if not isinstance(receipt, Committed):
            if receipt is not None:
                self._vault.refused(tenant.name, receipt)
            return None
        self._gate.spans.put(
            decision_span(
                trace, tenant, proposal, decision, now=now, latency_us=latency_us, door=asked.door, event_id=event_id,
                seq=receipt.events[0].seq, approval=seen,
            )
        )  # fmt: skip
        return Told(
            row=row, request_id=proposal.request_id, decision=decision, report=report, approval=held, seq=receipt.events[0].seq
        )

    async def _begun(self, tenant: Tenant, asked: Submitted, row: PlanRow) -> str:
        who = asked.who
        return await self._beginning.begin(
            Start(
                tenant=tenant.name,
                workflow=asked.plan,
                text=asked.text,
                input=asked.input,
                key=row.start,
                starter=Starter(agent_id=who.agent_id, subject=who.subject, chain=tuple(link.agent_id for link in who.chain)),
                request_id=row.request_id,
                sealed_for=key_name(tenant.redaction_key, who.subject),
                traceparent=asked.trace.above,
                plan=asked.plan.digest,
            )
        )


def hash_of(asked: Submitted) -> str:
    """Digest of everything that makes two submissions the same."""
    who = asked.who
    head = {
        "tenant": who.tenant,
        "agent_id": who.agent_id,
        "subject": who.subject,
        "chain": [link.agent_id for link in who.chain],
        "txn": who.txn,
        "task": who.task,
        "plan": asked.plan.digest,
        "idempotency_key": asked.key,
    }
    return sha256(_HASH, canon(head), b"\0", canon_arguments({"input": asked.input}))


def plan_id(made: str) -> str:
    """The id of the submission with this hash."""
    return f"plan_{made.removeprefix('sha256:')}"


def words(report: GateReport) -> tuple[str, ...]:
    """What an approver is shown of the findings that want a person, as far as there is room."""
    found = [each for each in report.findings if each.level == "person"]
    told = [f"{each.gate}.{each.code}{f' at {each.step}' if each.step else ''}: {each.text}" for each in found]
    rest = [f"and {len(told) - MAX_TOLD} more: {sha256(canon(told))}"] if len(told) > MAX_TOLD else []
    return tuple(record.text(each) for each in (*told[:MAX_TOLD], *rest))


def _proposal(tenant: Tenant, asked: Submitted, made: str, report: GateReport, request_id: str) -> Proposal:
    """The submission as a proposal. An approver is shown what the plan means: no comment of its author can speak to them."""
    arguments = {
        "plan": parse(asked.text, source="plan").value,
        "input": asked.input,
        "findings": msgspec.to_builtins(report.findings),
        "factors": [msgspec.to_builtins(each) for each in report.factors if each.count],
        "risk": report.risk,
    }
    return Proposal(
        principal=asked.who,
        tool=TOOL,
        arguments=arguments,
        tool_version=asked.plan.version,
        environment=tenant.environment,
        request_id=request_id,
        request_hash=made,
    )


def _shown(facts: Facts, report: GateReport) -> Facts:
    """The facts without an approval whose approvers saw other findings than these; a refusal stands."""
    held = facts.approval
    if held is None or held.state is ApprovalState.DENIED or held.findings == words(report):
        return facts
    return replace(facts, approval=None)


def _answerable(tenant: Tenant, proposal: Proposal, decision: Decision) -> Decision:
    if decision.outcome is not Outcome.APPROVAL_NEEDED or reachable(decision.terms, tenant.directory, proposal.principal):
        return decision
    rule, why = "approval#nobody", "nobody in the directory could approve this plan: `approvers` of `gates.yaml` says who may"
    return replace(
        decision, outcome=Outcome.DENY, rules=(rule,), reasons=(Reason(rule=rule, text=why), *decision.reasons), terms=None
    )


def _taken(known: Known, proposal: Proposal) -> bool:
    """Whether the request id stands for another request, or for one that is not asked again."""
    row = known.rows.get((CALL, proposal.request_id))
    if row is None:
        return False
    call = msgspec.json.decode(row.body, type=Call)
    return call.request_hash != proposal.request_hash or call.state not in AGAIN


def _held(
    tenant: Tenant,
    proposal: Proposal,
    decision: Decision,
    report: GateReport,
    approval: Approval | None,
    now: datetime,
    trace: Trace,
) -> Approval | None:
    """The approval that waits for this plan, if it waits: the one that is there if it still asks for the same, else a new one."""
    if decision.outcome is not Outcome.APPROVAL_NEEDED:
        return None
    fresh = new_approval(proposal, decision, tenant.name, ids.new("apr", now), now)
    if approval is not None and standing(approval, now).state is ApprovalState.PENDING:
        asks = (approval.approver_sets, approval.quorum, approval.not_requester)
        if asks == (fresh.approver_sets, fresh.quorum, fresh.not_requester):
            return approval
    return replace(fresh, traceparent=trace.above, findings=words(report))


def _kept(asked: Submitted, proposal: Proposal, report: GateReport, decision: Decision, now: datetime, approval_id: str) -> PlanRow:
    made = plan_id(proposal.request_hash)
    return PlanRow(
        plan_id=made,
        agent_id=asked.who.agent_id,
        name=asked.plan.name,
        version=asked.plan.version,
        digest=asked.plan.digest,
        state=_STATES.get(decision.outcome, "passed"),
        verdict=report.verdict,
        report=report.digest,
        risk=report.risk,
        request_id=proposal.request_id,
        start=made,
        at=now,
        approval_id=approval_id,
        findings=tuple(f"{each.gate}.{each.code}" for each in report.findings if each.level != "note")[:MAX_TOLD],
    )


def _told(plan: Workflow, row: PlanRow, report: GateReport) -> dict[str, Any]:
    """What the event tells beside the decision: names, digests and numbers, nothing that stood in the plan's arguments."""
    return {
        "plan": {"id": row.plan_id, "name": record.text(plan.name), "version": plan.version, "digest": plan.digest},
        "gates": {"report": row.report, "verdict": row.verdict, "risk": row.risk, "findings": list(row.findings)},
        "factors": [
            {"name": each.name, "count": each.count, "weight": each.weight, "subtotal": each.subtotal}
            for each in report.factors
            if each.count
        ],
    }


def _unit(
    tenant: Tenant,
    proposal: Proposal,
    decision: Decision,
    event: Event,
    sealed: Payload,
    held: Approval | None,
    known: Known,
    gathered: Gathered,
    row: PlanRow,
    version: int,
    whose: str,
    trace: Trace,
) -> Unit | None:
    states = {Outcome.DENY: CallState.DENIED, Outcome.APPROVAL_NEEDED: CallState.HELD}
    call = Call(
        request_id=proposal.request_id,
        agent_id=proposal.principal.agent_id,
        tool=TOOL,
        state=states.get(decision.outcome, CallState.DONE),
        request_hash=proposal.request_hash,
        at=event.time,
        effect=EFFECT,
        approval_id=decision.approval_id,
        decision_event=event.id,
        txn=proposal.principal.txn,
        traceparent=trace.above,
        sealed_for=whose,
    )
    built = first_unit(
        Decided(
            tenant=tenant, proposal=proposal, decision=decision, call=call, event=event, sealed=sealed, held=held, known=known,
            gathered=gathered,
        )
    )  # fmt: skip
    if built is None:
        return None
    kept = Put(kind=ROW, id=row.plan_id, body=msgspec.json.encode(row), state=row.state, lookup=row.agent_id)
    require = Require(kind=ROW, id=row.plan_id, version=version)
    return replace(built[0], writes=(*built[0].writes, kept), requires=(*built[0].requires, require))


def _vouched(tenant: Tenant, plan: Workflow) -> bool:
    """Whether the tenant itself has this very definition."""
    return any(isinstance(each, WorkflowContract) and each.definition == plan.digest for each in tenant.contracts.values())


def _blind() -> Finding:
    return Finding(
        gate="gates", code="blind", level="refuse", text="how this tenant weighs plans cannot be read; its operator is told"
    )


def _read(row: Row) -> PlanRow:
    return msgspec.json.decode(row.body, type=PlanRow)
