"""The part of a process that runs workflows: definitions, the orchestrator, its engine, and those who do the work."""

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from aegis.adapters import catalogue, trust
from aegis.adapters.workflows import FOLDER, load
from aegis.app.engines import engine_of
from aegis.app.plans import view_of
from aegis.errors import ConfigError, StoreError
from aegis.identity.keyset import KeySet
from aegis.model.document import parse
from aegis.model.event import SYSTEM_TENANT
from aegis.model.workflow_contract import WorkflowContract
from aegis.runtime.enforce import Gate
from aegis.runtime.engine import Engine, Lane
from aegis.runtime.runs.acting import Acting
from aegis.runtime.runs.agents import Agents
from aegis.runtime.runs.asked import AskedOfQueues
from aegis.runtime.runs.consent import Consent
from aegis.runtime.runs.dead import DeadLetters
from aegis.runtime.runs.executors import Executors
from aegis.runtime.runs.flow import DEFINITION
from aegis.runtime.runs.histories import Histories
from aegis.runtime.runs.lanes import lanes
from aegis.runtime.runs.operating import Operating
from aegis.runtime.runs.orchestrator import Orchestrator
from aegis.runtime.runs.queues import Queues
from aegis.runtime.runs.reading_runs import Runs
from aegis.runtime.runs.starting import Starting
from aegis.runtime.runs.sweep import Sweep
from aegis.runtime.runs.tracing import Tracing
from aegis.runtime.runs.waking import Waking
from aegis.runtime.tenant import Tenant
from aegis.settings import Settings
from aegis.workflow.checks import check
from aegis.workflow.definitions import Definitions
from aegis.workflow.graph import Step, Workflow
from aegis.workflow.reading import workflow

TIDY_SECONDS = 10.0


