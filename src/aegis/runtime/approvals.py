"""The approvals desk: what is asked of people, what they see, and what their answer does.

An answer is a statement signed with the person's own key. It is checked here, whatever door it came through, and recorded with the
statement itself, so that nobody needs to take our word for who approved. A guardrail answers in the same way as a person does.

Whoever waits for an approval is told when it ends: watchers of this process at once, other processes by the row `wake`.
"""

import logging
from collections.abc import Awaitable, Callable, Collection
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
from aegis.journal.unit import Committed, Require, Unit
from aegis.model.approval import Answer, Approval, ApprovalState, Refused, answer
from aegis.model.approval import at as standing
from aegis.model.decision import ApprovalTerms, Decision
from aegis.model.event import instant
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.runtime import approval_rows, ids, record
from aegis.runtime.approval_rows import DUE, KIND, LIST, RUN_PREFIX
from aegis.runtime.clock import Clock
from aegis.runtime.runs.flow import FLOW, read_flow
from aegis.runtime.spanning import approval_span
from aegis.runtime.spans import Spans
from aegis.runtime.tenant import Snapshot
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault

log = logging.getLogger("aegis.approvals")

ATTEMPTS = 8
PAGE = 100
ABOVE = 16
"""How many runs, each started by the one above it, are looked at for who gave them values."""
Watcher = Callable[[Approval], Awaitable[None]]


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
        run=principal.txn if principal.txn.startswith(RUN_PREFIX) else "",
    )


def reachable(terms: ApprovalTerms | None, directory: Directory, principal: Principal) -> bool:
    """Whether the people of the directory could satisfy these terms. Without a possible approver the answer is deny, at once."""
    if terms is None or not terms.approver_sets:
        return False
    barred = {principal.agent_id, principal.subject, *(link.agent_id for link in principal.chain)} if terms.not_requester else set()
    return answerable(terms.approver_sets, terms.quorum, directory, barred)


def answerable(groups: tuple[tuple[str, ...], ...], quorum: int, directory: Directory, barred: Collection[str]) -> bool:
    """Whether the people of the directory could satisfy these approver sets without those who are `barred`."""
    people = [person for person in directory.people.values() if person.enabled and person.id not in barred]

    def entitled(group: tuple[str, ...]) -> set[str]:
        return {person.id for person in people if person.id in group or any(f"role:{role}" in group for role in person.roles)}

    found = [entitled(group) for group in groups]
    return bool(found) and all(found) and len(set().union(*found)) >= quorum


