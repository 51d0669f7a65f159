"""A gateway that kills itself at a commit boundary it was told: a file says at which, counted from when the file appears.

Counted are the units of runs and of the calls that they make; what goes on at its own pace beside them (sealing, leases) is not.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

from aegis.journal.unit import Unit

ORDER, CROSSED = "die-at", "crossed"
BEFORE, AFTER = "before", "after"
_APART = frozenset({"checkpoint", "posting", "lease", "cursor", "executor"})


def serve(root: Path, port: int, log: Path) -> None:
    """`aegis up`, on a store that ends the process."""
    from aegis.app import opening
    from faults.kills import serve_here

    opened = opening.open_store

    async def dying(*given: Any, **named: Any) -> Any:
        return Dying(await opened(*given, **named), root)

    opening.open_store = dying
    serve_here(root, port, log)


class Dying:
    """A store; at the commit of the ordered number its process dies, before it or after it."""

    def __init__(self, store: Any, root: Path) -> None:
        self._store = store
        self._root = root
        self._order: dict[str, Any] = {}
        self._crossed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, unit: Unit) -> Any:
        number = self._number(unit)
        self._die(number, BEFORE)
        receipt = await self._store.commit(unit)
        self._die(number, AFTER)
        return receipt

    def _number(self, unit: Unit) -> int:
        """Which one of its order this is; 0 when nothing was ordered, or it is none of those that count."""
        if not counts(unit) or not (self._root / ORDER).exists():
            return 0
        order = json.loads((self._root / ORDER).read_bytes())
        if order != self._order:
            self._order, self._crossed = order, 0
        self._crossed += 1
        (self._root / CROSSED).write_text(str(self._crossed))
        return self._crossed

    def _die(self, number: int, when: str) -> None:
        if number and (number, when) == (self._order["at"], self._order["when"]):
            os.kill(os.getpid(), signal.SIGKILL)


def counts(unit: Unit) -> bool:
    """Whether this is a unit of a run or of a call."""
    kinds = {write.kind for write in unit.writes}
    return unit.tenant == "acme" and bool(kinds - _APART)
