"""`make bench`: every bench, as a table and as JSON beside it. `python -m bench gateway` runs one; some that take long run by name only.

Medians and ratios are worth quoting; single latencies depend on the machine and on what else it does.
"""

import importlib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

BENCHES = ("decide", "policy", "identity", "store", "gateway", "exchange", "telemetry", "sealing", "halts", "approvals")
LONG = ("search", "evidence", "workflow", "engine")
"""Run by name only: they take long; the first two make a million events first."""
RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    return {
        "cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(psutil.virtual_memory().total / 2**30), "kernel": platform.release(),
        "python": platform.python_version(), "load_before": round(os.getloadavg()[0], 2), "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of one bench as a Markdown table."""
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "bench"))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += [
        "| " + " | ".join(str(row.get(name, "") if row.get(name) is not None else "") for name in columns) + " |" for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    wanted = sys.argv[1:] or list(BENCHES)
    found: dict[str, Any] = {"machine": machine()}
    print(f"machine: {found['machine']}\n")
    for name in wanted:
        rows = importlib.import_module(f"bench.{name}").run()
        found[name] = rows
        print(f"## {name}\n\n{table(rows)}\n", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(f"as JSON: {RESULTS.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
