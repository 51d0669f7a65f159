"""Replay of a run from the journal: every event folded again and compared, and its snapshot held against the whole fold.

It reads and writes nothing. Values are unsealed for it and leave it no more: what is told are events, commands and digests.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from aegis.errors import ErasedError
from aegis.runtime.runs.flow import Flow
from aegis.runtime.runs.histories import Histories, Lived
from aegis.runtime.runs.journaled import STATE, commands_of, number_of, told
from aegis.runtime.vault import Vault
from aegis.workflow.graph import Workflow
from aegis.workflow.replay import Recorded, Replayed, refold
from aegis.workflow.run import State

Shot = Literal["none", "identical", "different", "erased"]
_ORDERED = msgspec.json.Encoder(order="sorted")


class Replay(Struct, frozen=True, kw_only=True):
    """A run, folded again. `definition` is the one it was folded through, `own` whether it is that of the run.

    `snapshot` says how the run's newest snapshot compares with the fold of all events up to it.
    """

    flow: Flow
    definition: Workflow
    own: bool
    recorded: tuple[Recorded, ...]
    replayed: Replayed
    snapshot: Shot = "none"

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the record."""
        return self.replayed.verdict == "identical" and self.snapshot in ("none", "identical")


async def replay(histories: Histories, vault: Vault, tenant: str, run: str, other: Workflow | None = None) -> Replay | None:
    """The run, folded again through its own definition or through another one; `None` when there is no such run."""
    flow = await histories.flow(tenant, run)
    if flow is None:
        return None
    recorded = tuple(_recorded(each) for each in await histories.lived(tenant, run))
    definition = other or await histories.definition(tenant, flow.digest)
    replayed = refold(definition, run, recorded, told)
    own = definition.digest == flow.digest
    snapshot = await _snapshot(vault, tenant, flow, definition, recorded) if own else "none"
    return Replay(flow=flow, definition=definition, own=own, recorded=recorded, replayed=replayed, snapshot=snapshot)


def _recorded(lived: Lived) -> Recorded:
    body = msgspec.json.decode(lived.stored.body)
    return Recorded(
        number=number_of(lived.stored),
        event=lived.event,
        commands=commands_of(lived.stored),
        status=str(body["status"]),
        more=int(body.get("more_commands", 0)),
        erased=lived.erased,
    )


async def _snapshot(vault: Vault, tenant: str, flow: Flow, definition: Workflow, recorded: tuple[Recorded, ...]) -> Shot:
    """How the newest snapshot compares with the fold up to its event."""
    if flow.snapshot is None:
        return "none"
    try:
        plain = await vault.read(tenant, flow.snapshot.event, STATE)
    except ErasedError:
        return "erased"
    if plain is None:
        return "different"
    full = refold(definition, flow.run, recorded[: flow.snapshot.events], told)
    return "identical" if _same(msgspec.json.decode(plain, type=State), full.state) else "different"


def _same(kept: State, folded: State) -> bool:
    return _ORDERED.encode(kept) == _ORDERED.encode(msgspec.json.decode(msgspec.json.encode(folded), type=State))
