"""From a proposal to a durable decision: everything up to and including the first commit unit.

The unit holds the decision event, the sealed arguments, the call, the claim of the idempotency key and the use of an approval.
It is built on rows as they were read, and requires that they still stand so: when something has changed meanwhile, the rows
are read again and the decision is made anew.
"""

from time import perf_counter_ns

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.journal.store import Store
from aegis.journal.unit import Committed, Payload
from aegis.model.approval import Approval, ApprovalState
from aegis.model.approval import at as standing
from aegis.model.call import Call, CallState, Claim
from aegis.model.contract import Contract
from aegis.model.datasubject import key_name, subject_of
from aegis.model.decision import Decision, Outcome, Reason, Stage
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal, canon_arguments, request_hash
from aegis.policy.decide import decide
from aegis.policy.redaction import redact
from aegis.runtime import ids, record, resources
from aegis.runtime.approvals import new_approval, reachable
from aegis.runtime.ask import Answer, Ask, Kind
from aegis.runtime.clock import Clock
from aegis.runtime.facts import FactSource, Gathered
from aegis.runtime.first_unit import Decided, first_unit, remembered
from aegis.runtime.halts import Halts
from aegis.runtime.known import APPROVAL, CALL, Known, Ref, claim_ref
from aegis.runtime.recovery import Recovery
from aegis.runtime.repeats import Came, Repeats, outgoing
from aegis.runtime.resources import Holder, Resources
from aegis.runtime.spanning import decision_span
from aegis.runtime.spans import Spans
from aegis.runtime.tenant import Tenant
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault

ATTEMPTS = 8


class Permit(Struct, frozen=True, kw_only=True):
    """A durable allow: what is to be done, under which rows, and which obligations bind the result.

    `holder` is what the row of its resource holds, if it has taken one.
    """

    proposal: Proposal
    decision: Decision
    contract: Contract
    arguments: dict[str, msgspec.Raw | object]
    call: Call
    call_version: int
    claim: Claim | None
    claim_version: int
    tenant: Tenant
    trace: Trace
    seq: int
    holder: Holder | None = None


