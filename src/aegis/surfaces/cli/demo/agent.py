"""An agent of the cast: a process that holds its own token and nothing else, and calls tools through the gateway.

Reads one JSON object a line (what to call) and writes one a line (what came of it).
"""

import json
import os
import sys
from datetime import timedelta
from typing import Any

from aegis.errors import AegisError, ApprovalPending, GatewayError, PolicyViolation
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


def main() -> None:
    """Serve the lines of standard input."""
    client = Client(os.environ["AEGIS_URL"], os.environ["AEGIS_TOKEN"], timeout=timedelta(seconds=15))
    for text in sys.stdin:
        print(json.dumps(attempt(client, json.loads(text))), flush=True)  # noqa: T201 - the answer, for who asked


if __name__ == "__main__":
    main()
