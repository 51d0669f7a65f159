"""A process that serves a lane, two tasks at once, until it is killed: `python serving.py URL NAME FOLDER CONCURRENCY SECONDS`.

Each task it serves leaves a file in FOLDER/begun while it is looked at and one in FOLDER/ended; FOLDER/running holds those under way, and how
many of one tenant a task saw there when it began is what its file in FOLDER/begun says.
"""

import asyncio
import os
import sys
from pathlib import Path

from aegis.adapters.engines.dbos_engine import DbosEngine
from aegis.workflow.dispatch import Lane, Task


class Server:
    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds

    async def serve(self, task: Task) -> None:
        running = self._folder / "running" / f"{task.tenant}.{task.node}"
        running.touch()
        seen = sum(each.name.startswith(f"{task.tenant}.") for each in running.parent.iterdir())
        (self._folder / "begun" / f"{task.tenant}.{task.node}.{os.getpid()}").write_text(str(seen))
        await asyncio.sleep(self._seconds)
        running.unlink(missing_ok=True)
        (self._folder / "ended" / f"{task.tenant}.{task.node}.{os.getpid()}").touch()


async def main() -> None:
    url, name, folder, concurrency, seconds = sys.argv[1:]
    engine = DbosEngine(url, name, in_flight=2, lease_seconds=2.0)
    lane = Lane(name="default", concurrency=int(concurrency))
    await engine.start([lane], Server(Path(folder), float(seconds)).serve)
    (Path(folder) / name).touch()
    await asyncio.to_thread(sys.stdin.read)
    await engine.stop()


if __name__ == "__main__":
    asyncio.run(main())