class Desk:
    """Lists what waits, shows one card, takes answers."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, snapshot: Snapshot, spans: Spans) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._snapshot = snapshot
        self._spans = spans

        self._watchers: list[Watcher] = []

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` of every approval that has ended, or that more people may answer, once that is recorded."""
        self._watchers.append(watcher)

    async def tell(self, approval: Approval) -> None:
        """Tell the watchers. What one of them cannot do now it finds again by the row `wake`."""
        for watcher in self._watchers:
            try:
                await watcher(approval)
            except Exception:
                log.exception("a watcher failed", extra={"tenant": approval.tenant, "approval_id": approval.approval_id})

    async def listed(
        self, tenant: str, state: ApprovalState | None = None, limit: int = 200, after: str = ""
    ) -> tuple[Approval, ...]:
        """Approvals of the tenant, newest first, as they stand now: those that were asked before the approval `after`.

        `expired` shows those nobody answered in time. The cost is that of what is shown, however many wait.
        """
        since = await self._place(tenant, after)
        found = await self._paged(tenant, state, limit, since)
        if state is not ApprovalState.EXPIRED:
            return tuple(found)
        # What nobody has recorded as expired yet still stands among what waits.
        late = [each for each in await self._overdue(tenant) if approval_rows.place(each) > since]
        known = {each.approval_id for each in found}
        found += [each for each in late if each.approval_id not in known]
        return tuple(sorted(found, key=approval_rows.place)[:limit])

    async def _place(self, tenant: str, approval_id: str) -> str:
        """Where a page that follows this approval begins."""
        found = await self.find(tenant, approval_id) if approval_id else None
        return approval_rows.place(found[0]) if found else ""

    async def _paged(self, tenant: str, state: ApprovalState | None, limit: int, after: str) -> list[Approval]:
        found: list[Approval] = []
        stored = None if state is None else str(state)
        while len(found) < limit:
            page = min(PAGE, limit - len(found))
            places = await self._store.find(tenant, LIST, state=stored, after=after, limit=page)
            approvals = await self._read(tenant, {row.id: row.lookup for row in places})
            found += [each for each in approvals if state in (None, each.state)]
            if len(places) < page:
                break
            after = places[-1].id
        return found

    async def _overdue(self, tenant: str) -> list[Approval]:
        found: list[Approval] = []
        now, after = instant(self._clock.now()), ""
        while places := await self._store.find(tenant, DUE, after=after, limit=PAGE):
            due = [row for row in places if row.id.partition("\x1f")[0] <= now]
            standing = await self._read(tenant, {row.id: row.lookup for row in due})
            found += [each for each in standing if each.state is ApprovalState.EXPIRED]
            if len(due) < PAGE:
                break
            after = places[-1].id
        return found

    async def _read(self, tenant: str, hashes: dict[str, str]) -> list[Approval]:
        """The approvals with these request hashes, by the ids of the rows that led to them; not those that others have followed."""
        read = await self._store.rows(tenant, [(KIND, each) for each in hashes.values()])
        rows = [(place, read.get((KIND, each))) for place, each in hashes.items()]
        now = self._clock.now()
        found = [(place, standing(approval_rows.read(row), now)) for place, row in rows if row is not None]
        return [approval for place, approval in found if place.endswith(f"\x1f{approval.approval_id}")]

    async def find(self, tenant: str, approval_id: str) -> tuple[Approval, int] | None:
        """The approval as it stands now, and the version of its row."""
        rows = await self._store.find(tenant, KIND, lookup=approval_id, limit=1) if approval_id else ()
        return (standing(approval_rows.read(rows[0]), self._clock.now()), rows[0].version) if rows else None

    async def card(self, tenant: str, approval: Approval) -> Card:
        """The card of an approval, with the arguments opened for the approver."""
        event = approval.step.event if approval.step else await self._first_decision(tenant, approval)
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
                person=person.id, approve=statement.approve, at=now, roles=person.roles, reason=statement.reason, statement=text,
                automatic=person.automatic,
            )  # fmt: skip
            moved = _mismatch(approval, statement) or await self._own(approval, said) or answer(approval, said)
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
                    writes=(*approval_rows.rows(moved, approval), *(approval_rows.woken(moved) if ended else ())),
                    requires=(Require(kind=KIND, id=approval.request_hash, version=version),),
                )
            )
            if isinstance(receipt, Committed):
                if ended:
                    self._spans.put(approval_span(waited, moved, now=now, event_id=event_id))
                    await self.tell(moved)
                return moved
        return Refused(code="approval_contended", text="others are answering at the same moment: try again")

    async def _own(self, approval: Approval, said: Answer) -> Refused | None:
        """Why a person may not answer for a run to which they gave values themselves: by a signal, or by editing a step."""
        run, turns = approval.run if approval.not_requester else "", ABOVE
        while run and turns:
            row = (await self._store.rows(approval.tenant, [(FLOW, run)])).get((FLOW, run))
            flow = read_flow(row) if row else None
            if flow is not None and said.person in flow.hands:
                return Refused(code="self_approval", text="who gave values to the run may not answer for it")
            run, turns = flow.above.run if flow and flow.above else "", turns - 1
        return None

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
            if event.type not in ("decision", "plan_submitted"):
                continue
            if msgspec.json.decode(event.body).get("approval_id") == approval.approval_id:
                return event.id
        return None


def shown(approval: Approval, arguments: Any) -> str:
    """Digest of what a person saw: the exact request and the terms, so that a card that changed voids the answer."""
    card: dict[str, Any] = {
        "approval_id": approval.approval_id,
        "tenant": approval.tenant,
        "agent_id": approval.agent_id,
        "tool": approval.tool,
        "request_hash": approval.request_hash,
        "expires_at": approval.expires_at.isoformat(),
        "arguments_seen": arguments is not None,
    }
    if approval.run:
        card["run"] = approval.run
    if approval.step:
        card["step"] = msgspec.to_builtins(approval.step)
    if approval.findings:
        card["findings"] = list(approval.findings)
    return sha256(b"aegis-card-v1\0", canon(card))


def _mismatch(approval: Approval, statement: Statement) -> Refused | None:
    if statement.request_hash != approval.request_hash:
        return Refused(code="approval_hash_mismatch", text="the statement is for another request")
    return None
