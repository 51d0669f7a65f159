"""The consent of people to a step of a workflow: asked once for each node, bound to what they are shown.

The approval is the same value, on the same desk, as that of a held call. Its hash is over the run, the node, the definition (and
the plan, where a plan is approved) and the values shown, so that a person has agreed to exactly that. The values are sealed beside
the event `approval_asked`. Nothing is held while it waits: there are the rows of the approval, and no task, timer or connection.

    asked again, and it still waits or was granted     the same approval, also for a later dispatch of the same node
    asked again under the same dispatch                the same approval, whatever became of it
    asked anew after it was refused, expired, closed   another approval

So a process that dies after it asked does not ask twice, and a person who gives a refused step new attempts is asked once more.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from aegis.crypto.canonical import canon
from aegis.crypto.digest import sha256
from aegis.errors import StoreBusyError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Payload, Require, Unit
from aegis.model.approval import Approval, ApprovalState, StepAsked, widened, withdraw
from aegis.model.approval import at as standing
from aegis.model.datasubject import key_name
from aegis.model.principal import Principal
from aegis.model.proposal import canon_arguments
from aegis.runtime import approval_rows, ids, record
from aegis.runtime.approval_rows import KIND
from aegis.runtime.approvals import ATTEMPTS, Desk, answerable
from aegis.runtime.clock import Clock
from aegis.runtime.tenant import Tenant
from aegis.runtime.vault import Vault
from aegis.workflow.graph import ApprovalSpec, Step, Workflow
from aegis.workflow.run import Escalated, Failed, Held, Released, RunEvent, Succeeded

DOMAIN = b"aegis-step-approval-v1\0"
ARGUMENTS = "arguments"


class Question(Struct, frozen=True, kw_only=True):
    """What is asked. `shows` are the values that the approver sees; `plan` is the digest of the plan that is approved, if one is.

    `principal` is the starter of the run; `findings` are what gates found, in words.
    """

    run: str
    definition: Workflow
    step: Step
    node: str
    dispatch: int
    shows: Any
    principal: Principal
    plan: str = ""
    findings: tuple[str, ...] = ()
    traceparent: str = ""

    @property
    def terms(self) -> ApprovalSpec:
        """Who must agree."""
        assert self.step.approval is not None, "only a step of kind `approval` is asked about"
        return self.step.approval

    @property
    def bound(self) -> str:
        """The digest of the plan that is approved; that of the definition, where it is the plan."""
        return (self.plan or self.definition.digest) if self.terms.of == "plan" else ""


class Consent:
    """Asks, and says what an answer means for the run. It holds no state of its own."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, desk: Desk) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._desk = desk

    async def ask(
        self, tenant: Tenant, run_id: str, definition: Workflow, step: Step, node: str, dispatch: int, shows: Any,
        principal: Principal, *, plan: str = "", findings: tuple[str, ...] = (), traceparent: str = "",
    ) -> Held | Failed:  # fmt: skip
        """The open approval of a node, or why nobody can be asked. To ask twice is as good as once.

        Raises:
            StoreBusyError: Others write the same approval all the time: the command is tried again.
        """
        asked = Question(
            run=run_id, definition=definition, step=step, node=node, dispatch=dispatch, shows=shows, principal=principal,
            plan=plan, findings=findings, traceparent=traceparent,
        )  # fmt: skip
        for _ in range(ATTEMPTS):
            approval = await self._asked(tenant, asked)
            if isinstance(approval, Failed):
                return approval
            if approval is not None:
                return Held(
                    at=self._clock.now(), node=node, dispatch=dispatch, approval_id=approval.approval_id,
                    expires_at=approval.expires_at,
                )  # fmt: skip
        raise StoreBusyError("others ask for the same approval at the same moment: try again")

    async def withdraw(self, tenant: str, approval_id: str, reason: str = "the run unwinds") -> bool:
        """Close an approval that nobody needs any more, of a step or of a held call; false when it has ended already."""
        for _ in range(ATTEMPTS):
            found = await self._desk.find(tenant, approval_id)
            now = self._clock.now()
            closed = withdraw(found[0], now) if found else None
            if found is None or closed is None:
                return False
            event = record.approval_moved(closed, "approval_withdrawn", now=now, reason=reason)
            require = Require(kind=KIND, id=closed.request_hash, version=found[1])
            unit = Unit(tenant=tenant, events=(event,), requires=(require,), writes=approval_rows.rows(closed, found[0]))
            if isinstance(await self._store.commit(unit), Committed):
                return True
        raise StoreBusyError("others are answering at the same moment: try again")

    async def _asked(self, tenant: Tenant, asked: Question) -> Approval | Failed | None:
        """The approval as it stands or is made now; `None` when somebody else wrote it meanwhile."""
        now, digest = self._clock.now(), request_hash(tenant.name, asked)
        row = (await self._store.rows(tenant.name, [(KIND, digest)])).get((KIND, digest))
        former = approval_rows.read(row) if row else None
        if former is not None and _same(former, asked, now):
            return former
        barred = requesters(asked)
        if not _possible(asked.terms, tenant, barred):
            return Failed(
                at=now, node=asked.node, dispatch=asked.dispatch, kind="nobody_approves", outcome="rejected",
                text="nobody in the directory could give this approval",
            )  # fmt: skip
        approval = _approval(tenant.name, asked, digest, barred, now)
        sealed = await self._sealed(tenant, asked, approval)
        unit = Unit(
            tenant=tenant.name,
            events=(record.approval_asked(approval, now=now, sealed=sealed),),
            payloads=(sealed,),
            requires=(Require(kind=KIND, id=digest, version=row.version if row else 0),),
            writes=approval_rows.rows(approval, former),
        )
        receipt = await self._store.commit(unit)
        self._vault.refused(tenant.name, receipt)
        return approval if isinstance(receipt, Committed) else None

    async def _sealed(self, tenant: Tenant, asked: Question, approval: Approval) -> Payload:
        assert approval.step is not None, "made for a step"
        whose = key_name(tenant.redaction_key, asked.principal.subject)
        return await self._vault.seal(tenant.name, approval.step.event, ARGUMENTS, canon_arguments(asked.shows), whose)


