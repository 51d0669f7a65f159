"""A fleet of bots over three shared queues; some are killed in between, and no work is lost or done twice.

    python examples/fleet/run.py                          # 40 bots, 400 tasks, 3 kills
    python examples/fleet/run.py --bots 8 --tasks 40      # the same, small

Each bot is a worker over HTTP with a token of its own; five share a process, so a kill takes five at once, wherever they are. The
ledger of the warehouse tells what was really done. Exit code 0 only when each task was done exactly once.
"""

import sys
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))

from stage import PATIENCE_SECONDS, Stage, ends_cleanly, expect, staged, tell

from aegis.sdk.client import Client
from aegis.sdk.runs import ENDED

WORK = {"counter": ("aisle", "count"), "labeller": ("bench", "label"), "packer": ("bench", "pack"), "shipper": ("dock", "ship")}
MOST = {"count": 8, "label": 16, "pack": 16, "ship": 4}
SHELVES = 10


def main() -> int:
    """The story; 0 when the ledger tells the same."""
    asked = ArgumentParser(description="a fleet of bots over three shared queues")
    asked.add_argument("--bots", type=int, default=40, help="how many, a multiple of four")
    asked.add_argument("--tasks", type=int, default=400, help="how many, a multiple of 40")
    asked.add_argument("--kills", type=int, default=3, help="how many processes of bots are killed meanwhile")
    asked.add_argument("--store", default="", help="a postgresql:// URL, instead of SQLite")
    asked.add_argument("--keep", type=Path, help="work in this directory, and leave everything there")
    given = asked.parse_args()
    ends_cleanly()
    with staged(Path(__file__).parent, store=given.store, keep=given.keep) as stage:
        return 0 if story(stage, bots=given.bots, tasks=given.tasks, kills=given.kills) else 1


def story(stage: Stage, *, bots: int, tasks: int, kills: int) -> bool:
    """Every task, done once."""
    stage.service("floor", 9321)
    stage.open()
    fleet = Fleet(stage, bots)
    tell(f"A warehouse, a gateway, {bots} bots in {len(fleet.names)} processes, three queues.", indent=0)
    began = time.monotonic()
    with stage.client("agent:foreman") as foreman:
        runs = begin(foreman, tasks)
        for number in range(kills):
            fleet.lose_one(await_done(stage, (number + 1) * tasks // (kills + 1)))
        ended = [await_end(foreman, run) for run in runs]
    again = sum(step.get("dispatch", 0) > 1 for known in ended for step in known["steps"])
    tell(f"{tasks} tasks in {time.monotonic() - began:.0f} s; {again} were taken from bots that died, and handed out again")
    states = Counter(str(known["state"]) for known in ended)
    return expect(f"runs: {dict(states)}", states == {"succeeded": len(runs)}) and agree(stage, tasks)


class Fleet:
    """The processes with bots."""

    def __init__(self, stage: Stage, bots: int) -> None:
        self._stage = stage
        self._each = max(1, min(5, bots // len(WORK)))
        self._started = 0
        self._kinds: dict[str, str] = {}
        for _ in range(max(1, bots // self._each // len(WORK))):
            for kind in WORK:
                self._start(kind)

    @property
    def names(self) -> tuple[str, ...]:
        """The processes that live, the oldest first."""
        return tuple(self._kinds)

    def lose_one(self, work: str) -> None:
        """Kill the oldest process that does such work, in the middle of its tasks, and start another."""
        name = next(name for name, kind in self._kinds.items() if WORK[kind][1] == work)
        self._stage.kill(name)
        kind = self._kinds.pop(name)
        tell(f"killed {self._each} bots of agent:{kind}; others come")
        self._start(kind)

    def _start(self, kind: str) -> None:
        self._started += 1
        queue, work = WORK[kind]
        given = {"QUEUE": queue, "WORK": work, "BOTS": str(self._each)}
        self._kinds[self._stage.agent("bots", f"agent:{kind}", number=self._started, **given)] = kind


def begin(foreman: Client, tasks: int) -> list[str]:
    """Runs of ten shelves each, which is four tasks for a shelf."""
    shelves = [f"shelf-{number:03d}" for number in range(tasks // len(WORK))]
    parts = [shelves[at : at + SHELVES] for at in range(0, len(shelves), SHELVES)]
    return [foreman.begin("restock", {"shelves": part}, key=f"shift-{number}") for number, part in enumerate(parts)]


def await_done(stage: Stage, wanted: int) -> str:
    """Until so much work is in the ledger: the kind that was done last, whose bots have hardly said so yet."""
    end = time.monotonic() + PATIENCE_SECONDS
    while len(done := stage.ledger("floor")) < wanted and time.monotonic() < end:
        time.sleep(0.02)
    tell(f"{len(done)} done")
    return str(done[-1]["what"])


def await_end(foreman: Client, run: str) -> dict[str, Any]:
    """A run that has ended, or how it stands after a long time."""
    end = time.monotonic() + 10 * PATIENCE_SECONDS
    known: dict[str, Any] = foreman.run(run)["run"]
    while known["state"] not in {*ENDED, "stuck"} and time.monotonic() < end:
        time.sleep(0.5)
        known = foreman.run(run)["run"]
    return known


def agree(stage: Stage, tasks: int) -> bool:
    """What the warehouse says."""
    lines = [line for line in stage.ledger("floor") if line["what"] != "again"]
    done = Counter((line["shelf"], line["what"]) for line in lines)
    wanted = {(f"shelf-{number:03d}", work) for number in range(tasks // len(WORK)) for _, work in WORK.values()}
    tell("What the ledger of the warehouse says:", indent=0)
    most = {work: max((line["at_once"] for line in lines if line["what"] == work), default=0) for work in MOST}
    checks = [
        expect(f"{len(wanted & done.keys())} of {tasks} tasks were done", done.keys() == wanted),
        expect(f"{sum(number > 1 for number in done.values())} were done twice", all(number == 1 for number in done.values())),
        expect(f"{len(stage.ledger('floor')) - len(lines)} calls came again", len(lines) == len(stage.ledger("floor"))),
        expect(f"at most at once: {most}", all(most[work] <= MOST[work] for work in MOST)),
    ]
    return all(checks)


if __name__ == "__main__":
    sys.exit(main())