class Workflows:
    """The running parts of workflows in one process. `keys` gives those that may have signed a definition."""

    def __init__(self, settings: Settings, gate: Gate, keys: Callable[[], KeySet], engine: Engine | None = None) -> None:
        self._tenants = settings.tenants
        self._store = gate.store
        self._texts: dict[tuple[str, str], tuple[Workflow, str]] = {}
        self._files: dict[tuple[str, str], Path] = {}
        self._checked: dict[tuple[str, str], tuple[tuple[object, ...], str]] = {}
        self._keys = keys
        self._clock = gate.clock
        self._known: dict[str, Definitions] = {}
        self._snapshot = gate.snapshot
        self._lanes: tuple[Lane, ...] = ()
        self._tidy_at = 0.0
        self.engine: Engine = engine or engine_of(settings, gate.instance)
        self.histories = Histories(gate.store, gate.vault, read_definition)
        self.runs = Orchestrator(
            store=gate.store,
            vault=gate.vault,
            clock=gate.clock,
            engine=self.engine,
            histories=self.histories,
            instance=gate.instance,
            most=settings.workflows.in_flight,
        )
        self.agents = Agents(gate, {})
        self.queues = Queues(gate.store, gate.clock)
        self.consent = Consent(gate.store, gate.vault, gate.clock, gate.desk)
        self.acting = Acting(gate, self.runs, self.agents, self.consent)
        self.runs.doer = self.acting
        self.acting.fits = self.misfit
        self.waking = Waking(self.runs, gate, self.acting)
        self.executors = Executors(gate.store, gate.instance, lease_seconds=float(settings.workflows.lease_seconds))
        self.sweep = Sweep(self.runs, self.acting, self.executors, self.waking, gate.snapshot)
        self.spans = Tracing(gate.spans)
        self.runs.issuing = self.spans.issued
        self.runs.watch(self.spans.moved)
        self.starting = Starting(self.runs, self.definition)
        self.reading = Runs(gate.store, self.histories)
        self.operating = Operating(self.runs)
        self.queues.others = AskedOfQueues(self.operating)
        self.dead = DeadLetters(gate.store, self.histories)
        self._desk = gate.desk

    async def start(self) -> None:
        """Begin to serve what the engine hands in; what an earlier process left is found by the first sweep.

        Only who serves moves a run on when people have answered: a command that takes an answer ends at once; its `wake` is found.
        """
        self._desk.watch(self.waking.answered)
        self.runs.places.serving = True
        await self.executors.beat()
        await self.follow()

    async def follow(self) -> None:
        """Serve the queues that tenants have now. Where nobody has a workflow, the engine is not even started."""
        tenants = list(self._snapshot)
        if not self._lanes and not any(_runs(tenant) for tenant in tenants):
            return
        wanted, self.runs.places.lanes = lanes(tenants)
        if wanted != self._lanes:
            await self.engine.start(wanted, self.runs.serve)
            self._lanes = wanted
        if monotonic() >= self._tidy_at:
            self._tidy_at = monotonic() + TIDY_SECONDS
            await self.engine.tidy()

    async def stop(self) -> None:
        """Let what is under way end, and tell the others that this process is gone."""
        await self.runs.stop()
        await self.executors.leave()

    async def definition(self, tenant: str, digest: str) -> tuple[Workflow, str]:
        """A definition of a tenant with its document, from its folder, or from the store if a run was started on it before.

        Raises:
            StoreError: Neither holds it.
            ConfigError: `trust.yaml` demands of its file what that is not, or there are errors in it.
        """
        if (tenant, digest) not in self._texts:
            self._read_folder(tenant)
        self._vouch(tenant, digest)
        self._sound(tenant, digest)
        found = self._texts.get((tenant, digest))
        if found is None:
            row = (await self._store.rows(tenant, [(DEFINITION, digest)])).get((DEFINITION, digest))
            if row is None:
                raise StoreError("the definition that this contract names is neither in the tenant's folder nor in the store")
            text = msgspec.json.decode(row.body, type=str)
            found = self._texts[tenant, digest] = (read_definition(text, digest), text)
        return found

    def _sound(self, tenant: str, digest: str) -> None:
        """Refuse to begin what `aegis workflow validate` finds errors in, as the tenant stands at this moment."""
        found, now = self._texts.get((tenant, digest)), self._snapshot.get(tenant)
        if found is None or now is None:
            return
        stands = (now.by_digest, now.directory, now.enforced, self._data(tenant))
        known = self._checked.get((tenant, digest))
        if known is None or any(one is not other for one, other in zip(known[0], stands, strict=True)):
            wrong = [each for each in check(found[0], view_of(now, self._data(tenant))) if each.level == "error"]
            known = self._checked[tenant, digest] = (stands, "; ".join(f"{each.place}: {each.code}" for each in wrong[:3]))
        if known[1]:
            raise ConfigError(f"{known[1]}; `aegis workflow validate` says what to do")

    def misfit(self, tenant: str, step: Step, value: Any) -> str:
        """Where an output does not fit what its step says that it gives; empty when it fits."""
        if not step.output:
            return ""
        schema = self._data(tenant).output_schema(step)
        if schema is None:
            return f"no contract of data `{step.output}` lies in the folder `data` of this tenant"
        found = schema.check(value)
        return f"the output does not fit `{step.output}`: {found[0].path or '/'}: {found[0].text}" if found else ""

    def _data(self, tenant: str) -> Definitions:
        known = self._known.get(tenant)
        if known is None:
            known = self._known[tenant] = load(self._tenants / tenant, tenant)
        return known

    def _read_folder(self, tenant: str) -> None:
        self._known.pop(tenant, None)
        for path in catalogue.documents(self._tenants / tenant / FOLDER):
            text = catalogue.read(path)
            try:
                made = workflow(parse(text, source=str(path)))
            except ConfigError:
                continue  # whoever loads the tenant's contracts is told; other definitions still serve
            if made.tenant == tenant != SYSTEM_TENANT:
                self._texts[tenant, made.digest] = (made, text)
                self._files[tenant, made.digest] = path

    def _vouch(self, tenant: str, digest: str) -> None:
        """Hold a definition against `trust.yaml`, as it stands at this moment."""
        home, path = self._tenants / tenant, self._files.get((tenant, digest))
        if path is None or not (home / trust.FILE).exists():
            return
        pinned = trust.load(home, tenant).artifact(path.relative_to(home).as_posix())
        if pinned is None:
            return
        _, _, problem = trust.artifact_problems(home, tenant, pinned, self._keys(), self._clock.now())
        if problem:
            raise ConfigError(f"{path}: {problem}")


def read_definition(text: str, digest: str) -> Workflow:
    """A definition from the document that was kept of it.

    Raises:
        ConfigError: It is not what its digest says, or this version cannot read it.
    """
    made = workflow(parse(text, source=f"definition {digest[:19]}"))
    if made.digest != digest:
        raise ConfigError(f"the document that is kept as definition {digest[:19]} is another one")
    return made


def _runs(tenant: Tenant) -> bool:
    return any(isinstance(contract, WorkflowContract) for contract in tenant.contracts.values())
