"""Replay: fold the recorded events of a run again, and hold what follows against what was recorded when it was live.

    refold(definition, run, recorded, tell) -> Replayed

Three things are compared at every event: that it may happen at all, the commands that follow, and how the run stands then. The
first difference ends the comparison, since everything after it follows from it. Under another definition the same events say where
that definition would have gone another way.

A value that was erased cannot be folded in: what is compared after it may differ for that reason alone. So a difference behind an
erased value is told as *not comparable*, with the first event whose value is gone, and never as a fault.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from aegis.errors import IllegalTransitionError
from aegis.workflow.graph import Workflow
from aegis.workflow.run import Command, Failed, RunEvent, State, Succeeded
from aegis.workflow.transition import begin, transition

Tell = Callable[[Command], str]
"""A command as it stands in the journal."""
Verdict = Literal["identical", "different", "not_comparable"]
What = Literal["number", "event", "commands", "status"]


class Recorded(Struct, frozen=True, kw_only=True):
    """An event as the journal tells it. `commands` are the first that followed, `more` how many others there were.

    `erased`: its value is gone, and `event` is without it.
    """

    number: int
    event: RunEvent
    commands: tuple[str, ...]
    status: str
    more: int = 0
    erased: bool = False

    @property
    def word(self) -> str:
        """What happened, and to which node."""
        tag = str(self.event.__struct_config__.tag)
        node = getattr(self.event, "node", "")
        return f"{tag} {node}" if node else tag


class Difference(Struct, frozen=True, kw_only=True):
    """Where the fold goes another way than the record: at which event, in what, and how each has it."""

    number: int
    event: str
    what: What
    recorded: tuple[str, ...]
    found: tuple[str, ...]


class Replayed(Struct, frozen=True, kw_only=True):
    """What came of it. `events` is how many were folded, `state` the run after them; `erased` are numbers of events."""

    events: int
    state: State
    difference: Difference | None = None
    erased: tuple[int, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """In a word."""
        if self.difference is None:
            return "identical"
        return "not_comparable" if self.erased and self.erased[0] <= self.difference.number else "different"


class ModelUsed(Struct, frozen=True, kw_only=True):
    """By which model an agent did one attempt of a node: `model` names its id, version, prompt hash and seed, as far as known."""

    number: int
    node: str
    dispatch: int
    outcome: str
    model: Mapping[str, str]


def refold(definition: Workflow, run: str, recorded: Sequence[Recorded], tell: Tell) -> Replayed:
    """Fold the events of a run, oldest first, up to the end or the first difference."""
    state = begin(run)
    erased: list[int] = []
    for place, each in enumerate(recorded, 1):
        if each.erased:
            erased.append(each.number)
        state, difference = _step(definition, state, each, place, tell)
        if difference is not None:
            return Replayed(events=place - 1, state=state, difference=difference, erased=tuple(erased))
    return Replayed(events=len(recorded), state=state, erased=tuple(erased))


def models(recorded: Sequence[Recorded]) -> tuple[ModelUsed, ...]:
    """The models of every attempt that named one, in order."""
    return tuple(_models(recorded))


def compared(ours: Sequence[ModelUsed], others: Sequence[ModelUsed]) -> tuple[tuple[str, ModelUsed | None, ModelUsed | None], ...]:
    """Nodes whose last attempts in two runs were not by the same model, prompt and seed."""
    left, right = ({each.node: each for each in of} for of in (ours, others))
    pairs = ((node, left.get(node), right.get(node)) for node in sorted({*left, *right}))
    return tuple((node, a, b) for node, a, b in pairs if (dict(a.model) if a else None) != (dict(b.model) if b else None))


def _step(definition: Workflow, state: State, recorded: Recorded, place: int, tell: Tell) -> tuple[State, Difference | None]:
    if recorded.number != place:
        return state, _differs(recorded, "number", (str(recorded.number),), (str(place),))
    try:
        after, commands = transition(definition, state, recorded.event)
    except IllegalTransitionError as error:
        return state, _differs(recorded, "event", (recorded.word,), (str(error),))
    told = tuple(map(tell, commands))
    if told[: len(recorded.commands)] != recorded.commands or len(told) != len(recorded.commands) + recorded.more:
        return state, _differs(recorded, "commands", recorded.commands, told)
    if str(after.status) != recorded.status:
        return state, _differs(recorded, "status", (recorded.status,), (str(after.status),))
    return after, None


def _differs(recorded: Recorded, what: What, has: tuple[str, ...], found: tuple[str, ...]) -> Difference:
    return Difference(number=recorded.number, event=recorded.word, what=what, recorded=has, found=found)


def _models(recorded: Sequence[Recorded]) -> Iterator[ModelUsed]:
    for each in recorded:
        event = each.event
        if isinstance(event, Succeeded | Failed) and event.usage.model:
            yield ModelUsed(
                number=each.number, node=event.node, dispatch=event.dispatch, outcome=event.outcome, model=dict(event.usage.model)
            )  # fmt: skip
