"""How services do: `GET /services/NAME`. It sees what was really rolled out and restarted, in the ledger of deployments."""

import json
import os
from pathlib import Path
from typing import Any

from service import Asked, Ledger, Reply, serve

BAD, GOOD = "v42", "v41"


def answer(asked: Asked, _: Ledger) -> Reply:
    """Errors, memory and version of a service, now."""
    match asked.method, asked.path:
        case "GET", ("services", name):
            return 200, reading(name, happened(name))
    return 404, {"error": "no such path"}


def happened(name: str) -> list[dict[str, Any]]:
    """What was done to a service so far."""
    path = Path(os.environ["LEDGER"]).with_name("deploy.jsonl")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    return [line for line in lines if line.get("service") == name]


def reading(name: str, done: list[dict[str, Any]]) -> dict[str, Any]:
    """`search` leaks until it is restarted, `checkout` fails in its newest version, and `ledger` fails whatever is done."""
    version = next((line["version"] for line in reversed(done) if "version" in line), BAD)
    leaks = name == "search" and not any(line["what"] == "restart" for line in done)
    burns = leaks or name == "ledger" or (name == "checkout" and version == BAD)
    return {"error_percent": 38 if burns else 0, "memory_percent": 97 if leaks else 41, "version": version, "previous": GOOD}


if __name__ == "__main__":
    serve(answer)
