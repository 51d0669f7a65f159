"""One run of each kind, and what has to be done from outside so that it ends: people answer, workers work, signals come."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx

from aegis.runtime.runs.histories import Loaded
from aegis.workflow.run import NodeState
from faults.runs import HEAD, definition
from runs.flows import Flows

PAY = (
    "    {id}: {{role: executor, needs: [{needs}], queue: limited, tool: pay.honours@1, args: {{amount: 3}},"
    " retry: {{attempts: 5, backoff: 20ms}}, compensate: {{none: the last}}}}\n"
)


def _flow(name: str, steps: str, needs: str) -> str:
    return HEAD.replace("NAME", name) + steps + PAY.format(id="paid", needs=needs)


SCENES = {
    # The policy denies what is above 5000, so the last step fails for good and everything before it is undone.
    "saga": definition(
        "saga", [("a", "", "pay.honours", "1", "pay.ask"), ("b", "a", "pay.ask", "2", "pay.honours"), ("c", "b", "pay.honours", "$input.amount", "")]
    ),
    "asks": _flow("asks", "    ok: {role: approver, approval: {approvers: ['role:lead'], quorum: 2, shows: {amount: $input.amount}}}\n", "ok"),
    "held": HEAD.replace("NAME", "held") + PAY.format(id="paid", needs="").replace("needs: [], ", "").replace("amount: 3", "amount: 1500"),
    "times": _flow(
        "times",
        "    go: {role: executor, wait: {signal: go, timeout: 1h}}\n    nap: {role: executor, needs: [go], wait: {for: 1s}}\n",
        "nap",
    ),
    "above": _flow(
        "above", "    inner: {role: executor, workflow: below@1, input: {amount: $input.amount}, compensate: {none: a test}}\n", "inner"
    ),
    "here": _flow(
        "here",
        "    find: {role: executor, agent: agent:payer, queue: limited, input: {amount: 1}, retry: {attempts: 5, backoff: 20ms},"
        " compensate: {tool: pay.ask@1, args: {amount: 1}}}\n",
        "find",
    ),
    "away": _flow(
        "away",
        "    find: {role: executor, agent: agent:payer, queue: away, input: {amount: 1}, retry: {attempts: 5, backoff: 20ms},"
        " compensate: {tool: pay.ask@1, args: {amount: 1}}}\n",
        "find",
    ),
}  # fmt: skip
BELOW = definition("below", [("a", "", "pay.honours", "1", ""), ("b", "a", "pay.ask", "2", "")])
PEOPLE = ("person:alice", "person:bob")


@dataclass
class Outside:
    """People, workers and whoever sends signals. They try again until it was taken, and do not mind saying a thing twice."""

    world: Flows
    url: str
    http: httpx.AsyncClient

    async def look(self, loaded: Loaded) -> None:
        """Do what the run waits for, if anything."""
        for node, known in loaded.state.nodes.items():
            if known.state is NodeState.HELD:
                for person in PEOPLE:
                    await self._approve(known.approval_id, person)
            elif node == "go" and known.state is NodeState.WAITING:
                await self._signal(loaded.flow.run)
            elif known.state is NodeState.OFFERED and loaded.flow.workflow == "away":
                await self._work()

    async def begin(self, name: str, key: str) -> str:
        """The run that was begun under this key; empty when nobody answered."""
        answer = await self._post(
            f"/v1/tools/workflow.{name}/call",
            {"arguments": {"amount": 6000 if name == "saga" else 1}},
            self.world.token(),
            **{"idempotency-key": key},
        )
        return str(answer["result"]["run"]) if answer and "result" in answer else ""

    async def _approve(self, approval_id: str, person: str) -> None:
        token = self.world.person_token(person)
        try:
            told = await self.http.get(f"{self.url}/v1/approvals/{approval_id}", headers={"authorization": f"Bearer {token}"})
        except httpx.HTTPError:
            return
        if told.status_code == 200:
            said = self.world.statement(told.json(), person)
            await self._post(f"/v1/approvals/{approval_id}/answer", {"statement": said}, token)

    async def _signal(self, run: str) -> None:
        token = self.world.token()
        await self._post(
            f"/v1/runs/{run}/signal", {"name": "go", "key": "1", "payload": {}}, token, **{"idempotency-key": f"go-{run}"}
        )

    async def _work(self) -> None:
        token = self.world.token("agent:payer")
        leased = await self._post("/v1/queues/away/lease", {}, token)
        task = leased.get("task") if leased else None
        if task is None:
            return
        given = task["credential"]
        named = {name: given[name] for name in ("parent_agent_id", "parent_request_id")}
        for _ in range(100):  # the worker outlives gateways
            paid = await self._post(
                "/v1/tools/pay.honours/call", {"arguments": {"amount": 1}, **named}, given["token"],
                **{"idempotency-key": task["key_prefix"] + "pay"},
            )  # fmt: skip
            done = paid and await self._post(f"/v1/tasks/{task['task_id']}/complete", {"lease": task["lease"], "output": 1}, token)
            if done:
                return
            await asyncio.sleep(0.1)

    async def _post(self, path: str, body: Any, token: str, **headers: str) -> dict[str, Any]:
        """What was answered with success; nothing otherwise."""
        try:
            answer = await self.http.post(self.url + path, json=body, headers={"authorization": f"Bearer {token}", **headers})
        except httpx.HTTPError:
            return {}
        self.last = answer.text if answer.status_code >= 300 else ""
        return dict(answer.json()) if answer.status_code < 300 else {}
