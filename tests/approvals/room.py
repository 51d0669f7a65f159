"""A desk of approvals over a real store, with people, a hand-cranked clock and runs that ask."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.made_once import copy_keys
from tests.store.homes import START

from aegis.adapters.kekfiles import KekFiles
from aegis.identity.directory import parse_directory
from aegis.identity.token import Statement
from aegis.journal.store import Store
from aegis.model.approval import Approval, Refused
from aegis.model.decision import PolicyRef
from aegis.model.document import parse
from aegis.model.principal import Link, Principal
from aegis.runtime.approvals import Desk
from aegis.runtime.clock import Clock
from aegis.runtime.escalations import Escalations
from aegis.runtime.runs.consent import Consent
from aegis.runtime.spans import Spans
from aegis.runtime.tenant import Snapshot, Tenant
from aegis.runtime.trace import Trace
from aegis.runtime.vault import Vault
from aegis.workflow.graph import Action, ApprovalSpec, Escalation, Step, Workflow

DIRECTORY = """
apiVersion: aegis.directory/v1
kind: Directory
metadata: {tenant: acme}
spec:
  agents:
    agent:starter: {roles: [], scopes: ["*"]}
    agent:runner: {roles: [], scopes: ["*"]}
  people:
    person:alice: {roles: [lead]}
    person:bob: {roles: [lead]}
    person:carol: {roles: [clerk]}
    person:dora: {roles: [chief]}
    person:limit-guard: {roles: [limits], automatic: true}
"""
STARTER = Principal(tenant="acme", agent_id="agent:runner", subject="person:alice", chain=(Link(agent_id="agent:starter"),))
SHOWS = {"vendor": "initech", "amount": 1200}


def spec(**changed: Any) -> ApprovalSpec:
    return ApprovalSpec(**{"approver_sets": (("role:lead",),), "expires": timedelta(hours=4), **changed})


def workflow(terms: ApprovalSpec, digest: str = "sha256:d1") -> Workflow:
    plan = Step(id="plan", kind="agent", role="planner", act=Action(kind="agent", name="agent:planner"))
    ask = Step(id="ok", kind="approval", role="approver", needs=("plan",), approval=terms)
    return Workflow(
        name="purchase", version="1.0.0", tenant="acme", owner="o", run_as="agent:runner", steps=(plan, ask), digest=digest
    )


def escalating(minutes: int = 30, *approvers: str) -> Escalation:
    return Escalation(after=timedelta(minutes=minutes), approvers=approvers or ("role:chief",))


class Room:
    """Everything that an approval needs, for one tenant."""

    def __init__(self, store: Store, folder: Path) -> None:
        copy_keys(folder / "keys", ("acme",), ())
        self.offset = timedelta(0)
        self.store = store
        self.clock = Clock(lambda: START + self.offset)
        self.vault = Vault(store, KekFiles(folder / "keys"))
        self.tenant = Tenant(
            name="acme", directory=parse_directory(parse(DIRECTORY, source="directory.yaml")), contracts={}, by_digest={}, guards=(),
            policy=PolicyRef(), environment="test", redaction_key=b"k" * 32,
        )  # fmt: skip
        self.snapshot, self.spans = Snapshot({"acme": self.tenant}), Spans()
        self.desk, self.consent = self.another()
        self.told: list[Approval] = []
        self.desk.watch(self._hear)
        self.escalations = Escalations(store, self.clock, self.snapshot, self.desk, self.spans)

    def another(self) -> tuple[Desk, Consent]:
        """What another process has."""
        desk = Desk(self.store, self.vault, self.clock, self.snapshot, self.spans)
        return desk, Consent(self.store, self.vault, self.clock, desk)

    async def _hear(self, approval: Approval) -> None:
        self.told.append(approval)

    async def ask(
        self, terms: ApprovalSpec | None = None, *, run: str = "run_1", node: str = "ok", dispatch: int = 1, **more: Any
    ) -> Any:
        made = workflow(terms or spec(), more.pop("digest", "sha256:d1"))
        shows, who = more.pop("shows", SHOWS), more.pop("principal", STARTER)
        consent = more.pop("consent", self.consent)
        return await consent.ask(self.tenant, run, made, made.step("ok"), node, dispatch, shows, who, **more)

    async def find(self, approval_id: str) -> Approval:
        found = await self.desk.find("acme", approval_id)
        assert found is not None
        return found[0]

    async def answer(
        self, approval_id: str, person: str = "person:bob", *, approve: bool = True, **changed: Any
    ) -> Approval | Refused:
        approval = await self.find(approval_id)
        card = await self.desk.card("acme", approval)
        said = {
            "approval_id": approval_id, "tenant": "acme", "request_hash": approval.request_hash, "approve": approve,
            "shown": card.shown, "approver": person, "reason": "looked at it",
        }  # fmt: skip
        desk = changed.pop("desk", self.desk)
        return await desk.answer(Statement(**{**said, **changed}), "signed", Trace.continued(""))

    async def kinds(self, run: str = "run_1") -> list[str]:
        return [event.type for event in await self.store.events("acme", request_id=run, limit=1000)]
