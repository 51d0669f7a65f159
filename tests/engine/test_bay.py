"""Laws of a bay: what it lets start, whatever comes, goes and ends in whatever order."""

from hypothesis import given
from hypothesis import strategies as st
from tests.engine.conftest import task

from aegis.adapters.engines.bay import Bay
from aegis.runtime.engine import Lane

lanes = st.builds(
    Lane, name=st.just("default"), concurrency=st.integers(0, 3), rate=st.integers(0, 3), period_seconds=st.floats(0.5, 5.0)
)
steps = st.lists(
    st.tuples(st.sampled_from(["add", "take", "end", "drop"]), st.integers(0, 5), st.floats(0.0, 2.0)), min_size=20, max_size=60
)


@given(lanes, steps)
def test_limits_hold_and_the_most_urgent_that_waits_goes_first(lane: Lane, done: list[tuple[str, int, float]]) -> None:
    bay, now = Bay(), 0.0
    waiting: list[tuple[int, int]] = []
    started: list[float] = []
    for number, (step, priority, passed) in enumerate(done):
        now += passed
        if step == "add":
            bay.add(task(f"{priority}.{number}", priority=priority))
            waiting.append((priority, number))
        elif step == "end" and bay.running:
            bay.running -= 1
        elif step == "drop" and waiting:
            gone = waiting.pop(priority % len(waiting))
            assert bay.drop(task(f"{gone[0]}.{gone[1]}", priority=gone[0]).id)
        elif step == "take":
            may = (not lane.concurrency or bay.running < lane.concurrency) and (
                not lane.rate or sum(at + lane.period_seconds > now for at in started) < lane.rate
            )
            found = bay.take(lane, now)
            assert (found is not None) == (bool(waiting) and may)
            if found is not None:
                assert found.node == "{}.{}".format(*min(waiting))
                waiting.remove(min(waiting))
                started.append(now)
        assert len(bay) == len(waiting)
        assert (not bay.idle) or not (waiting or bay.running)


@given(lanes, steps)
def test_what_the_rate_holds_back_may_start_when_it_says(lane: Lane, done: list[tuple[str, int, float]]) -> None:
    bay, now = Bay(), 0.0
    for number, (_, priority, passed) in enumerate(done):
        now += passed
        bay.add(task(f"n{number}", priority=priority))
        opens = bay.opens(lane, now)
        assert opens >= now
        now = max(now, opens)
        if not lane.concurrency or bay.running < lane.concurrency:
            assert bay.take(lane, now) is not None
