"""A request that came before: what is told instead of doing it again.

Found by its idempotency key, or by its request id. What policy denies now is denied, whatever was recorded: a repetition never
gives out more than a first request would.
"""

from time import perf_counter_ns

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.errors import ErasedError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Row, Unit
from aegis.model.call import AGAIN, Call, CallState, Claim, ClaimState
from aegis.model.decision import Decision, Outcome, Stage
from aegis.model.proposal import Proposal
from aegis.policy.redaction import redact
from aegis.runtime import ids, record
from aegis.runtime.ask import Answer, Kind
from aegis.runtime.clock import Clock
from aegis.runtime.known import CALL, Known, claim_ref
from aegis.runtime.recovery import Recovery
from aegis.runtime.spanning import decision_span
from aegis.runtime.spans import Spans
from aegis.runtime.tenant import Tenant
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault

RUNS = "workflow"
"""The door of the calls that a run makes: each of its steps has one key, whatever a person makes of its arguments."""


class Came(Struct, frozen=True, kw_only=True):
    """How a request came: through which door, as which span, and when its decision began (`perf_counter_ns`)."""

    door: str
    trace: Trace
    started: int


class Repeats:
    """Answers repetitions; each is an event of its own."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, recovery: Recovery, spans: Spans) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._recovery = recovery
        self._spans = spans

    @staticmethod
    def taken(proposal: Proposal, known: Known) -> bool:
        """Whether the request id stands for a call that must not be written over: the decision then takes an id of its own."""
        row = known.rows.get((CALL, proposal.request_id))
        return row is not None and row.state not in AGAIN

    async def answer(
        self, tenant: Tenant, proposal: Proposal, decision: Decision, known: Known, came: Came, *, execute: bool
    ) -> Answer | None:
        """The answer to a request that was seen before, `None` for a new one, `BUSY` when the rows must be read again."""
        call_row = known.rows.get((CALL, proposal.request_id))
        call = msgspec.json.decode(call_row.body, type=Call) if call_row else None
        if call and (call.agent_id, call.request_hash) != (proposal.principal.agent_id, proposal.request_hash):
            return await self._told(tenant, proposal, decision, came, Kind.CONFLICT, "request_id_reused", of="")
        if decision.outcome is Outcome.DENY:
            return None
        if call and call_row and call.state not in AGAIN and not proposal.idempotency_key:
            return await self._seen(tenant, proposal, decision, came, call, call_row, execute=execute)
        return await self._claimed(tenant, proposal, decision, known, came, execute=execute)

    async def _claimed(
        self, tenant: Tenant, proposal: Proposal, decision: Decision, known: Known, came: Came, *, execute: bool
    ) -> Answer | None:
        """What is told about a request whose idempotency key was seen before; `None` when the key is free."""
        refs = claim_ref(proposal)
        claim_row = known.rows.get(refs[0]) if refs else None
        if claim_row is None:
            return None
        claim = msgspec.json.decode(claim_row.body, type=Claim)
        edited = claim.state is ClaimState.REOPENED and came.door == RUNS  # it surely came to nothing, and a person has mended it
        if claim.request_hash != proposal.request_hash and not edited:
            return await self._told(
                tenant, proposal, decision, came, Kind.CONFLICT, "idempotency_payload_differs", of=claim.request_id
            )
        if claim.state is ClaimState.REOPENED:
            return None
        ref = (CALL, claim.request_id)
        owner = (await self._store.rows(tenant.name, [ref])).get(ref)
        if owner is None:
            return await self._told(tenant, proposal, decision, came, Kind.UNKNOWN, "claim_without_call", of=claim.request_id)
        call = msgspec.json.decode(owner.body, type=Call)
        return await self._seen(tenant, proposal, decision, came, call, owner, execute=execute)

    async def _seen(
        self, tenant: Tenant, proposal: Proposal, decision: Decision, came: Came, call: Call, row: Row, *, execute: bool
    ) -> Answer | None:
        """What is told about a request that `call` carries or carried out already; `None` when today a person must look first."""
        of = call.request_id
        ended = call.state in (CallState.DECIDED, CallState.DONE, CallState.FAILED)
        if ended and decision.outcome is Outcome.APPROVAL_NEEDED:
            if not call.approval_id:
                return None
            # The approval was used by the first call: what is told is what came of that, under today's redactions.
            decision = replace(decision, outcome=Outcome.ALLOW, approval_id=call.approval_id)
        if call.state is CallState.EXECUTING:
            if await self._recovery.carried(call):
                return await self._told(tenant, proposal, decision, came, Kind.IN_FLIGHT, "in_flight", of=of)
            if await self._recovery.settle(tenant, call, row.version) is CallState.EXECUTING:
                return await self._told(tenant, proposal, decision, came, Kind.SETTLING, "being_asked", of=of)
        elif call.state is CallState.DECIDED:
            if execute:
                return await self._told(tenant, proposal, decision, came, Kind.IN_FLIGHT, "decided_elsewhere", of=of)
            answer = await self._told(tenant, proposal, decision, came, Kind.DECIDED, "decided", of=of)
            return replace(answer, decision=decision, arguments=outgoing(tenant, proposal, decision))
        elif call.state is CallState.UNKNOWN:
            return await self._told(tenant, proposal, decision, came, Kind.UNKNOWN, "outcome_unknown", of=of)
        elif call.state in (CallState.DONE, CallState.FAILED):
            return await self._replayed(tenant, proposal, decision, came, call)
        return Answer(kind=Kind.BUSY, request_id=proposal.request_id, tool=proposal.tool)

    async def _replayed(self, tenant: Tenant, proposal: Proposal, decision: Decision, came: Came, call: Call) -> Answer:
        """The recorded result, redacted again by the obligations of today."""
        kind = Kind.WITHHELD if call.note == "withheld" else Kind.FAILED if call.state is CallState.FAILED else Kind.DONE
        result = None
        reason = call.note or "replayed"
        if kind is Kind.DONE and call.outcome_event:
            plain, lost = await self._result(tenant, call)
            kind, reason = (Kind.GONE, lost) if plain is None else (kind, reason)
            result = msgspec.json.decode(plain) if plain is not None else None
            result, _ = redact(result, decision.redactions, Stage.RESPONSE, tenant.redaction_key)
        answer = await self._told(tenant, proposal, decision, came, kind, reason, of=call.request_id)
        return replace(answer, decision=decision, result=result, arguments=outgoing(tenant, proposal, decision))

    async def _result(self, tenant: Tenant, call: Call) -> tuple[bytes | None, str]:
        """What the call returned; or nothing, and why: `erased` with the data of its subject, or `not_kept` that long."""
        try:
            return await self._vault.read(tenant.name, call.outcome_event, "result"), "not_kept"
        except ErasedError:
            return None, "erased"

    async def _told(
        self, tenant: Tenant, proposal: Proposal, decision: Decision, came: Came, kind: Kind, reason: str, *, of: str
    ) -> Answer:
        """Record that the request came again and what was said; then say it."""
        now = self._clock.now()
        event_id = f"repeat:{ids.uuid7(now)}"
        event = record.repeat(proposal, event_id=event_id, now=now, of=of, result=reason, traced=came.trace.told)
        receipt = await self._store.commit(Unit(tenant=tenant.name, events=(event,)))
        latency_us = (perf_counter_ns() - came.started) // 1000
        self._spans.put(
            decision_span(
                came.trace, tenant, proposal, decision, now=now, latency_us=latency_us, door=came.door, event_id=event_id,
                seq=receipt.events[0].seq if isinstance(receipt, Committed) else -1, repeated=reason, repeat_of=of,
            )
        )  # fmt: skip
        return Answer(kind=kind, request_id=proposal.request_id, tool=proposal.tool, repeat_of=of, reason=reason)


def outgoing(tenant: Tenant, proposal: Proposal, decision: Decision) -> dict[str, object]:
    """The arguments as they may leave."""
    edited, _ = redact(proposal.arguments, decision.redactions, Stage.REQUEST, tenant.redaction_key)
    return dict(edited)
