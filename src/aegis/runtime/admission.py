"""From a proposal to a durable decision: everything up to and including the first commit unit.

The unit holds the decision event, the sealed arguments, the call, the claim of the idempotency key and the use of an approval.
It is built on rows as they were read, and requires that they still stand so: when something has changed meanwhile, the rows
are read again and the decision is made anew.
"""

from time import perf_counter_ns

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.identity.directory import Directory
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Payload, Put, Require, Row, Unit
from aegis.model.approval import Approval, ApprovalState, Refused, use
from aegis.model.approval import at as standing
from aegis.model.call import Call, CallState, Claim, ClaimState
from aegis.model.contract import Contract
from aegis.model.decision import Decision, Outcome, Reason, Stage
from aegis.model.event import Event
from aegis.model.facts import Facts, ParentCall
from aegis.model.proposal import Proposal, canon_arguments, request_hash
from aegis.policy.decide import decide
from aegis.policy.redaction import redact
from aegis.runtime import ids, record
from aegis.runtime.approvals import new_approval, put_approval, reachable
from aegis.runtime.ask import Answer, Ask, Kind
from aegis.runtime.clock import Clock
from aegis.runtime.halts import Halts
from aegis.runtime.known import APPROVAL, CALL, CLAIM, Known, Ref, claim_ref
from aegis.runtime.recovery import Recovery
from aegis.runtime.repeats import Repeats, outgoing
from aegis.runtime.tenant import Tenant
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault

ATTEMPTS = 8


class Permit(Struct, frozen=True, kw_only=True):
    """A durable allow: what is to be done, under which rows, and which obligations bind the result."""

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


