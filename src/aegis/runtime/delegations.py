"""Handing a task down is a proposal like any other: decided, recorded, and under way until it is ended.

The request of a delegation is what everything below it stands on (`identity.chain`): while it is under way the child may work, and
when its owner ends it, or any request further up ends, so does the work. The unit holds the decision as a `delegation` event, the
call in state `decided`, and the allowances of the parent's token and of the delegation, where they are counted.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import perf_counter_ns
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.errors import IdentityError, StoreBusyError
from aegis.identity import authz
from aegis.identity.access import Access
from aegis.identity.chain import ChainGuard
from aegis.identity.delegation import Delegation, Wanted, hand_down
from aegis.identity.directory import Directory
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Put, Require, Unit
from aegis.model.authority import scope_within
from aegis.model.call import Call, CallState
from aegis.model.datasubject import key_name, subject_of
from aegis.model.decision import Decision, Verdict
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal, canon_arguments, request_hash
from aegis.policy.decide import decide
from aegis.policy.guards import READ, HaltedGuard
from aegis.policy.readings import ReadingsGuard
from aegis.runtime import allowances, ids, record
from aegis.runtime.clock import Clock
from aegis.runtime.facts import FactSource, requests_of
from aegis.runtime.halts import Halts
from aegis.runtime.known import ALLOWANCE, CALL, Known
from aegis.runtime.recovery import Recovery
from aegis.runtime.spanning import decision_span
from aegis.runtime.spans import Spans
from aegis.runtime.tenant import Tenant
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault

TOOL = "aegis.delegate"
RULE = "delegation"
ATTEMPTS = 8
GONE = timedelta(minutes=15)
PAGE = 200
_FIELDS = {
    **dict.fromkeys(("unknown_agent", "agent_disabled", "delegation_not_granted", "depth_exceeded"), "to"),
    "task_mismatch": "task",
    "too_long_lived": "ttl_seconds",
}
"""Which member of the request was refused, by reason."""


class Asked(Struct, frozen=True, kw_only=True):
    """A parent's wish: who it is, the token it holds, and what it wants to hand down.

    `sign` gives the text of a delegation, or an `IdentityError` when nobody could redeem it: before it is recorded as handed down.
    """

    who: Principal
    held: Access
    wanted: Wanted
    sign: Callable[[Delegation], str]
    request_id: str = ""
    trace: Trace
    door: str = "http"


class Handed(Struct, frozen=True, kw_only=True):
    """What was decided; `delegation` and its `text` are there when it was allowed.

    `taken`: the request id stands for another request.
    """

    request_id: str
    decision: Decision
    delegation: Delegation | None = None
    text: str = ""
    seq: int = -1
    taken: bool = False


class DelegationGuard:
    """Says whether a task may be handed down: `refused` is why not."""

    name = RULE

    def __init__(self, refused: IdentityError | None) -> None:
        self._refused = refused

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """One verdict: allow, or deny with the reason."""
        error = self._refused
        if error is None:
            return (Verdict(guard=self.name, effect="allow", rule=RULE),)
        field = _FIELDS.get(error.reason, "tools")
        return (Verdict(guard=self.name, effect="deny", rule=f"{RULE}.{error.reason}", reason=str(error), field=field),)


class Delegations:
    """Hands tasks down. One for each process; it holds no state of its own."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, halts: Halts, spans: Spans, instance: str) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._facts = FactSource(store, clock, halts)
        self._spans = spans
        self._instance = instance

    async def hand_down(self, tenant: Tenant, asked: Asked) -> Handed:
        """The delegation, durable and under way; or why there is none, durable too."""
        now, started, trace = self._clock.now(), perf_counter_ns(), asked.trace.child()
        request_id = asked.request_id or ids.new("req", now)
        proposal = _proposal(tenant, asked, request_id)
        for _ in range(ATTEMPTS):
            made, text, refused = self._made(tenant, asked, request_id, now)
            known = Known()
            await known.read(self._store, tenant.name, [(CALL, request_id), (ALLOWANCE, asked.held.token_id)])
            gathered = await self._facts.gather(tenant, proposal, known)
            guards = (ReadingsGuard(), HaltedGuard({TOOL: READ}), ChainGuard(), DelegationGuard(refused))
            decision = decide(proposal, gathered.facts, guards)
            if known.rows[CALL, request_id] is not None:
                return Handed(request_id=request_id, decision=decision, taken=True)
            unit = await self._unit(tenant, asked, trace, proposal, decision, made, known, gathered.facts, started)
            receipt = await self._store.commit(unit)
            if isinstance(receipt, Committed):
                handed = Handed(request_id=request_id, decision=decision, seq=receipt.events[0].seq)
                latency_us = (perf_counter_ns() - started) // 1000
                self._spans.put(
                    decision_span(
                        trace, tenant, proposal, decision, now=self._clock.now(), latency_us=latency_us, door=asked.door,
                        event_id=unit.events[0].id, seq=handed.seq, to=asked.wanted.to if made else "",
                    )
                )  # fmt: skip
                return replace(handed, delegation=made, text=text) if decision.permits else handed
            self._vault.refused(tenant.name, receipt)
        raise StoreBusyError("the requests that this task stands on keep changing: try again")

    async def end(self, tenant: str, agent_id: str, request_id: str, recovery: Recovery) -> bool:
        """The task is over, says who handed it down; false when this agent has no delegation under way under this id."""
        ref = (CALL, request_id)
        row = (await self._store.rows(tenant, [ref])).get(ref)
        call = msgspec.json.decode(row.body, type=Call) if row else None
        if call is None or (call.tool, call.agent_id, call.state) != (TOOL, agent_id, CallState.DECIDED):
            return False
        return await recovery.resolve(tenant, request_id, done=True, by=agent_id, reason="ended") is CallState.DONE

    async def expire(self, tenant: str, recovery: Recovery) -> int:
        """End the delegations whose tokens have all expired, so that nobody takes them for tasks under way; how many."""
        before, ended, after = self._clock.now() - GONE, 0, ""
        while rows := await self._store.find(tenant, CALL, state=str(CallState.DECIDED), after=after, limit=PAGE):
            after = rows[-1].id
            for call in (msgspec.json.decode(row.body, type=Call) for row in rows):
                if call.tool == TOOL and call.at < before:
                    state = await recovery.resolve(tenant, call.request_id, done=True, by="recovery", reason="expired")
                    ended += state is CallState.DONE
        return ended

    def _made(
        self, tenant: Tenant, asked: Asked, request_id: str, now: datetime
    ) -> tuple[Delegation | None, str, IdentityError | None]:
        try:
            made = hand_down(asked.held, asked.wanted, request_id=request_id, token_id=ids.new("tok", now), now=now)
            _permitted(tenant.directory, made)
            signed = asked.sign(made)
            _known(tenant, made)
        except IdentityError as error:
            return None, "", error
        return made, signed, None

    async def _unit(
        self,
        tenant: Tenant,
        asked: Asked,
        trace: Trace,
        proposal: Proposal,
        decision: Decision,
        made: Delegation | None,
        known: Known,
        facts: Facts,
        started: int,
    ) -> Unit:
        now = self._clock.now()
        event_id = f"decision:{proposal.request_id}:0"
        whose = key_name(tenant.redaction_key, subject_of(proposal.principal, None, proposal.arguments))
        sealed = await self._vault.seal(tenant.name, event_id, "arguments", canon_arguments(proposal.arguments), whose)
        event = record.decision(
            proposal,
            decision,
            event_id=event_id,
            now=now,
            instance=self._instance,
            door=asked.door,
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            parent_span_id=trace.parent_id,
            latency_us=(perf_counter_ns() - started) // 1000,
            sealed=sealed,
            effect=READ,
            facts=facts,
            kind=RULE,
        )
        state = CallState.DECIDED if decision.permits else CallState.DENIED
        call = Call(
            request_id=proposal.request_id,
            agent_id=asked.who.agent_id,
            tool=TOOL,
            state=state,
            request_hash=proposal.request_hash,
            at=now,
            effect=READ,
            decision_event=event_id,
            txn=made.txn if made else asked.who.txn,
            sealed_for=whose,
            traceparent=trace.above,
        )
        requires = [Require(kind=CALL, id=proposal.request_id, version=0)]
        writes = [Put(kind=CALL, id=call.request_id, body=msgspec.json.encode(call), state=str(state), lookup=call.agent_id)]
        if made is not None and decision.permits:
            event = replace(event, data=event.data | _told(made))
            requires += [Require(kind=kind, id=name, version=known.version((kind, name))) for kind, name in requests_of(asked.who)]
            for token_id, authority in ((asked.held.token_id, asked.held.authority), (made.token_id, made.authority)):
                if (opened := allowances.opened(known, token_id, authority)) is not None:
                    requires.append(opened[0])
                    writes.append(opened[1])
        return Unit(
            tenant=tenant.name, events=(event,), payloads=(sealed,), requires=tuple(requires), writes=tuple(writes)
        )  # fmt: skip


