"""Commit unit 1: the decision, and everything that must become true together with it.

The decision event, the sealed arguments, the call, the claim of the idempotency key, the use of an approval, the entry in history
and the labels of the run are one unit. It requires that the rows it was decided on still stand so, and that readings of history
still come out so.
"""

import msgspec
from msgspec import Struct

from aegis.journal.unit import Delete, Payload, Put, Require, Row, Unit
from aegis.model.approval import Approval, Refused, use
from aegis.model.call import Call, Claim, ClaimState
from aegis.model.decision import Decision, Outcome
from aegis.model.event import Event
from aegis.model.history import Entry, Phase
from aegis.model.proposal import Proposal
from aegis.runtime import allowances, record, resources
from aegis.runtime.approval_rows import rows
from aegis.runtime.facts import Gathered, RunLabels, entry_id, refusal_id, requests_of
from aegis.runtime.known import APPROVAL, CALL, CLAIM, RESOURCE, RUN, Known, claim_ref
from aegis.runtime.resources import Holder
from aegis.runtime.tenant import Tenant
from aegis.runtime.trace import TOLD


class Decided(Struct, frozen=True, kw_only=True):
    """A decision that is to be recorded. `held` is the approval that waits for it, `sealed` its arguments.

    `cost_micros` is what the call costs, `taking` what the row of its resource will hold, where it needs one for itself.
    """

    tenant: Tenant
    proposal: Proposal
    decision: Decision
    call: Call
    event: Event
    sealed: Payload | None
    held: Approval | None
    known: Known
    gathered: Gathered
    cost_micros: int = 0
    taking: Holder | None = None

    @property
    def approval(self) -> Approval | None:
        """The approval of this request that was read, if any."""
        return self.gathered.facts.approval


def first_unit(made: Decided) -> tuple[Unit, Claim | None] | None:
    """The unit, and the claim that it takes; `None` when an approval ended between the decision and this moment."""
    proposal, known = made.proposal, made.known
    requires = [Require(kind=CALL, id=proposal.request_id, version=known.version((CALL, proposal.request_id)))]
    writes = [_put(CALL, proposal.request_id, made.call, state=made.call.state, lookup=made.call.agent_id)]
    events = [made.event]
    approvals: list[Put | Delete] = []
    claim = None
    if made.held is not None and made.held is not made.approval:
        ref = (APPROVAL, proposal.request_hash)
        requires.append(Require(kind=APPROVAL, id=ref[1], version=known.version(ref)))
        approvals += rows(made.held, made.approval)
    if made.decision.permits:
        requires += [
            Require(kind=kind, id=name, version=known.version((kind, name))) for kind, name in requests_of(proposal.principal)
        ]
        if not _approve(made, requires, approvals, events):
            return None
        charged = allowances.charge(known, proposal, made.cost_micros, requires, writes)
        claim = _claim(made, charged, requires, writes)
        _label(made, requires, writes)
        _take(made, requires, writes)
    unit = Unit(
        tenant=made.tenant.name,
        events=tuple(events),
        payloads=(made.sealed,) if made.sealed else (),
        requires=tuple(requires),
        writes=(*writes, *approvals),
        expects=made.gathered.expects if made.decision.outcome is not Outcome.DENY else (),
        remember=_entries(made),
    )
    return unit, claim


def _approve(made: Decided, requires: list[Require], approvals: list[Put | Delete], events: list[Event]) -> bool:
    """Use the approval that permits; false when it has ended meanwhile."""
    proposal, approval = made.proposal, made.approval
    ref = (APPROVAL, proposal.request_hash)
    # If no approval or refusal was read, there must still be none (version 0): else the decision is made anew on it.
    requires.append(Require(kind=APPROVAL, id=ref[1], version=made.known.version(ref) if approval is not None else 0))
    if approval is None or made.decision.approval_id != approval.approval_id:
        return True
    used = use(approval, proposal.request_hash, proposal.request_id, made.event.time)
    if isinstance(used, Refused):
        return False
    approvals += rows(used, approval)
    event_id = f"override_used:{used.approval_id}"
    traced: dict[str, str] = {name: made.event.data[name] for name in TOLD if name in made.event.data}
    events.append(record.approval_used(used, event_id=event_id, now=made.event.time, request_id=proposal.request_id, traced=traced))
    return True


def _claim(made: Decided, charged: tuple[str, ...], requires: list[Require], writes: list[Put]) -> Claim | None:
    """Take the idempotency key."""
    for ref in claim_ref(made.proposal):
        claim = Claim(
            request_hash=made.proposal.request_hash,
            request_id=made.proposal.request_id,
            state=ClaimState.IN_FLIGHT,
            instance=made.call.instance,
            broken=_broken(made.known.rows.get(ref)),
            charged=charged,
        )
        requires.append(Require(kind=CLAIM, id=ref[1], version=made.known.version(ref)))
        writes.append(_put(CLAIM, ref[1], claim, state=claim.state, lookup=made.proposal.request_id))
        return claim
    return None


def _label(made: Decided, requires: list[Require], writes: list[Put]) -> None:
    """Hold the labels of the run as they were read, and add what the results of this tool carry."""
    run = made.proposal.principal.txn
    labels = made.gathered.facts.run_labels
    if not run or labels is None or not made.tenant.memory.tracks_labels:
        return
    requires.append(Require(kind=RUN, id=run, version=made.known.version((RUN, run))))
    added = set(made.tenant.memory.emits(made.proposal.tool)) - set(labels)
    if added:
        writes.append(_put(RUN, run, RunLabels(labels=tuple(sorted({*labels, *added}))), state="", lookup=""))


def _take(made: Decided, requires: list[Require], writes: list[Put]) -> None:
    """Take the resource that the call changes: nobody else may have taken it since it was read."""
    name = made.call.resource
    if name and made.taking is not None:
        requires.append(Require(kind=RESOURCE, id=name, version=made.known.version((RESOURCE, name))))
        writes.append(resources.held(name, made.taking))


def _entries(made: Decided) -> tuple[Entry, ...]:
    """What history keeps of the call: a permitted one from now on, a refused one where a rule asks for refusals."""
    decision, memory, tool = made.decision, made.tenant.memory, made.proposal.tool
    if decision.permits and memory.keeps(tool):
        return (memory.entry(made.proposal, made.call.remembered, made.event.time, Phase.OPEN),)
    if decision.outcome is Outcome.DENY and memory.keeps(tool, denied=True):
        return (memory.entry(made.proposal, refusal_id(made.event.id), made.event.time, Phase.DENIED),)
    return ()


def remembered(tenant: Tenant, proposal: Proposal, decision: Decision) -> str:
    """The id of the entry that history will keep of this call; empty when it keeps none that is settled later."""
    return entry_id(proposal) if decision.permits and tenant.memory.keeps(proposal.tool) else ""


def _broken(row: Row | None) -> bool:
    """Whether an earlier attempt under this key broke off."""
    return row is not None and msgspec.json.decode(row.body, type=Claim).broken


def _put(kind: str, row_id: str, value: Struct, *, state: str, lookup: str) -> Put:
    return Put(kind=kind, id=row_id, body=msgspec.json.encode(value), state=str(state), lookup=lookup)