class Admission:
    """Decides and records. One for each process; it holds no state of its own."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, recovery: Recovery, halts: Halts, instance: str) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._repeats = Repeats(store, vault, clock, recovery)
        self._halts = halts
        self._instance = instance

    async def admit(self, tenant: Tenant, ask: Ask, *, execute: bool) -> Permit | Answer:
        """A durable permit, or the answer that ends the call here.

        `execute` is false for a caller that enforces by itself and reports the outcome.
        """
        started = perf_counter_ns()
        proposal, contract = self._proposal(tenant, ask)
        trace = Trace.continued(ask.traceparent)
        known = Known()
        parent = proposal.principal.parent
        if proposal.principal.delegated and parent is not None:
            await known.read(self._store, tenant.name, [(CALL, parent.request_id)])
        for _ in range(ATTEMPTS):
            decision, approval = self._decide(tenant, proposal, contract, known)
            missing = self._unread(decision, proposal, known)
            if missing:
                await known.read(self._store, tenant.name, missing)
                continue
            answer = await self._repeats.answer(tenant, proposal, decision, known, execute=execute)
            if answer is None:
                if self._repeats.taken(proposal, known):
                    proposal = replace(proposal, request_id=ids.new("req", self._clock.now()))
                    continue
                admitted = await self._commit(tenant, ask, proposal, contract, decision, approval, known, trace, started, execute)
                if admitted is not None:
                    return admitted
            elif answer.kind is not Kind.BUSY:
                return answer
            refs = {*known.rows, (CALL, proposal.request_id), (APPROVAL, proposal.request_hash), *claim_ref(proposal)}
            await known.read(self._store, tenant.name, sorted(refs))
        return Answer(kind=Kind.BUSY, request_id=proposal.request_id, tool=proposal.tool, reason="contended")

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

    def _decide(
        self, tenant: Tenant, proposal: Proposal, contract: Contract | None, known: Known
    ) -> tuple[Decision, Approval | None]:
        approval = _approval(known, proposal, tenant.directory)
        parent = proposal.principal.parent
        halted, safe_mode = self._halts.of(proposal)
        facts = Facts(
            now=self._clock.now(),
            environment=tenant.environment,
            parent=_parent(known.rows.get((CALL, parent.request_id))) if parent else None,
            approval=approval,
            halted=halted,
            safe_mode=safe_mode,
            stale=self._stale(),
        )
        decision = decide(proposal, facts, tenant.guards, policy=tenant.policy)
        if decision.outcome is Outcome.SANITIZE and contract is not None:
            decision = _still_fits(tenant, proposal, contract, decision)
        if decision.outcome is Outcome.APPROVAL_NEEDED and not reachable(decision.terms, tenant.directory, proposal.principal):
            decision = _refused(decision, "approval#nobody", "nobody in the directory could approve this request")
        return decision, approval

    def _stale(self) -> frozenset[str]:
        """Readings that cannot be trusted now: any of them makes every decision deny."""
        return frozenset(name for name, bad in (("clock", not self._clock.trusted), ("halts", self._halts.stale)) if bad)

    @staticmethod
    def _unread(decision: Decision, proposal: Proposal, known: Known) -> list[Ref]:
        """Rows that this decision turns on and that were not read yet."""
        if decision.outcome is not Outcome.APPROVAL_NEEDED:
            return []
        wanted = [(APPROVAL, proposal.request_hash), (CALL, proposal.request_id), *claim_ref(proposal)]
        return [ref for ref in wanted if ref not in known.rows]

    async def _commit(
        self,
        tenant: Tenant,
        ask: Ask,
        proposal: Proposal,
        contract: Contract | None,
        decision: Decision,
        approval: Approval | None,
        known: Known,
        trace: Trace,
        started: int,
        execute: bool,
    ) -> Permit | Answer | None:
        """Commit unit 1; `None` when something changed and the decision must be made anew."""
        now = self._clock.now()
        version = known.version((CALL, proposal.request_id))
        event_id = f"decision:{proposal.request_id}:{version}"
        held = self._hold(tenant, proposal, decision, approval) if decision.outcome is Outcome.APPROVAL_NEEDED else None
        if held is not None:
            decision = replace(decision, approval_id=held.approval_id)
        if ask.override_hash and decision.permits and ask.override_hash != proposal.request_hash:
            decision = _refused(decision, "approval#override", "the override token is for another request")
        sealed = await self._seal_arguments(tenant, proposal, event_id, decision)
        call = _call(proposal, decision, contract, event_id, now, self._instance if execute else "", execute=execute)
        event = record.decision(
            proposal,
            decision,
            event_id=event_id,
            now=now,
            instance=self._instance,
            door=ask.door,
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            latency_us=(perf_counter_ns() - started) // 1000,
            sealed=sealed,
            effect=contract.effect if contract else "",
        )
        built = self._unit(tenant, proposal, decision, call, event, sealed, held, approval, known)
        if built is None:
            return None
        unit, claim = built
        receipt = await self._store.commit(unit)
        if not isinstance(receipt, Committed):
            return None
        seq = receipt.events[0].seq
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
        )

    def _unit(
        self,
        tenant: Tenant,
        proposal: Proposal,
        decision: Decision,
        call: Call,
        event: Event,
        sealed: Payload | None,
        held: Approval | None,
        approval: Approval | None,
        known: Known,
    ) -> tuple[Unit, Claim | None] | None:
        call_ref = (CALL, proposal.request_id)
        requires = [Require(kind=CALL, id=proposal.request_id, version=known.version(call_ref))]
        writes = [_put(CALL, proposal.request_id, call, state=call.state, lookup=call.agent_id)]
        events = [event]
        approval_ref = (APPROVAL, proposal.request_hash)
        claim = None
        if held is not None and held is not approval:
            requires.append(Require(kind=APPROVAL, id=approval_ref[1], version=known.version(approval_ref)))
            writes.append(put_approval(held))
        if decision.permits:
            if proposal.principal.parent is not None:
                parent = proposal.principal.parent.request_id
                requires.append(Require(kind=CALL, id=parent, version=known.version((CALL, parent))))
            if approval is None:
                # No approval or refusal of this request was read: if there is one after all, the decision is made anew on it.
                requires.append(Require(kind=APPROVAL, id=approval_ref[1], version=0))
            elif decision.approval_id != approval.approval_id:
                requires.append(Require(kind=APPROVAL, id=approval_ref[1], version=known.version(approval_ref)))
            else:
                used = use(approval, proposal.request_hash, proposal.request_id, event.time)
                if isinstance(used, Refused):
                    return None  # it ended between the decision and this moment
                requires.append(Require(kind=APPROVAL, id=approval_ref[1], version=known.version(approval_ref)))
                writes.append(put_approval(used))
                events.append(
                    record.approval_used(
                        used, event_id=f"override_used:{used.approval_id}", now=event.time, request_id=proposal.request_id
                    )
                )
            for ref in claim_ref(proposal):
                claim = Claim(
                    request_hash=proposal.request_hash,
                    request_id=proposal.request_id,
                    state=ClaimState.IN_FLIGHT,
                    instance=call.instance,
                    broken=_broken(known.rows.get(ref)),
                )
                requires.append(Require(kind=CLAIM, id=ref[1], version=known.version(ref)))
                writes.append(_put(CLAIM, ref[1], claim, state=claim.state, lookup=proposal.request_id))
        unit = Unit(
            tenant=tenant.name,
            events=tuple(events),
            payloads=(sealed,) if sealed else (),
            requires=tuple(requires),
            writes=tuple(writes),
        )
        return unit, claim

    def _hold(self, tenant: Tenant, proposal: Proposal, decision: Decision, approval: Approval | None) -> Approval:
        """The approval that waits for this request: the one that is there if it still asks for the same, else a new one."""
        now = self._clock.now()
        fresh = new_approval(proposal, decision, tenant.name, ids.new("apr", now), now)
        if approval is None or standing(approval, now).state is not ApprovalState.PENDING:
            return fresh
        same = (approval.approver_sets, approval.quorum, approval.not_requester)
        return approval if same == (fresh.approver_sets, fresh.quorum, fresh.not_requester) else fresh

    async def _seal_arguments(self, tenant: Tenant, proposal: Proposal, event_id: str, decision: Decision) -> Payload | None:
        """Arguments are kept, sealed, for the approver, for explanation and for replay; what broke its contract is not."""
        if any("#" in rule and not rule.startswith("approval#") for rule in decision.rules):
            return None
        return await self._vault.seal(tenant.name, event_id, "arguments", canon_arguments(proposal.arguments))


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


def _approval(known: Known, proposal: Proposal, directory: Directory) -> Approval | None:
    """The approval of this request as today's directory sees it: who is gone or disabled has said nothing, roles are today's."""
    row = known.rows.get((APPROVAL, proposal.request_hash))
    if row is None:
        return None
    approval = msgspec.json.decode(row.body, type=Approval)
    people = directory.people
    counted = tuple(
        replace(said, roles=people[said.person].roles)
        for said in approval.answers
        if said.person in people and people[said.person].enabled
    )
    return replace(approval, answers=counted)


def _broken(row: Row | None) -> bool:
    """Whether an earlier attempt under this key broke off."""
    return row is not None and msgspec.json.decode(row.body, type=Claim).broken


def _parent(row: Row | None) -> ParentCall | None:
    if row is None:
        return None
    call = msgspec.json.decode(row.body, type=Call)
    return ParentCall(request_id=call.request_id, agent_id=call.agent_id, state=call.state, version=row.version)


def _call(
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
    )


def _put(kind: str, row_id: str, value: Struct, *, state: str, lookup: str) -> Put:
    return Put(kind=kind, id=row_id, body=msgspec.json.encode(value), state=str(state), lookup=lookup)
