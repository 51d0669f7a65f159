"""Gather what one decision reads: the readings of the clock, of rows, of history, of the run, and of a policy engine elsewhere.

The decision itself is pure and waits for nothing. What it was made on is held fast by the commit: rows by their versions, readings
of history by what they are expected to come out as.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.identity.directory import Directory
from aegis.journal.store import Store
from aegis.model import history
from aegis.model.approval import Approval
from aegis.model.call import Call
from aegis.model.facts import Facts, ParentCall
from aegis.model.history import Expect, Reading
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.runtime import allowances
from aegis.runtime.clock import Clock
from aegis.runtime.halts import Halts
from aegis.runtime.known import APPROVAL, CALL, RUN, Known, Ref, claim_ref
from aegis.runtime.tenant import Tenant


class RunLabels(Struct, frozen=True, kw_only=True):
    """What the data carries that calls of one run have seen."""

    labels: tuple[str, ...] = ()


class _Tool(Struct, frozen=True, kw_only=True):
    """Of a call no more than its tool."""

    tool: str


class Gathered(Struct, frozen=True, kw_only=True):
    """Facts, and the demands under which a decision on them may be committed."""

    facts: Facts
    expects: tuple[Expect, ...] = ()


class FactSource:
    """Takes readings. One for each process; it holds no state of its own."""

    def __init__(self, store: Store, clock: Clock, halts: Halts) -> None:
        self._store = store
        self._clock = clock
        self._halts = halts

    async def gather(self, tenant: Tenant, proposal: Proposal, known: Known) -> Gathered:
        """Everything that guards may read about `proposal`; rows that are not known yet are read into `known`."""
        await self._rows(tenant, proposal, known)
        halted, safe_mode = self._halts.of(proposal, above(known, proposal.principal) if self._halts.any else ())
        parent = proposal.principal.parent
        facts = Facts(
            now=self._clock.now(),
            environment=tenant.environment,
            parent=call_of(known, parent.request_id) if parent else None,
            lineage=lineage_of(known, proposal.principal),
            allowances=allowances.left_for(known, proposal),
            approval=approval_of(known, proposal, tenant.directory),
            halted=halted,
            safe_mode=safe_mode,
            stale=self._stale(),
            run_labels=_run_labels(known, proposal) if tenant.memory.tracks_labels else (),
            stated=dict(proposal.principal.stated),
        )
        readings = tenant.memory.readings(proposal, facts.now, entry_id(proposal))
        expects: tuple[Expect, ...] = ()
        if readings:
            values = await self._taken(tenant, readings)
            facts = replace(facts, history=values)
            expects = tenant.memory.expects(proposal.tool, readings, values)
        if tenant.judge is not None and tenant.judge.judges(proposal.tool):
            facts = replace(facts, engine={tenant.judge.digest: await tenant.judge.ask(proposal, facts)})
        return Gathered(facts=facts, expects=expects)

    async def _rows(self, tenant: Tenant, proposal: Proposal, known: Known) -> None:
        wanted: list[Ref] = []
        wanted += requests_of(proposal.principal)
        wanted += allowances.refs(proposal)
        if tenant.memory.tracks_labels and proposal.principal.txn:
            wanted.append((RUN, proposal.principal.txn))
        missing = [ref for ref in wanted if ref not in known.rows]
        if missing:
            await known.read(self._store, tenant.name, missing)

    async def _taken(self, tenant: Tenant, readings: Mapping[str, Reading | None]) -> dict[str, int | bool | None]:
        """The value of each reading; all of them are taken at one moment."""
        asked = list(dict.fromkeys(query for reading in readings.values() if reading for query in history.queries(reading)))
        answers = dict(zip(asked, await self._store.measure(tenant.name, asked), strict=True)) if asked else {}
        return {name: history.take(reading, answers.__getitem__) if reading else None for name, reading in readings.items()}

    def _stale(self) -> frozenset[str]:
        """Readings that cannot be trusted now: any of them makes every decision deny."""
        return frozenset(name for name, bad in (("clock", not self._clock.trusted), ("halts", self._halts.stale)) if bad)


def entry_id(proposal: Proposal) -> str:
    """Under which id history keeps this call: every attempt under one idempotency key is one entry."""
    claims = claim_ref(proposal)
    return claims[0][1] if claims else proposal.request_id


def refusal_id(event_id: str) -> str:
    """Under which id history keeps a refusal: no request can have it, nor an idempotency key of any agent."""
    return f"\x1fdenied\x1f{event_id}"


def approval_of(known: Known, proposal: Proposal, directory: Directory) -> Approval | None:
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


def _run_labels(known: Known, proposal: Proposal) -> tuple[str, ...] | None:
    """The labels of the run; unknown for a call that belongs to none."""
    run = proposal.principal.txn
    if not run:
        return None
    row = known.rows.get((RUN, run))
    return msgspec.json.decode(row.body, type=RunLabels).labels if row else ()


def requests_of(who: Principal) -> list[Ref]:
    """The calls that the caller's token stands on."""
    named = [*who.requests, *([who.parent] if who.parent else [])]
    return list(dict.fromkeys((CALL, each.request_id) for each in named))


def lineage_of(known: Known, who: Principal) -> dict[str, ParentCall]:
    """Those of them that the journal knows."""
    found = {each.request_id: call_of(known, each.request_id) for each in who.requests}
    return {name: call for name, call in found.items() if call is not None}


def above(known: Known, who: Principal) -> tuple[str, ...]:
    """The tools of those calls: a workflow or a queue that is halted stops what stands on it."""
    rows = (known.rows.get(ref) for ref in requests_of(who))
    return tuple(msgspec.json.decode(row.body, type=_Tool).tool for row in rows if row is not None)


def call_of(known: Known, request_id: str) -> ParentCall | None:
    """A call as it was read; `None` when the journal has none of this id."""
    row = known.rows.get((CALL, request_id))
    if row is None:
        return None
    call = msgspec.json.decode(row.body, type=Call)
    return ParentCall(request_id=call.request_id, agent_id=call.agent_id, state=call.state, version=row.version, txn=call.txn)
