"""The approvals desk: what is asked of people, what they see, and what their answer does.

An answer is a statement signed with the person's own key. It is checked here, whatever door it came through, and recorded with the
statement itself, so that nobody needs to take our word for who approved.
"""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from aegis.crypto.canonical import canon
from aegis.crypto.digest import sha256
from aegis.errors import IdentityError, SealError
from aegis.identity.directory import Directory
from aegis.identity.token import Statement
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Put, Require, Row, Unit
from aegis.model.approval import Answer, Approval, ApprovalState, Refused, answer
from aegis.model.approval import at as standing
from aegis.model.decision import ApprovalTerms, Decision
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.runtime import ids, record
from aegis.runtime.clock import Clock
from aegis.runtime.spanning import approval_span
from aegis.runtime.spans import Spans
from aegis.runtime.tenant import Snapshot
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault

KIND = "approval"
ATTEMPTS = 8


class Card(Struct, frozen=True, kw_only=True):
    """What an approver is shown; `shown` is the digest of it that the signed answer names."""

    approval: Approval
    arguments: Any
    shown: str


def new_approval(proposal: Proposal, decision: Decision, tenant: str, approval_id: str, now: datetime) -> Approval:
    """The approval that this decision asks for."""
    terms = decision.terms or ApprovalTerms(approver_sets=())
    principal = proposal.principal
    return Approval(
        approval_id=approval_id,
        tenant=tenant,
        request_id=proposal.request_id,
        request_hash=proposal.request_hash,
        agent_id=principal.agent_id,
        tool=proposal.tool,
        requesters=(principal.agent_id, principal.subject, *(link.agent_id for link in principal.chain)),
        approver_sets=terms.approver_sets,
        quorum=terms.quorum,
        not_requester=terms.not_requester,
        created_at=now,
        expires_at=now + terms.ttl,
        rules=decision.rules,
        reason="; ".join(r.text for r in decision.reasons if r.text),
        idempotency_key=proposal.idempotency_key,
    )


def reachable(terms: ApprovalTerms | None, directory: Directory, principal: Principal) -> bool:
    """Whether the people of the directory could satisfy these terms. Without a possible approver the answer is deny, at once."""
    if terms is None or not terms.approver_sets:
        return False
    people = [
        person
        for person in directory.people.values()
        if person.enabled and not (terms.not_requester and principal.involves(person.id))
    ]

    def entitled(group: tuple[str, ...]) -> set[str]:
        return {person.id for person in people if person.id in group or any(f"role:{role}" in group for role in person.roles)}

    groups = [entitled(group) for group in terms.approver_sets]
    return all(groups) and len(set().union(*groups)) >= terms.quorum


