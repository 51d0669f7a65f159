"""An agent of the cast: a process that holds its own token or its own key and nothing else, and calls tools through the gateway.

Reads one JSON object a line (what to do) and writes one a line (what came of it). `do` is `call`, or for an agent with a key also
`delegate`, `take_up` and `end`.
"""

import json
import os
import sys
from datetime import timedelta
from functools import partial
from typing import Any

from aegis.errors import AegisError, ApprovalPending, GatewayError, PolicyViolation
from aegis.sdk.agent import Agent
from aegis.sdk.client import Client


def attempt(client: Client, asked: dict[str, Any]) -> dict[str, Any]:
    """Call once; what came of it, as data."""
    parent = tuple(asked["parent"]) if "parent" in asked else None
    try:
        done = client.call(
            asked["tool"], asked["arguments"], key=asked.get("key", ""), wait=timedelta(seconds=asked.get("wait", 0)), parent=parent
        )
    except PolicyViolation as refused:
        return {"ended": "denied", "problem": refused.problem}
    except ApprovalPending as held:
        return {"ended": "held", "approval_id": held.approval_id, "problem": held.problem}
    except GatewayError as refused:
        return {"ended": "refused", "problem": refused.problem, "text": str(refused)}
    except AegisError as error:
        return {"ended": "refused", "problem": {}, "text": str(error)}
    return {
        "ended": "done",
        "decision": done.decision,
        "request_id": done.request_id,
        "result": done.result,
        "repeated": done.repeated,
        "approval_id": done.approval_id,
    }


class Keyed:
    """An agent with a key of its own: it gets its tokens by itself, hands tasks down, and takes up those handed to it."""

    def __init__(self, url: str, agent_id: str) -> None:
        self._url = url
        self._agent = Agent(url, agent_id, tenant=os.environ["AEGIS_TENANT"], key=os.environ["AEGIS_KEY"], bound=True)
        self.client = Client(url, self._agent, timeout=timedelta(seconds=15))

    def do(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One thing that an agent with a key can do."""
        try:
            return self._done(asked)
        except PolicyViolation as refused:
            return {"ended": "denied", "problem": refused.problem}
        except AegisError as error:
            return {"ended": "refused", "problem": getattr(error, "problem", None) or {}, "text": str(error)}

    def _done(self, asked: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {"ended": "done", "decision": "allow", "repeated": False, "approval_id": "", "result": {}}
        match asked["do"]:
            case "delegate":
                handed = self._agent.delegate(asked["to"], tools=asked["tools"], task=asked.get("task", ""))
                return found | {"delegation": handed.delegation, "request_id": handed.request_id}
            case "take_up":
                self._agent = self._agent.take_up(asked["delegation"])
                self.client = Client(self._url, self._agent, timeout=timedelta(seconds=15))
                return found
            case "end":
                self._agent.end(asked["request_id"])
                return found
        return attempt(self.client, asked)


def main() -> None:
    """Serve the lines of standard input."""
    url = os.environ["AEGIS_URL"]
    if "AEGIS_KEY" in os.environ:
        act = Keyed(url, os.environ["AEGIS_AGENT"]).do
    else:
        client = Client(url, os.environ["AEGIS_TOKEN"], timeout=timedelta(seconds=15))
        act = partial(attempt, client)
    for text in sys.stdin:
        print(json.dumps(act(json.loads(text))), flush=True)  # noqa: T201 - the answer, for who asked


if __name__ == "__main__":
    main()