def _permitted(directory: Directory, made: Delegation) -> None:
    """Hold a delegation against the directory: who may hand what to whom.

    Raises:
        IdentityError: `unknown_agent`, `agent_disabled`, `delegation_not_granted`, `scope_not_held`.
    """
    child = directory.agents.get(made.to)
    if child is None or not child.enabled:
        raise IdentityError("unknown_agent" if child is None else "agent_disabled", f"`{made.to}` is not at work in this tenant")
    above = directory.agents.get(made.agent_id)
    if (
        made.to != made.agent_id
        and above is not None
        and above.may_delegate_to is not None
        and made.to not in above.may_delegate_to
    ):
        raise IdentityError("delegation_not_granted", f"the directory does not let `{made.agent_id}` hand tasks to `{made.to}`")
    for scope in made.authority.scopes:
        if not scope_within(scope, child.scopes):
            raise IdentityError("scope_not_held", f"`{made.to}` may not hold `{scope}`: name the tools that it is to have")


def _known(tenant: Tenant, made: Delegation) -> None:
    """A task for a tool that is not there is a slip of the parent, who is told; the child could do nothing about it.

    Raises:
        IdentityError: `unknown_tool`.
    """
    for grant in made.authority.grants or ():
        if grant.tool not in tenant.contracts:
            raise IdentityError("unknown_tool", f"there is no tool `{grant.tool}`; `GET /v1/tools` lists them")