class Desk:
    """Lists what waits, shows one card, takes answers."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, snapshot: Snapshot, spans: Spans) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._snapshot = snapshot
        self._spans = spans

    async def listed(self, tenant: str, state: ApprovalState | None = None, limit: int = 200) -> tuple[Approval, ...]:
        """Approvals of the tenant, newest first, as they stand now; `expired` shows those nobody answered in time."""
        stored = None if state in (None, ApprovalState.EXPIRED) else str(state)
        found: list[Approval] = []
        after = ""
        while rows := await self._store.find(tenant, KIND, state=stored, after=after, limit=500):
            found += [standing(_approval(row), self._clock.now()) for row in rows]
            after = rows[-1].id
        kept = [approval for approval in found if state is None or approval.state is state]
        return tuple(sorted(kept, key=lambda approval: approval.created_at, reverse=True)[:limit])

    async def find(self, tenant: str, approval_id: str) -> tuple[Approval, int] | None:
        """The approval as it stands now, and the version of its row."""
        rows = await self._store.find(tenant, KIND, lookup=approval_id, limit=1)
        return (standing(_approval(rows[0]), self._clock.now()), rows[0].version) if rows else None

    async def card(self, tenant: str, approval: Approval) -> Card:
        """The card of an approval, with the arguments opened for the approver."""
        event = await self._first_decision(tenant, approval)
        arguments: Any = None
        if event is not None:
            try:
                plain = await self._vault.read(tenant, event, "arguments")
                arguments = msgspec.json.decode(plain) if plain is not None else None
            except SealError:
                arguments = None
        return Card(approval=approval, arguments=arguments, shown=shown(approval, arguments))

    async def answer(self, statement: Statement, text: str, asked: Trace) -> Approval | Refused:
        """Take a verified statement of a person; the approval as it stands afterwards, or why the answer does not count.

        Every refusal is recorded, as of the span `asked`. A statement for an approval of another tenant finds nothing.
        """
        tenant = self._snapshot.get(statement.tenant)
        person = tenant.directory.people.get(statement.approver) if tenant else None
        if tenant is None or person is None or not person.enabled:
            raise IdentityError("unknown_person", "the directory of the tenant does not hold this person, or disabled it")
        for _ in range(ATTEMPTS):
            found = await self.find(statement.tenant, statement.approval_id)
            if found is None:
                return await self._refuse(statement, Refused(code="approval_unknown", text="no such approval"), "", asked)
            approval, version = found
            now = self._clock.now()
            said = Answer(
                person=person.id, approve=statement.approve, at=now, roles=person.roles, reason=statement.reason, statement=text
            )
            moved = _mismatch(approval, statement) or answer(approval, said)
            if isinstance(moved, Approval) and statement.shown != (await self.card(statement.tenant, approval)).shown:
                moved = Refused(code="card_changed", text="the person saw another card: look at it again and answer anew")
            if isinstance(moved, Refused):
                return await self._refuse(statement, moved, approval.request_id, asked)
            event_id, waited = f"approval:{approval.approval_id}:{version}", Trace.continued(approval.traceparent)
            ended = moved.state is not ApprovalState.PENDING
            traced = waited.told if ended else asked.told
            event = record.approval_answer(moved, said, event_id=event_id, now=now, shown=statement.shown, traced=traced)
            receipt = await self._store.commit(
                Unit(
                    tenant=statement.tenant,
                    events=(event,),
                    writes=(put_approval(moved),),
                    requires=(Require(kind=KIND, id=approval.request_hash, version=version),),
                )
            )
            if isinstance(receipt, Committed):
                if ended:
                    self._spans.put(approval_span(waited, moved, now=now, event_id=event_id))
                return moved
        return Refused(code="approval_contended", text="others are answering at the same moment: try again")

    async def _refuse(self, statement: Statement, refused: Refused, request_id: str, asked: Trace) -> Refused:
        now = self._clock.now()
        event = record.refusal(
            statement.tenant,
            event_id=f"refusal:{ids.uuid7(now)}",
            now=now,
            request_id=request_id,
            agent_id=statement.approver,
            reason=refused.code,
            what=f"approval {statement.approval_id}",
            door="approvals",
            traced=asked.told,
        )
        await self._store.commit(Unit(tenant=statement.tenant, events=(event,)))
        return refused

    async def _first_decision(self, tenant: str, approval: Approval) -> str | None:
        """The event beside which the arguments of the held request are sealed: the one that named this approval."""
        for event in await self._store.events(tenant, request_id=approval.request_id, limit=100_000):
            if event.type == "decision" and msgspec.json.decode(event.body).get("approval_id") == approval.approval_id:
                return event.id
        return None


def shown(approval: Approval, arguments: Any) -> str:
    """Digest of what a person saw: the exact request and the terms, so that a card that changed voids the answer."""
    return sha256(
        b"aegis-card-v1\0",
        canon(
            {
                "approval_id": approval.approval_id,
                "tenant": approval.tenant,
                "agent_id": approval.agent_id,
                "tool": approval.tool,
                "request_hash": approval.request_hash,
                "expires_at": approval.expires_at.isoformat(),
                "arguments_seen": arguments is not None,
            }
        ),
    )


def _mismatch(approval: Approval, statement: Statement) -> Refused | None:
    if statement.request_hash != approval.request_hash:
        return Refused(code="approval_hash_mismatch", text="the statement is for another request")
    return None


def _approval(row: Row) -> Approval:
    return msgspec.json.decode(row.body, type=Approval)


def put_approval(approval: Approval) -> Put:
    """The row of an approval: found by request hash when the request returns, by approval id when a person answers."""
    return Put(
        kind=KIND,
        id=approval.request_hash,
        body=msgspec.json.encode(approval),
        state=str(approval.state),
        lookup=approval.approval_id,
        due=approval.expires_at,
    )
