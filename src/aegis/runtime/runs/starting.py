"""What stands behind the tools `workflow.NAME`: a permitted call starts a run, once for each key of the call.

The unit holds the run's first event with its input sealed, its row, the definition it will finish on, its first commands, and the
call that stands for it while it lives. So a run that was acknowledged is there with everything that it needs, whoever dies next.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.errors import ConfigError, StoreBusyError, StoreError, UpstreamError
from aegis.journal.unit import Committed, Put, Require, Unit
from aegis.model.call import Call, CallState
from aegis.model.contract import Contract
from aegis.model.operation import OutgoingRequest
from aegis.model.upstream import UpstreamResponse
from aegis.model.workflow_contract import WorkflowContract
from aegis.runtime import ids
from aegis.runtime.known import CALL
from aegis.runtime.runs import journaled
from aegis.runtime.runs.flow import CHILD, FLOW, START, Above, Due, Flow, Starter, child_id, put_due, put_flow
from aegis.runtime.runs.histories import Loaded, put_definition
from aegis.runtime.runs.moving import live_call
from aegis.runtime.runs.orchestrator import Orchestrator
from aegis.workflow.graph import Workflow
from aegis.workflow.run import TRANSITION_VERSION, RunState, Started
from aegis.workflow.transition import begin, transition

log = logging.getLogger("aegis.runs")

ATTEMPTS = 4
DOOR = "workflow"
"""Of calls that the orchestrator itself makes for a step."""


Defined = Callable[[str, str], Awaitable[tuple[Workflow, str]]]
"""(tenant, digest) -> the definition and its document; a `StoreError` when nobody has it any more."""


class Start(Struct, frozen=True, kw_only=True):
    """A run that is to be. `key` tells one start from its repetition; `text` is the document of the definition."""

    tenant: str
    workflow: Workflow
    text: str
    input: Any
    key: str
    starter: Starter
    request_id: str = ""
    sealed_for: str = ""
    traceparent: str = ""
    above: Above | None = None
    plan: str = ""


class Starting:
    """Begins runs; the upstream of every workflow contract."""

    def __init__(self, runs: Orchestrator, definitions: Defined) -> None:
        self._runs = runs
        self._definitions = definitions

    async def send(
        self, contract: Contract, request: OutgoingRequest, *, idempotency_key: str, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        """As the port of tools says."""
        assert isinstance(contract, WorkflowContract), "the router sends workflows here and nothing else"
        if not idempotency_key:
            raise UpstreamError("connect_failed", "a run without a key", sent=False)
        try:
            start = await self._asked(contract, request, idempotency_key, headers.get("aegis-request-id", ""))
            run = await self.begin(start)
            known = await self._runs.histories.flow(start.tenant, run)
            state = known.status if known else RunState.PENDING
        except ConfigError as error:
            log.error("no run of `%s`: %s", contract.workflow, error, extra={"tenant": contract.tenant})  # noqa: TRY400 - its words say it
            raise UpstreamError("connect_failed", "the definition is not what this host trusts", sent=False) from None
        except StoreBusyError as error:
            raise UpstreamError("connect_failed", error.code, sent=False) from None
        except StoreError as error:
            raise UpstreamError("reset", error.code, sent=True) from None
        return UpstreamResponse(status=200, headers={}, body=msgspec.json.encode({"run": run, "state": str(state)}))

    async def begin(self, start: Start) -> str:
        """The run of this start, begun now or the first time that it was asked for."""
        for _ in range(ATTEMPTS):
            now = self._runs.clock.now()
            run = ids.new("run", now)
            flow = Flow(
                run=run, workflow=start.workflow.name, version=start.workflow.version, digest=start.workflow.digest,
                transition=TRANSITION_VERSION, starter=start.starter, started_at=now, moved_at=now, request_id=start.request_id,
                sealed_for=start.sealed_for, traceparent=start.traceparent, above=start.above, plan=start.plan,
            )  # fmt: skip
            event = journaled.cleaned(Started(at=now, input=start.input))
            state, commands = transition(start.workflow, begin(run), event)
            flow = replace(flow, status=state.status, events=1)
            part = journaled.sealed_part(event)
            name = journaled.event_id(run, event, 1)
            sealed = await self._runs.vault.seal(start.tenant, name, journaled.VALUE, part, start.sealed_for) if part else None
            loaded = Loaded(tenant=start.tenant, flow=flow, version=1, workflow=start.workflow, state=state)
            outs, here = self._runs.places.placed(start.tenant, loaded, commands)
            told = journaled.written(flow, event, 1, state, commands, sealed, self._runs.instance)
            unit = Unit(
                tenant=start.tenant,
                events=(replace(told, tenant=start.tenant),),
                payloads=(sealed,) if sealed else (),
                requires=(Require(kind=START, id=start.key, version=0), Require(kind=FLOW, id=run, version=0)),
                writes=(
                    Put(kind=START, id=start.key, body=b"{}", lookup=run),
                    put_flow(flow),
                    live_call(flow, CallState.DECIDED),
                    put_definition(start.workflow.digest, start.text),
                    *outs,
                    *_more(start, flow),
                ),
            )
            self._runs.active.add(start.tenant)  # should nobody hear of the commit, the sweep finds what it left
            try:
                receipt = await self._runs.store.commit(unit)
            except BaseException:
                self._runs.places.give_back(here)
                raise
            if isinstance(receipt, Committed):
                loaded = replace(loaded, flow=replace(flow, seq=receipt.events[0].seq))
                self._runs.histories.know(start.tenant, start.workflow)
                await self._runs.adopt(loaded, commands, here=here)
                return run
            self._runs.places.give_back(here)
            if not self._runs.vault.refused(start.tenant, receipt) and (earlier := await self.known(start.tenant, start.key)):
                return earlier
        raise StoreBusyError("the run could not be begun: try again")

    async def known(self, tenant: str, key: str) -> str:
        """The run that was started under this key; empty when there is none."""
        row = (await self._runs.store.rows(tenant, [(START, key)])).get((START, key))
        return row.lookup if row else ""

    async def _asked(self, contract: WorkflowContract, request: OutgoingRequest, key: str, request_id: str) -> Start:
        """A start as the call says it, and as the journal of the call knows who asks."""
        call, starter, door = await self._caller(contract.tenant, request_id)
        workflow, text = await self._definitions(contract.tenant, contract.definition)
        return Start(
            tenant=contract.tenant,
            workflow=workflow,
            text=text,
            input=msgspec.json.decode(request.body or b"{}"),
            key=key,
            starter=starter,
            request_id=request_id,
            sealed_for=call.sealed_for,
            traceparent=call.traceparent,
            above=_above(call) if door == DOOR else None,
        )

    async def _caller(self, tenant: str, request_id: str) -> tuple[Call, Starter, str]:
        row = (await self._runs.store.rows(tenant, [(CALL, request_id)])).get((CALL, request_id))
        call = msgspec.json.decode(row.body, type=Call) if row else None
        event = await self._runs.store.event(tenant, call.decision_event) if call else None
        if call is None or event is None:
            raise StoreError("the call that starts the run is not in the journal")
        body = msgspec.json.decode(event.body)
        actor = body["actor"]
        chain = tuple(each["sub"] for each in actor["act"][1:])
        return call, Starter(agent_id=call.agent_id, subject=actor["sub"], chain=chain), body["door"]


def _above(call: Call) -> Above | None:
    """The node that the run is started for, as the key of the step's call names it. What came through another door is no step."""
    run, colon, node = call.idempotency_key.partition(":")
    return Above(run=run, node=node) if colon and run == call.txn and run.startswith("run_") else None


def _more(start: Start, flow: Flow) -> list[Put]:
    found: list[Put] = []
    if start.workflow.timeout is not None:
        found.append(put_due(flow.started_at + start.workflow.timeout, Due(run=flow.run)))
    if start.above is not None:
        found.append(Put(kind=CHILD, id=child_id(start.above.run, start.above.node), body=b"{}", lookup=flow.run))
    return found