def _proposal(tenant: Tenant, asked: Asked, request_id: str) -> Proposal:
    wanted = asked.wanted
    arguments: dict[str, Any] = {
        "to": wanted.to,
        "scopes": list(wanted.authority.scopes),
        "tools": authz.written(wanted.authority.grants or ()),
        "ttl_seconds": int(wanted.ttl.total_seconds()),
        "task": wanted.task,
        "max_depth": wanted.max_depth,
    }
    if wanted.authority.budget_micros is not None:
        arguments["budget_micros"] = wanted.authority.budget_micros
    return Proposal(
        principal=asked.who,
        tool=TOOL,
        arguments=arguments,
        environment=tenant.environment,
        request_id=request_id,
        request_hash=request_hash(asked.who, TOOL, "", arguments, ""),
    )


def _told(made: Delegation) -> dict[str, Any]:
    """What was handed down: to whom, which tools, how often; the limits themselves lie sealed beside the event."""
    grants = made.authority.grants
    data: dict[str, Any] = {
        "to": made.to,
        "delegation_jti": made.token_id,
        "scopes": [record.text(scope) for scope in made.authority.scopes],
        "tools": [
            {
                "tool": each.tool,
                "limited": [path for path, _ in each.limits],
                **({} if each.calls is None else {"calls": each.calls}),
            }
            for each in grants or ()
        ],
        "depth": len(made.chain),
        "txn": record.text(made.txn),
        "task": record.text(made.task),
        "expires_at": made.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return data if made.authority.budget_micros is None else data | {"budget_micros": made.authority.budget_micros}
