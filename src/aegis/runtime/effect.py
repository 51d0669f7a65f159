"""From a durable permit to a durable outcome: the tool is called once, and what came of it is the second commit unit."""

import asyncio
from time import perf_counter_ns
from typing import Any

import msgspec
from msgspec.structs import replace

from aegis.errors import StoreBusyError, StoreError, StoreHaltedError, StoreUncertainError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Payload, Put, Receipt, Require, Unit
from aegis.model.call import CallState
from aegis.model.decision import Stage
from aegis.model.history import Phase, Settle
from aegis.model.message import MessageContract
from aegis.model.proposal import canon_arguments
from aegis.policy.redaction import redact
from aegis.runtime import record, resources
from aegis.runtime.admission import Permit
from aegis.runtime.ask import Answer, Kind
from aegis.runtime.clock import Clock
from aegis.runtime.ending import Ending, Seen, ending
from aegis.runtime.recovery import Recovery
from aegis.runtime.spanning import upstream_span
from aegis.runtime.spans import Spans
from aegis.runtime.tool import Reading, Tool, upstream_key
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault

TOO_LATE = "too_late"
PAUSES = (0.05, 0.2, 0.5, 1.0)
SEALINGS = 8
"""How often a result is sealed anew because its key was destroyed in between."""


class Effect:
    """Carries out permits. One for each process; it holds no state of its own."""

    def __init__(
        self, store: Store, vault: Vault, clock: Clock, tool: Tool, recovery: Recovery, spans: Spans, instance: str
    ) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._tool = tool
        self._recovery = recovery
        self._spans = spans
        self._instance = instance

    async def carry_out(self, permit: Permit) -> Answer:
        """Call the tool and record what came of it; the answer is given only when that is durable."""
        started = perf_counter_ns()
        proposal, contract = permit.proposal, permit.contract
        key = proposal.idempotency_key
        outward = upstream_key(permit.tenant.name, proposal.principal.agent_id, key) if key else ""
        trace = permit.trace.beside()
        reading = (
            Reading(seen=Seen.UNSENT, reason=TOO_LATE)
            if self._late(permit)
            else await self._tool.perform(contract, permit.arguments, outward, proposal.request_id, trace)
        )
        end = ending(reading.seen, contract.effect, contract.interrupt)
        if permit.claim is not None and permit.claim.broken and end.kind is Kind.FAILED:
            # This attempt had no effect, but an earlier one under this key may have had.
            end = replace(end, kind=Kind.INTERRUPTED, phase=Phase.UNKNOWN)
        result: Any = None
        redacted: tuple[str, ...] = ()
        if reading.seen is Seen.FITTING:
            result, redacted = redact(reading.result, permit.decision.redactions, Stage.RESPONSE, permit.tenant.redaction_key)
        answer = Answer(
            kind=end.kind,
            request_id=proposal.request_id,
            tool=proposal.tool,
            decision=permit.decision,
            result=result,
            reason=reading.reason,
            upstream_status=reading.status,
            seq=permit.seq,
        )
        duration = (perf_counter_ns() - started) // 1000
        self._put(permit, trace, reading, end, duration)
        recorded = await self._record(permit, trace, reading, end, result, redacted, duration)
        if not recorded:
            return replace(answer, kind=Kind.UNKNOWN, result=None, reason="settled_elsewhere")
        return await self._asked(permit, answer) if end.ask else answer

    def _late(self, permit: Permit) -> bool:
        """Whether the process stood still after the decision.

        A write that began now could meet the next one to its resource. Or this process dies after all, the tool is asked about it,
        knows nothing of it yet, and is believed (`Recovery.settle`).
        """
        since = [permit.call.at] if permit.contract.interrupt == "ask" else []
        since += [permit.holder.at] if permit.holder is not None else []
        return bool(since) and self._clock.now() > min(since) + permit.contract.settles_after / 2

    async def _asked(self, permit: Permit, answer: Answer) -> Answer:
        """Ask the tool at once what became of an interrupted call; when it cannot say now, the sweep asks again."""
        call = replace(permit.call, instance="")
        state = await self._recovery.settle(permit.tenant, call, permit.call_version + 1)
        if state is CallState.DONE:
            return replace(answer, kind=Kind.INTERRUPTED, reason="done_ask_again")
        if state is CallState.REOPENED:
            return replace(answer, kind=Kind.INTERRUPTED, reason="not_done")
        return answer

    async def _commit(self, unit: Unit) -> Receipt:
        """Commit, trying again for a while when the store says that it may go well later: the effect has happened."""
        for pause in PAUSES:
            try:
                return await self._store.commit(unit)
            except (StoreHaltedError, StoreUncertainError):
                raise
            except StoreError:
                await asyncio.sleep(pause)
        try:
            return await self._store.commit(unit)
        except StoreBusyError as error:
            raise StoreError("the outcome could not be recorded yet") from error  # "busy" would say that nothing was done

    def _put(self, permit: Permit, trace: Trace, reading: Reading, end: Ending, duration_us: int) -> None:
        """Put down the span of the conversation, whether or not its outcome can be recorded."""
        contract = permit.contract
        addressed = contract.copies(str(permit.arguments.get("to", ""))) if isinstance(contract, MessageContract) else ()
        self._spans.put(
            upstream_span(
                trace, contract, permit.proposal, now=self._clock.now(), duration_us=duration_us, result=str(end.kind),
                outcome=_state(end), reason=reading.reason, status=reading.status, event_id=_event_id(permit), to=addressed,
                approval_id=permit.decision.approval_id,
            )
        )  # fmt: skip

    async def _record(
        self, permit: Permit, trace: Trace, reading: Reading, end: Ending, result: Any, redacted: tuple[str, ...], duration_us: int
    ) -> bool:
        """Commit unit 2; false when another process has settled the call meanwhile, whose word then stands."""
        for _ in range(SEALINGS):
            unit = await self._unit(permit, trace, reading, end, result, redacted, duration_us)
            receipt = await self._commit(unit)
            if not self._vault.refused(unit.tenant, receipt):
                break
        if isinstance(receipt, Committed):
            return True
        late = replace_id(unit.events[0], f"late:{unit.events[0].id}")
        await self._store.commit(Unit(tenant=unit.tenant, events=(late,)))
        return False

    async def _unit(
        self, permit: Permit, trace: Trace, reading: Reading, end: Ending, result: Any, redacted: tuple[str, ...], duration_us: int
    ) -> Unit:
        """Commit unit 2, with the result sealed for the data subject of the call."""
        proposal, tenant = permit.proposal, permit.tenant.name
        event_id = _event_id(permit)
        sealed: Payload | None = None
        if reading.seen is Seen.FITTING:
            sealed = await self._vault.seal(tenant, event_id, "result", canon_arguments(result), permit.call.sealed_for)
        event = record.outcome(
            proposal,
            event_id=event_id,
            now=self._clock.now(),
            state=_state(end),
            reason=reading.reason,
            upstream_status=reading.status,
            duration_us=duration_us,
            sealed=sealed,
            redacted=redacted,
            approval_id=permit.decision.approval_id,
            instance=self._instance,
            decision_event=permit.call.decision_event,
            cost_micros=permit.contract.cost_micros,
            traced=trace.told,
        )
        call = replace(
            permit.call,
            state=end.call,
            instance="",
            outcome_event=event_id if sealed else "",
            note="withheld" if end.kind is Kind.WITHHELD else reading.reason,
        )
        requires = [Require(kind="call", id=proposal.request_id, version=permit.call_version)]
        writes = [
            Put(kind="call", id=proposal.request_id, body=msgspec.json.encode(call), state=str(call.state), lookup=call.agent_id)
        ]
        if permit.claim is not None:
            claim = replace(permit.claim, state=end.claim, instance="", broken=permit.claim.broken or reading.seen is Seen.BROKEN)
            requires.append(Require(kind="claim", id=permit.call.claim, version=permit.claim_version))
            writes.append(
                Put(
                    kind="claim",
                    id=permit.call.claim,
                    body=msgspec.json.encode(claim),
                    state=str(claim.state),
                    lookup=proposal.request_id,
                )
            )
        if permit.holder is not None and not end.ask and end.call is not CallState.UNKNOWN:
            broken = reading.seen is Seen.BROKEN
            writes.append(resources.given_back(call.resource, permit.holder, event.time, broken=broken))
        return Unit(
            tenant=tenant,
            events=(event,),
            payloads=(sealed,) if sealed else (),
            requires=tuple(requires),
            writes=tuple(writes),
            settle=(Settle(id=call.remembered, phase=end.phase),) if call.remembered else (),
        )


def _event_id(permit: Permit) -> str:
    return f"outcome:{permit.proposal.request_id}:{permit.call_version}"


def _state(end: Ending) -> str:
    """What the journal says of a call with this ending."""
    return "interrupted" if end.ask else str(end.call)


def replace_id(event: Any, event_id: str) -> Any:
    """The same event as a late outcome: it is recorded, but it moves nothing."""
    return replace(event, id=event_id, type="late_outcome")
