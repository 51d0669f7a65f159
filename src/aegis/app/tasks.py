"""The part of a process by which agents get their tasks: functions, services, and workers that lease them."""

from collections.abc import Callable as Function
from datetime import datetime

from aegis.adapters.agent_endpoints import AgentEndpoints
from aegis.app.workflows import Workflows
from aegis.crypto.jwk import PrivateKey
from aegis.identity.verify import Verifier
from aegis.model.queue import Callable, Endpoint
from aegis.runtime.enforce import Gate
from aegis.runtime.runs.agents_endpoints import Endpoints
from aegis.runtime.runs.callables import Callables
from aegis.runtime.runs.credentials import TaskCredentials
from aegis.runtime.runs.leases import Leases
from aegis.runtime.runs.settling import Settling
from aegis.settings import Settings


class Tasks:
    """The running parts of tasks in one process. `signer` gives the key that signs tokens of a tenant."""

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        workflows: Workflows,
        verifier: Verifier,
        signer: Function[[str, datetime], PrivateKey],
    ) -> None:
        credentials = TaskCredentials(verifier, settings.gateway.audience, signer)
        self._http = AgentEndpoints()
        self.callables = Callables(gate, settings.workflows.modules)
        workflows.agents.serve(Callable, self.callables)
        workflows.agents.serve(Endpoint, Endpoints(self._http, credentials, gate.clock, settings.url))
        self.settling = Settling(workflows.runs, workflows.agents, gate.snapshot, workflows.misfit)
        self.leases = Leases(gate, credentials, self.settling)
        self.queues = workflows.queues

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.close()