class Admission:
    """Decides and records. One for each process; it holds no state of its own."""

    def __init__(
        self, store: Store, vault: Vault, clock: Clock, recovery: Recovery, halts: Halts, spans: Spans, instance: str
    ) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._repeats = Repeats(store, vault, clock, recovery, spans)
        self._spans = spans
        self._facts = FactSource(store, clock, halts)
        self._resources = Resources(store, clock)
        self._instance = instance

    async def admit(self, tenant: Tenant, ask: Ask, *, execute: bool) -> Permit | Answer:
        """A durable permit, or the answer that ends the call here.

        `execute` is false for a caller that enforces by itself and reports the outcome.
        """
        started = perf_counter_ns()
        proposal, contract = self._proposal(tenant, ask)
        trace = Trace.continued(ask.traceparent)
        known = Known()
        attempts, waiting, waited = 0, 0, 0
        while (attempts := attempts + 1) <= ATTEMPTS:
            gathered = await self._facts.gather(tenant, proposal, known)
            decision = decision_of(tenant, proposal, contract, gathered.facts)
            ref = wanted(tenant, proposal, decision, contract)
            missing = self._unread(decision, proposal, known, ref)
            if missing:
                await known.read(self._store, tenant.name, missing)
                continue
            came = Came(door=ask.door, trace=trace, started=started)
            answer = await self._repeats.answer(tenant, proposal, decision, known, came, execute=execute)
            if answer is None:
                if self._repeats.taken(proposal, known):
                    proposal = replace(proposal, request_id=ids.new("req", self._clock.now()))
                    continue
                holder = resources.in_the_way(known, ref, proposal, self._clock.now()) if ref is not None else None
                if ref is not None and holder is not None and contract is not None:
                    waiting = waiting or perf_counter_ns()
                    if not await self._resources.freed(proposal, ref, contract, waiting):
                        return await self._outdone(proposal, ref, contract, holder, perf_counter_ns() - waiting, trace)
                    attempts, waited = 0, perf_counter_ns() - waiting  # time alone bounds how often others may be faster
                else:
                    since = started + waited
                    admitted = await self._commit(
                        tenant, ask, proposal, contract, decision, gathered, known, trace, since, execute, ref
                    )
                    if admitted is not None:
                        return admitted
            elif answer.kind is not Kind.BUSY:
                return answer
            refs = {*known.rows, (CALL, proposal.request_id), (APPROVAL, proposal.request_hash), *claim_ref(proposal)}
            await known.read(self._store, tenant.name, sorted(refs))
        return Answer(kind=Kind.BUSY, request_id=proposal.request_id, tool=proposal.tool, reason="contended")

    async def _outdone(
        self, proposal: Proposal, ref: Ref, contract: Contract, holder: Holder, waited_ns: int, trace: Trace
    ) -> Answer:
        """Another write has the resource, and this one waits no longer."""
        await self._resources.refused(proposal, ref, contract, holder, waited_ns, trace)
        return Answer(
            kind=Kind.BUSY,
            request_id=proposal.request_id,
            tool=proposal.tool,
            reason=resources.reason_of(contract),
            holder=holder,
        )

    def _proposal(self, tenant: Tenant, ask: Ask) -> tuple[Proposal, Contract | None]:
        contract = tenant.contracts.get(ask.tool)
        if contract is not None and ask.version not in ("", contract.version):
            contract = next((c for c in tenant.by_digest.values() if (c.name, c.version) == (ask.tool, ask.version)), contract)
        digest = contract.digest if contract else ""
        return Proposal(
            principal=ask.principal,
            tool=ask.tool,
            arguments=ask.arguments,
            tool_version=ask.version or (contract.version if contract else ""),
            tool_digest=digest,
            environment=tenant.environment,
            idempotency_key=ask.idempotency_key,
            request_id=ask.request_id or ids.new("req", self._clock.now()),
            request_hash=request_hash(ask.principal, ask.tool, digest, ask.arguments, ask.idempotency_key),
        ), contract

    @staticmethod
    def _unread(decision: Decision, proposal: Proposal, known: Known, resource: Ref | None) -> list[Ref]:
        """Rows that this decision turns on and that were not read yet."""
        if decision.outcome is not Outcome.APPROVAL_NEEDED and resource is None:
            return []
        # Before it waits for another's write, a request that came again is told of itself.
        read = [(APPROVAL, proposal.request_hash), (CALL, proposal.request_id), *claim_ref(proposal)]
        return [ref for ref in (*read, *([resource] if resource else [])) if ref not in known.rows]

    async def _commit(
        self,
        tenant: Tenant,
        ask: Ask,
        proposal: Proposal,
        contract: Contract | None,
        decision: Decision,
        gathered: Gathered,
        known: Known,
        trace: Trace,
        started: int,
        execute: bool,
        resource: Ref | None,
    ) -> Permit | Answer | None:
        """Commit unit 1; `None` when something changed and the decision must be made anew."""
        now = self._clock.now()
        version = known.version((CALL, proposal.request_id))
        event_id = f"decision:{proposal.request_id}:{version}"
        approval = gathered.facts.approval
        held = self._hold(tenant, proposal, decision, approval) if decision.outcome is Outcome.APPROVAL_NEEDED else None
        if held is not None:
            held = held if held is approval else replace(held, traceparent=trace.above)
            decision = replace(decision, approval_id=held.approval_id)
        if ask.override_hash and decision.permits and ask.override_hash != proposal.request_hash:
            decision = _refused(decision, "approval#override", "the override token is for another request")
        whose = key_name(tenant.redaction_key, subject_of(proposal.principal, contract, proposal.arguments))
        sealed = await self._seal_arguments(tenant, proposal, event_id, decision, whose)
        call = _call(tenant, proposal, decision, contract, event_id, now, self._instance if execute else "", execute=execute)
        call = replace(call, sealed_for=whose, traceparent=trace.above, resource=resource[1] if resource else "")
        taking = resources.taken(known, resource, proposal, contract, now) if resource and contract else None
        latency_us = (perf_counter_ns() - started) // 1000
        event = record.decision(
            proposal,
            decision,
            event_id=event_id,
            now=now,
            instance=self._instance,
            door=ask.door,
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            parent_span_id=trace.parent_id,
            latency_us=latency_us,
            sealed=sealed,
            effect=contract.effect if contract else "",
            facts=gathered.facts,
            cost_micros=contract.cost_micros if contract else 0,
        )
        built = first_unit(
            Decided(
                tenant=tenant,
                proposal=proposal,
                decision=decision,
                call=call,
                event=event,
                sealed=sealed,
                held=held,
                known=known,
                gathered=gathered,
                cost_micros=contract.cost_micros if contract else 0,
                taking=taking,
            )
        )
        if built is None:
            return None
        unit, claim = built
        receipt = await self._store.commit(unit)
        if not isinstance(receipt, Committed):
            self._vault.refused(tenant.name, receipt)
            return None
        seq = receipt.events[0].seq
        self._spans.put(
            decision_span(
                trace, tenant, proposal, decision, now=now, latency_us=latency_us, door=ask.door, event_id=event_id, seq=seq,
                approval=approval,
            )
        )  # fmt: skip
        base = Answer(
            kind=Kind.DENIED,
            request_id=proposal.request_id,
            tool=proposal.tool,
            decision=decision,
            seq=seq,
            approval=held,
        )
        if decision.outcome is Outcome.APPROVAL_NEEDED:
            return replace(base, kind=Kind.HELD)
        if not decision.permits or contract is None:
            return base
        leaving = outgoing(tenant, proposal, decision)
        if not execute:
            return replace(base, kind=Kind.DECIDED, arguments=leaving)
        return Permit(
            proposal=proposal,
            decision=decision,
            contract=contract,
            arguments=leaving,
            call=call,
            call_version=version + 1,
            claim=claim,
            claim_version=known.version(claim_ref(proposal)[0]) + 1 if claim else 0,
            tenant=tenant,
            trace=trace,
            seq=seq,
            holder=taking,
        )

    def _hold(self, tenant: Tenant, proposal: Proposal, decision: Decision, approval: Approval | None) -> Approval:
        """The approval that waits for this request: the one that is there if it still asks for the same, else a new one."""
        now = self._clock.now()
        fresh = new_approval(proposal, decision, tenant.name, ids.new("apr", now), now)
        if approval is None or standing(approval, now).state is not ApprovalState.PENDING:
            return fresh
        same = (approval.approver_sets, approval.quorum, approval.not_requester)
        return approval if same == (fresh.approver_sets, fresh.quorum, fresh.not_requester) else fresh

    async def _seal_arguments(
        self, tenant: Tenant, proposal: Proposal, event_id: str, decision: Decision, whose: str
    ) -> Payload | None:
        """Arguments are kept, sealed, for the approver, for explanation and for replay; what broke its contract is not."""
        if any("#" in rule and not rule.startswith("approval#") for rule in decision.rules):
            return None
        return await self._vault.seal(tenant.name, event_id, "arguments", canon_arguments(proposal.arguments), whose)


