"""Small graphs, explored whole: every order of answers, with so many faults, kills and hands from outside in every place.

A fault is a failure, a take-over, a hold, a halt, a cancellation: whatever is not plainly the next good answer. Every law is looked at
over every transition, and from every state the run can be brought to an end.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import timedelta
from hashlib import blake2b

import msgspec
import pytest
from msgspec.structs import replace

from aegis.workflow.graph import Amount, ApprovalSpec, Budget, Repeat, Retry, Step, WaitSpec, Workflow
from aegis.workflow.run import FINAL, Started
from aegis.workflow.table import tag
from aegis.workflow.transition import begin, transition
from workflow.controller.generated import equal
from workflow.controller.laws import check
from workflow.controller.moves import moves
from workflow.controller.play import T0, flow, ref, tool

GOOD = frozenset({"succeeded", "waited", "released", "signalled", "resumed", "discarded", "settled"})
"""What moves a run on without anything new going wrong: with these alone it must come to an end."""
ENCODE = msgspec.msgpack.encode
TWICE = Retry(attempts=2)


def approval(name: str, *needs: str) -> Step:
    return Step(id=name, kind="approval", role="approver", needs=needs, approval=ApprovalSpec(approver_sets=(("role:lead",),)))


def signal(name: str, *needs: str) -> Step:
    wait = WaitSpec(signal="go", timeout=timedelta(hours=1))
    return Step(id=name, kind="wait", role="executor", needs=needs, wait=wait)


def child(name: str, *needs: str) -> Step:
    return replace(tool(name, needs, undo=True), kind="workflow")


CHAIN = flow(tool("a", undo=True), tool("b", "a", undo=True), tool("c", "b"))
DIAMOND = flow(tool("a", undo=True), tool("b", "a", undo=True), tool("c", "a", undo=True), tool("d", "bc"))
SAGA = flow(tool("a", undo=True), tool("b", "a", undo=True), tool("c", "b", undo=True), tool("d", "c"))
SAGA_AGAIN = flow(tool("a", undo=True, retry=TWICE), tool("b", "a", undo=True, retry=TWICE), tool("c", "b"))
FAN = flow(tool("a", undo=True, for_each=(1, 2), max_parallel=1, args={"of": ref("$item")}), tool("b", "a"))
WIDE = flow(tool("a", undo=True, for_each=(1, 2)), tool("b", undo=True), max_parallel=2)
APPROVED = flow(tool("a", undo=True), approval("b", "a"), tool("c", "b", when=equal("steps.b.outcome", "approved"), undo=True))
AGAIN = flow(tool("a", retry=Retry(attempts=3), undo=True), tool("b", "a", retry=TWICE))
PARKED = flow(tool("a", on_failure="park", undo=True), tool("b", "a", on_failure="park", undo=True))
SIGNAL = flow(tool("a", undo=True), signal("b"), tool("c", "ab", undo=True))
CHILD = flow(tool("a", undo=True), child("b", "a"), child("c"))
TIGHT = flow(*(tool(name, estimate=Amount(calls=3), undo=True) for name in "abc"), budget=Budget(calls=7))
KEPT = flow(
    tool("z"), tool("a", "z", estimate=Amount(calls=3)), tool("b", estimate=Amount(calls=3), undo=True), budget=Budget(calls=7)
)
REFINED = flow(
    tool("a", undo=True, repeat=Repeat(until=equal("steps.a.output.ok", value=True), most=2), on_failure="park"), tool("b", "a")
)

GRAPHS = [
    pytest.param(CHAIN, 3, id="chain"),
    pytest.param(DIAMOND, 2, id="diamond"),
    pytest.param(SAGA, 2, id="saga of three whose compensations fail"),
    pytest.param(SAGA_AGAIN, 3, id="saga that tries again"),
    pytest.param(FAN, 2, id="fan-out of two"),
    pytest.param(WIDE, 2, id="three at once, two allowed"),
    pytest.param(APPROVED, 3, id="approval"),
    pytest.param(AGAIN, 3, id="retry"),
    pytest.param(PARKED, 3, id="parked"),
    pytest.param(SIGNAL, 3, id="signal"),
    pytest.param(CHILD, 2, id="sub-runs"),
    pytest.param(TIGHT, 2, id="a budget for two of three"),
    pytest.param(KEPT, 2, id="a share that is kept while a call is held"),
    pytest.param(REFINED, 2, id="repeat"),
]


def explore(definition: Workflow, faults: int) -> tuple[int, int, set[str]]:
    """Every state that can be reached with so many faults: how many states and transitions, and the ends."""
    first = begin("run_1")
    start, commands = transition(definition, first, Started(at=T0))
    check(definition, first, Started(at=T0), start, commands)
    best: dict[bytes, int] = {}
    ends: dict[bytes, str] = {}
    before: dict[bytes, list[bytes]] = {}
    queue = deque([(start, faults, b"")])
    taken = 0
    while queue:
        state, left, came = queue.popleft()
        key = blake2b(ENCODE(replace(state, events=0)), digest_size=16).digest()
        before.setdefault(key, []).append(came)
        if best.get(key, -1) >= left:
            continue
        best[key] = left
        if state.status in FINAL:
            ends[key] = str(state.status)
            assert not moves(definition, state)
            continue
        for event in moves(definition, state):
            cost = 0 if tag(event) in GOOD else 1
            if cost <= left:
                after, commands = transition(definition, state, event)
                check(definition, state, event, after, commands)
                taken += 1
                queue.append((after, left - cost, key))
    assert comes_to_an_end(ends, before) == set(best), "a state from which no end can be reached"
    return len(best), taken, set(ends.values())


def comes_to_an_end(ends: Iterable[bytes], before: Mapping[bytes, list[bytes]]) -> set[bytes]:
    """Every state from which one of these is reached."""
    found, queue = set(ends), deque(ends)
    while queue:
        for key in before[queue.popleft()]:
            if key and key not in found:
                found.add(key)
                queue.append(key)
    return found


@pytest.mark.parametrize(("definition", "faults"), GRAPHS)
def test_every_law_holds_in_every_state_that_can_be_reached(definition: Workflow, faults: int) -> None:
    states, taken, ends = explore(definition, faults)
    print(f"{states} states, {taken} transitions")
    assert "succeeded" in ends
    assert {"failed", "cancelled", "compensated"} & ends


@pytest.mark.campaign
@pytest.mark.parametrize(("definition", "faults"), GRAPHS)
def test_and_in_every_state_that_one_fault_more_can_reach(definition: Workflow, faults: int) -> None:
    states, taken, _ = explore(definition, faults + 1)
    print(f"{states} states, {taken} transitions")
