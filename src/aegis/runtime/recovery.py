"""Calls that their own process could not finish: found, asked about, reopened, or handed to a person.

A call is interrupted when the process that executes it is gone. Reads, and writes to tools that honour our key, are reopened:
the same key may be used again. A tool that can be asked is asked. Everything else is `unknown` until a person has looked; it is
never repeated silently.
"""

import logging
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from aegis.crypto import ijson
from aegis.errors import ErasedError, InputError, SealError, StoreError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Payload, Put, Require, Row, Unit
from aegis.model.call import LEGAL, Call, CallState, Claim, ClaimState
from aegis.model.contract import Contract
from aegis.model.decision import Stage
from aegis.model.history import Phase, Settle
from aegis.model.proposal import canon_arguments
from aegis.policy.redaction import redact
from aegis.runtime import record, resources
from aegis.runtime.clock import Clock
from aegis.runtime.ending import Seen, ending
from aegis.runtime.known import RESOURCE
from aegis.runtime.resources import Holder
from aegis.runtime.running import Running
from aegis.runtime.spanning import settle_span
from aegis.runtime.spans import Spans
from aegis.runtime.tenant import Snapshot, Tenant
from aegis.runtime.tool import Reading, Tool, upstream_key
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault

log = logging.getLogger("aegis.recovery")
CLAIMS = {
    CallState.DONE: ClaimState.FINAL,
    CallState.FAILED: ClaimState.FINAL,
    CallState.UNKNOWN: ClaimState.UNKNOWN,
    CallState.REOPENED: ClaimState.REOPENED,
}