def wanted(tenant: Tenant, proposal: Proposal, decision: Decision, contract: Contract | None) -> Ref | None:
    """The row of the resource that a permitted call must have for itself; `None` when it needs none."""
    if not decision.permits or contract is None or not contract.conflicts:
        return None
    return resources.wanted(tenant.name, tenant.redaction_key, contract, outgoing(tenant, proposal, decision))


def decision_of(tenant: Tenant, proposal: Proposal, contract: Contract | None, facts: Facts) -> Decision:
    """The decision of the tenant's guards, and what only the runtime can add: that it can be carried out at all."""
    decision = decide(proposal, facts, tenant.guards, policy=tenant.policy)
    if decision.outcome is Outcome.SANITIZE and contract is not None:
        decision = _still_fits(tenant, proposal, contract, decision)
    if decision.outcome is Outcome.APPROVAL_NEEDED and not reachable(decision.terms, tenant.directory, proposal.principal):
        decision = _refused(decision, "approval#nobody", "nobody in the directory could approve this request")
    return decision


def _still_fits(tenant: Tenant, proposal: Proposal, contract: Contract, decision: Decision) -> Decision:
    """Deny when redaction would make the arguments break the contract: half a request is never sent."""
    edited, changed = redact(proposal.arguments, decision.redactions, Stage.REQUEST, tenant.redaction_key)
    if changed and contract.check_input(edited):
        return _refused(decision, f"{proposal.tool}#sanitized", "the redacted arguments no longer fit the contract")
    return decision


def _refused(decision: Decision, rule: str, why: str) -> Decision:
    return replace(
        decision,
        outcome=Outcome.DENY,
        rules=(rule,),
        reasons=(Reason(rule=rule, text=why), *decision.reasons),
        redactions=(),
        terms=None,
        approval_id="",
    )


def _call(
    tenant: Tenant,
    proposal: Proposal,
    decision: Decision,
    contract: Contract | None,
    event_id: str,
    now: object,
    instance: str,
    *,
    execute: bool,
) -> Call:
    permitted = CallState.EXECUTING if execute else CallState.DECIDED
    states = {Outcome.DENY: CallState.DENIED, Outcome.APPROVAL_NEEDED: CallState.HELD}
    refs = claim_ref(proposal)
    return Call(
        request_id=proposal.request_id,
        agent_id=proposal.principal.agent_id,
        tool=proposal.tool,
        state=states.get(decision.outcome, permitted),
        request_hash=proposal.request_hash,
        at=now,  # type: ignore[arg-type]
        tool_digest=proposal.tool_digest,
        effect=contract.effect if contract else "",
        instance=instance if decision.permits else "",
        claim=refs[0][1] if refs and decision.permits else "",
        idempotency_key=proposal.idempotency_key,
        approval_id=decision.approval_id,
        decision_event=event_id,
        redactions=decision.redactions if decision.permits else (),
        remembered=remembered(tenant, proposal, decision),
        txn=proposal.principal.txn,
    )
