"""Runs of workflows for both clients: begin one, see where it stands, signal it, cancel it, do something about one of its steps.

    run = client.begin("procurement", {"article": "chairs"}, key="order-17")
    client.signal(run, "delivered", {"pallets": 2}, key="delivery-17")
    while client.run(run)["run"]["state"] not in ENDED: ...

To begin a run is to call the tool `workflow.NAME`: the same key begins it once. A signal has a key for the same reason.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aegis.sdk import exchange
from aegis.sdk.exchange import Called, Message

ENDED = frozenset({"succeeded", "failed", "compensated", "cancelled"})
"""The states in which nothing happens to a run any more; one that is `stuck` waits for a person."""


class Runs:
    """What `Client` does with runs."""

    @abstractmethod
    def _send(self, message: Message, *, again: bool) -> dict[str, Any]: ...

    @abstractmethod
    def call(self, tool: str, arguments: Mapping[str, Any], *, key: str = "") -> Called:
        """Call a tool."""

    def begin(self, workflow: str, given: Mapping[str, Any], *, key: str) -> str:
        """Begin a run of a workflow; its id, which is the same for the same key."""
        return str(self.call(f"workflow.{workflow}", given, key=key).result["run"])

    def submit(self, plan: str, given: Mapping[str, Any] | None = None, *, key: str) -> dict[str, Any]:
        """Submit a plan, the text of a definition; `run` is in the answer once the gates, and people where needed, let it pass."""
        return self._send(_submit(plan, given, key), again=True)

    def run(self, run: str, *, values: bool = False) -> dict[str, Any]:
        """A run step by step; with inputs and outputs if they are asked for, which is recorded."""
        return self._send(_one(run, values=values), again=True)

    def runs(self, **wanted: Any) -> dict[str, Any]:
        """Runs, newest first: by `workflow`, `state`, `limit`, and `after` for the next page."""
        return self._send(_listed(wanted), again=True)

    def signal(self, run: str, name: str, payload: Any = None, *, key: str, **signed: str) -> dict[str, Any]:
        """Tell a run that what a step waits for has happened; the same key is the same signal. A person adds what they signed."""
        return self._send(_signal(run, name, payload, key, signed), again=True)

    def operate(self, run: str, action: str, *, node: str = "", **said: Any) -> dict[str, Any]:
        """`cancel` a run, or `retry`, `requeue`, `edit`, `discard`, `settle` one of its steps, with a `reason`."""
        return self._send(_operate(run, action, node, said), again=False)


class AsyncRuns:
    """The same for asyncio."""

    @abstractmethod
    async def _send(self, message: Message) -> dict[str, Any]: ...

    @abstractmethod
    async def call(self, tool: str, arguments: Mapping[str, Any], *, key: str = "") -> Called:
        """Call a tool."""

    async def begin(self, workflow: str, given: Mapping[str, Any], *, key: str) -> str:
        """As `Runs.begin`."""
        return str((await self.call(f"workflow.{workflow}", given, key=key)).result["run"])

    async def submit(self, plan: str, given: Mapping[str, Any] | None = None, *, key: str) -> dict[str, Any]:
        """As `Runs.submit`."""
        return await self._send(_submit(plan, given, key))

    async def run(self, run: str, *, values: bool = False) -> dict[str, Any]:
        """As `Runs.run`."""
        return await self._send(_one(run, values=values))

    async def runs(self, **wanted: Any) -> dict[str, Any]:
        """As `Runs.runs`."""
        return await self._send(_listed(wanted))

    async def signal(self, run: str, name: str, payload: Any = None, *, key: str, **signed: str) -> dict[str, Any]:
        """As `Runs.signal`."""
        return await self._send(_signal(run, name, payload, key, signed))

    async def operate(self, run: str, action: str, *, node: str = "", **said: Any) -> dict[str, Any]:
        """As `Runs.operate`."""
        return await self._send(_operate(run, action, node, said))


def _submit(plan: str, given: Mapping[str, Any] | None, key: str) -> Message:
    return exchange.ask("/v1/plans", {"plan": plan} | ({"input": dict(given)} if given is not None else {}), key=key)


def _one(run: str, *, values: bool) -> Message:
    return exchange.get(f"/v1/runs/{quote(run, safe='')}" + ("?values=true" if values else ""))


def _listed(wanted: Mapping[str, Any]) -> Message:
    asked = "&".join(f"{name}={value}" for name, value in wanted.items() if value)
    return exchange.get("/v1/runs" + (f"?{asked}" if asked else ""))


def _signal(run: str, name: str, payload: Any, key: str, signed: Mapping[str, str]) -> Message:
    body = {"name": name, "key": key, "payload": payload} | {what: value for what, value in signed.items() if value}
    return exchange.ask(f"/v1/runs/{quote(run, safe='')}/signal", body)


def _operate(run: str, action: str, node: str, said: Mapping[str, Any]) -> Message:
    path = f"/v1/runs/{quote(run, safe='')}/" + (f"steps/{quote(node, safe='~')}/" if node else "")
    return exchange.ask(path + quote(action, safe=""), {name: value for name, value in said.items() if value is not None})