class Recovery:
    """Settles calls after the fact; every settlement is one unit that requires the call to stand as it was read."""

    def __init__(
        self, store: Store, vault: Vault, clock: Clock, tool: Tool, snapshot: Snapshot, running: Running, spans: Spans
    ) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._tool = tool
        self._snapshot = snapshot
        self._running = running
        self._spans = spans

    async def sweep(self) -> int:
        """Settle every interrupted call of every tenant; how many were settled. Safe to run in several processes."""
        settled = 0
        for tenant in self._snapshot:
            after = ""
            while rows := await self._store.find(tenant.name, "call", state=str(CallState.EXECUTING), after=after, limit=200):
                after = rows[-1].id
                for row in rows:
                    settled += await self._swept(tenant, row)
        return settled

    async def _swept(self, tenant: Tenant, row: Row) -> bool:
        """Settle one call if its process is gone. What is wrong with one never keeps the others waiting."""
        try:
            call = msgspec.json.decode(row.body, type=Call)
            if await self.carried(call):
                return False
            return await self.settle(tenant, call, row.version) is not CallState.EXECUTING
        except StoreError:
            raise
        except Exception:
            log.exception("settle", extra={"request_id": row.id, "tenant": tenant.name})
            return False

    async def carried(self, call: Call) -> bool:
        """Whether a living process is carrying the call out right now; for this process its own list is the truth."""
        if call.instance == self._running.instance:
            return call.request_id in self._running
        return bool(call.instance) and await self._store.alive(call.instance)

    async def settle(self, tenant: Tenant, call: Call, version: int) -> CallState:
        """Bring an interrupted call to its next state; `executing` when the tool must be asked and cannot be reached now."""
        contract = tenant.by_digest.get(call.tool_digest)
        interrupt = contract.interrupt if contract else "neither"
        end = ending(Seen.BROKEN, call.effect, interrupt)
        if not end.ask or contract is None:
            return await self._write(tenant.name, call, version, end.call, end.phase, "interrupted", by="recovery")
        try:
            reading = await self._told(tenant, contract, call)
        except ErasedError:  # nobody can ask any more what became of it
            end = ending(Seen.BROKEN, call.effect, "neither")
            return await self._write(tenant.name, call, version, end.call, end.phase, "arguments_erased", by="recovery")
        if reading is None:
            return CallState.EXECUTING
        end = ending(reading.seen, call.effect, interrupt)
        return await self._write(
            tenant.name,
            call,
            version,
            end.call,
            end.phase,
            reading.reason or "told_by_tool",
            by="recovery",
            note="withheld" if reading.seen is Seen.UNFIT else "",
            result=(redact(reading.result, call.redactions, Stage.RESPONSE, tenant.redaction_key)[0],)
            if reading.seen is Seen.FITTING
            else (),
        )

    async def resolve(
        self, tenant: str, request_id: str, *, done: bool, by: str, reason: str, statement: str = "", result: tuple[Any, ...] = ()
    ) -> CallState | None:
        """What a person (or the caller that enforced by itself) found out; `None` when the call does not wait for that.

        A caller's own word settles the call, but history keeps the call as unknown: it must not open what only a success opens, nor
        give back a share of a limit.
        """
        ref = ("call", request_id)
        row = (await self._store.rows(tenant, [ref])).get(ref)
        if row is None:
            return None
        call = msgspec.json.decode(row.body, type=Call)
        state = CallState.DONE if done else CallState.REOPENED
        gone = call.state is CallState.EXECUTING and not await self.carried(call)
        if state not in LEGAL.get(call.state, frozenset()) or (call.state is CallState.EXECUTING and not gone):
            return None
        phase = Phase.UNKNOWN if by == call.agent_id else Phase.SUCCEEDED if done else Phase.FAILED
        return await self._write(tenant, call, row.version, state, phase, reason, by=by, statement=statement, result=result)

    async def _told(self, tenant: Tenant, contract: Contract, call: Call) -> Reading | None:
        try:
            plain = await self._vault.read(tenant.name, call.decision_event, "arguments")
            arguments = ijson.parse(plain, max_size_bytes=len(plain)) if plain is not None else None
        except ErasedError:
            raise
        except (SealError, InputError):
            return None
        if not isinstance(arguments, dict):
            return None
        key = upstream_key(tenant.name, call.agent_id, call.idempotency_key)
        leaving, _ = redact(arguments, call.redactions, Stage.REQUEST, tenant.redaction_key)
        reading = await self._tool.ask(contract, leaving, key, call.request_id, Trace.continued(call.traceparent))
        if reading is not None and reading.seen is Seen.REFUSED and self._clock.now() < call.at + contract.settles_after:
            return None  # the tool may still be at work on it: that it knows nothing yet says nothing
        return reading

    async def _write(
        self,
        tenant: str,
        call: Call,
        version: int,
        state: CallState,
        phase: Phase,
        reason: str,
        *,
        by: str,
        note: str = "",
        statement: str = "",
        result: tuple[Any, ...] = (),
    ) -> CallState:
        """Commit the settlement; when another process was faster, its state stands."""
        now = self._clock.now()
        event_id = f"outcome:{call.request_id}:{version}"
        sealed: tuple[Payload, ...] = ()
        if result:
            sealed = (await self._vault.seal(tenant, event_id, "result", canon_arguments(result[0]), call.sealed_for),)
        settled = replace(call, state=state, instance="", outcome_event=event_id if sealed else "", note=note or reason)
        trace = Trace.continued(call.traceparent)
        event = record.settled(
            tenant,
            call.request_id,
            event_id=event_id,
            now=now,
            state=state,
            reason=reason,
            agent_id=call.agent_id,
            tool=call.tool,
            by=by,
            decision_event=call.decision_event,
            txn=call.txn,
            statement=statement,
            traced=trace.told,
        )
        requires = [Require(kind="call", id=call.request_id, version=version)]
        writes = [Put(kind="call", id=call.request_id, body=msgspec.json.encode(settled), state=str(state), lookup=call.agent_id)]
        if call.claim:
            row = (await self._store.rows(tenant, [("claim", call.claim)])).get(("claim", call.claim))
            if row is not None:
                claim = msgspec.json.decode(row.body, type=Claim)
                if claim.request_id == call.request_id:
                    if claim.broken and phase is Phase.FAILED:
                        phase = Phase.UNKNOWN  # an earlier attempt under this key may have had its effect
                    broken = claim.broken or (state is CallState.REOPENED and reason == "interrupted")
                    # A caller's own word that it did nothing gives back no use: the next attempt is counted again.
                    charged = () if by == call.agent_id else claim.charged
                    broken = broken and reason != "not_done"
                    moved = replace(claim, state=CLAIMS[state], instance="", broken=broken, charged=charged)
                    requires.append(Require(kind="claim", id=call.claim, version=row.version))
                    writes.append(
                        Put(
                            kind="claim",
                            id=call.claim,
                            body=msgspec.json.encode(moved),
                            state=str(moved.state),
                            lookup=call.request_id,
                        )
                    )
        if call.resource and state is not CallState.UNKNOWN:
            writes += await self._given_back(tenant, call, now, broken=reason == "interrupted")
        receipt = await self._store.commit(
            Unit(
                tenant=tenant,
                events=(event,),
                payloads=sealed,
                requires=tuple(requires),
                writes=tuple(writes),
                settle=(Settle(id=call.remembered, phase=phase),) if call.remembered else (),
            )
        )
        if isinstance(receipt, Committed):
            self._spans.put(
                settle_span(trace, tenant, call, now=now, event_id=event_id, state=str(state), reason=reason, by=by)
            )  # fmt: skip
            return state
        if self._vault.refused(tenant, receipt):  # something was erased in between, which is rare: seal it anew
            return await self._write(
                tenant, call, version, state, phase, reason, by=by, note=note, statement=statement, result=result
            )
        ref = ("call", call.request_id)
        now_row = (await self._store.rows(tenant, [ref])).get(ref)
        if now_row is None:
            raise StoreError(f"call `{call.request_id}` disappeared while it was settled")
        return CallState(now_row.state)

    async def _given_back(self, tenant: str, call: Call, now: datetime, *, broken: bool) -> list[Put]:
        """The resource of the call, for others. A caller's or a person's word counts at once, and so does the tool's."""
        ref = (RESOURCE, call.resource)
        row = (await self._store.rows(tenant, [ref])).get(ref)
        if row is None:
            return []
        holder = msgspec.json.decode(row.body, type=Holder)
        return [resources.given_back(call.resource, holder, now, broken=broken)] if holder.request_id == call.request_id else []
