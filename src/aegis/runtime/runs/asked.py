"""What an agent asks of a queue about a run, by calling `queue.NAME`: the same as at the routes of runs, by the same policy.

A call of one queue moves only what is in that queue: who may retry in `desk` may not retry in `payments`. Other arguments (`edit`)
and signals have values of their own, which the call of a queue has no place for: they go by the routes of runs.
"""

from collections.abc import Mapping
from typing import Any

from aegis.errors import UpstreamError
from aegis.model.queue import QueueContract
from aegis.runtime.runs.operating import By, Impossible, Operating, Wanted, queues

BY_CALL = ("retry", "requeue", "discard", "cancel")


class AskedOfQueues:
    """Answers such calls (`runtime.runs.queues.Others`)."""

    def __init__(self, operating: Operating) -> None:
        self._operating = operating

    async def ask(self, contract: QueueContract, said: Mapping[str, Any], by: str, request_id: str) -> str:
        """How the step stands after it, or the run.

        Raises:
            UpstreamError: It could not be done; nothing was.
        """
        wanted = _wanted(said)
        found = await self._operating.possible(contract.tenant, wanted)
        if isinstance(found, Impossible):
            raise _not(found.text)
        if others := [name for name in queues(found, wanted) if name != contract.queue]:
            raise _not(f"this is in queue `{others[0]}`, and queue `{contract.queue}` was called")
        moved = await self._operating.do(contract.tenant, wanted, By(name=by, request=request_id))
        if isinstance(moved, Impossible):
            raise _not(moved.text)
        node = moved.state.nodes.get(wanted.node)
        return str(node.state if node is not None else moved.flow.status)


def _wanted(said: Mapping[str, Any]) -> Wanted:
    action, run, node = (str(said.get(name, "")) for name in ("action", "run", "step"))
    if action not in BY_CALL:
        raise _not(f"`{action}` goes by the routes of runs, `POST /v1/runs/...`")
    if not run or bool(node) is (action == "cancel"):
        raise _not("expected `run`, and `step` for everything but `cancel`")
    return Wanted(action=action, run=run, node=node)  # type: ignore[arg-type]  # one of those that were looked at above


def _not(text: str) -> UpstreamError:
    return UpstreamError("run_conflict", text, sent=False)