def request_hash(tenant: str, asked: Question) -> str:
    """Digest of what people agree to. A later dispatch of the same node asks for the same."""
    head = {
        "tenant": tenant,
        "run": asked.run,
        "node": asked.node,
        "definition": asked.definition.digest,
        "plan": asked.bound,
    }
    return sha256(DOMAIN, canon(head), b"\0", canon_arguments(asked.shows))


def requesters(asked: Question) -> tuple[str, ...]:
    """Everybody who has had a hand in what is asked: the starter and its chain, `run_as`, the agents of the steps before."""
    who = asked.principal
    named = [who.agent_id, who.subject, *(link.agent_id for link in who.chain), asked.definition.run_as]
    return tuple(dict.fromkeys([*named, *_agents_before(asked.definition, asked.step)]))


def ended(approval: Approval, node: str, dispatch: int, now: datetime) -> RunEvent | None:
    """What the approval, as it stands now, says to the run; `None` while people may answer, and when it was withdrawn.

    `node` is the one that waits, `dispatch` its outstanding number. The approval may be of its step, or of the call that it made.
    """
    current = standing(approval, now)
    if current.state is ApprovalState.PENDING:
        escalated = Escalated(at=now, node=node, dispatch=dispatch, approval_id=approval.approval_id)
        return escalated if current.escalated else None
    if current.state in (ApprovalState.APPROVED, ApprovalState.USED):
        if current.step is None:
            return Released(at=now, node=node, dispatch=dispatch)
        return Succeeded(at=now, node=node, dispatch=dispatch, outcome="approved", output=_granted(current))
    outcome = {ApprovalState.DENIED: "rejected", ApprovalState.EXPIRED: "expired"}.get(current.state)
    if outcome is None:
        return None
    return Failed(at=now, node=node, dispatch=dispatch, kind=f"approval_{current.state}", outcome=outcome, text=_why(current))


def _same(former: Approval, asked: Question, now: datetime) -> bool:
    """Whether what stands there answers the question."""
    state = standing(former, now).state
    again = former.step is not None and former.step.dispatch == asked.dispatch
    return again or state in (ApprovalState.PENDING, ApprovalState.APPROVED)


def _approval(tenant: str, asked: Question, digest: str, barred: tuple[str, ...], now: datetime) -> Approval:
    terms, definition = asked.terms, asked.definition
    escalation, approval_id = terms.escalate, ids.new("apr", now)
    step = StepAsked(
        workflow=definition.name, version=definition.version, definition=definition.digest, step=asked.step.id, node=asked.node,
        dispatch=asked.dispatch, event=f"approval_asked:{approval_id}", plan=asked.bound,
    )  # fmt: skip
    return Approval(
        approval_id=approval_id,
        tenant=tenant,
        request_id=asked.run,
        request_hash=digest,
        agent_id=asked.principal.agent_id,
        tool=f"workflow.{definition.name}",
        requesters=barred,
        approver_sets=terms.approver_sets,
        quorum=terms.quorum,
        not_requester=terms.not_requester,
        created_at=now,
        expires_at=now + terms.expires,
        reason=f"step `{asked.step.id}` of workflow `{definition.name}`",
        traceparent=asked.traceparent,
        run=asked.run,
        step=step,
        findings=asked.findings,
        escalates_at=now + escalation.after if escalation else None,
        escalates_to=escalation.approvers if escalation else (),
    )


def _possible(terms: ApprovalSpec, tenant: Tenant, barred: tuple[str, ...]) -> bool:
    """Whether enough people could agree, at least once more are asked."""
    groups = widened(terms.approver_sets, terms.escalate.approvers) if terms.escalate else terms.approver_sets
    return answerable(groups, terms.quorum, tenant.directory, barred if terms.not_requester else ())


def _agents_before(definition: Workflow, step: Step) -> tuple[str, ...]:
    """The agents of every step that had to end before this one, in their order in the definition."""
    needs: Mapping[str, tuple[str, ...]] = {each.id: each.needs for each in definition.steps}
    before: set[str] = set()
    waiting = list(step.needs)
    while waiting:
        name = waiting.pop()
        if name not in before:
            before.add(name)
            waiting += needs[name]
    acts = [each.act for each in definition.steps if each.id in before and each.kind == "agent"]
    return tuple(act.name for act in acts if act is not None)


def _granted(approval: Approval) -> dict[str, Any]:
    """The output of an approval step."""
    return {
        "approval_id": approval.approval_id,
        "approved_by": [said.person for said in approval.answers if said.approve],
        "answered_at": max((said.at for said in approval.answers), default=approval.created_at).isoformat(),
    }


def _why(approval: Approval) -> str:
    if approval.state is ApprovalState.EXPIRED:
        return "nobody answered in time"
    refused = [said for said in approval.answers if not said.approve]
    return record.text("; ".join(f"{said.person}: {said.reason}" if said.reason else said.person for said in refused))
