"""What every engine promises: the port's contract, held against each of them."""

import asyncio

from tests.engine.conftest import Bench, task

from aegis.runtime.engine import Lane, Task


async def test_a_task_is_served_with_all_that_it_names(bench: Bench) -> None:
    found: list[Task] = []

    async def keep(given: Task) -> None:
        found.append(given)

    await bench.start(Lane(name="payments"), serve=keep)
    given = task("score[2]", run="run_9", dispatch=7, queue="payments", priority=3)
    await bench.engine.dispatch([given])
    await bench.until(lambda: bool(found))
    assert found == [given]


async def test_a_handler_runs_in_the_loop_that_started_the_engine(bench: Bench) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def keep(_: Task) -> None:
        loops.append(asyncio.get_running_loop())

    await bench.start(serve=keep)
    await bench.engine.dispatch([task("a")])
    await bench.until(lambda: bool(loops))
    assert loops == [asyncio.get_running_loop()]


async def test_what_is_handed_in_twice_is_served_once(bench: Bench) -> None:
    await bench.engine.dispatch([task("a"), task("a")])
    await bench.start()
    await bench.engine.dispatch([task("a")])
    await bench.until(lambda: bench.ended == ["a"])
    await bench.engine.dispatch([task("a"), task("last")])
    await bench.until(lambda: "last" in bench.ended)
    assert bench.begun == ["a", "last"]


async def test_the_same_command_under_another_number_is_another_task(bench: Bench) -> None:
    await bench.start()
    await bench.engine.dispatch([task("a"), task("a", dispatch=2), task("a", tenant="globex"), task("a", run="run_2")])
    await bench.until(lambda: len(bench.ended) == 4)


async def test_the_most_urgent_goes_first_and_equals_in_the_order_they_came(bench: Bench) -> None:
    given = [task("late", priority=9), task("first", priority=1), task("second", priority=1), task("now", priority=0)]
    for each in given:
        await bench.engine.dispatch([each])
    await bench.start(Lane(name="default", concurrency=1))
    await bench.until(lambda: len(bench.ended) == 4)
    assert bench.begun == ["now", "first", "second", "late"]


async def test_delayed_tasks_come_in_the_order_of_their_times(bench: Bench) -> None:
    await bench.start()
    await bench.engine.dispatch([task("third", delay_seconds=2.4), task("second", delay_seconds=1.2), task("first")])
    await bench.until(lambda: bench.ended == ["first"])
    await bench.until(lambda: len(bench.ended) == 3)
    assert bench.begun == ["first", "second", "third"]


async def test_a_lane_never_runs_more_of_one_tenant_than_it_may(bench: Bench) -> None:
    bench.hold = asyncio.Event()
    await bench.start(Lane(name="default", concurrency=2))
    await bench.engine.dispatch([task(f"n{number}") for number in range(5)])
    await bench.engine.dispatch([task("theirs", tenant="globex")])
    await bench.until(lambda: bench.running == 3)
    assert "theirs" in bench.begun
    bench.hold.set()
    await bench.until(lambda: len(bench.ended) == 6)
    assert bench.most == 3


async def test_a_rate_holds_back_what_is_too_much_for_its_period(bench: Bench) -> None:
    await bench.start(Lane(name="default", rate=2, period_seconds=600.0))
    await bench.engine.dispatch([task(f"n{number}") for number in range(5)])
    await bench.engine.dispatch([task("theirs", tenant="globex")])
    await bench.until(lambda: len(bench.ended) == 3)
    assert await bench.engine.depth() == {("acme", "default"): 3}


async def test_a_rate_lets_the_rest_go_when_its_period_is_over(bench: Bench) -> None:
    await bench.start(Lane(name="default", rate=2, period_seconds=0.3))
    await bench.engine.dispatch([task(f"n{number}") for number in range(5)])
    await bench.until(lambda: len(bench.ended) == 5)


async def test_what_was_cancelled_before_it_started_is_not_served(bench: Bench) -> None:
    bench.hold = asyncio.Event()
    await bench.start(Lane(name="default", concurrency=1))
    await bench.engine.dispatch([task("runs")])
    await bench.until(lambda: bench.begun == ["runs"])
    later = task("later", delay_seconds=0.01)
    await bench.engine.dispatch([task("waits"), task("other"), later])
    await bench.engine.cancel([task("waits"), task("never handed in"), later])
    bench.hold.set()
    await bench.until(lambda: len(bench.ended) == 2)
    assert bench.begun == ["runs", "other"]


async def test_depth_counts_what_waits_by_tenant_and_queue(bench: Bench) -> None:
    bench.hold = asyncio.Event()
    await bench.start(Lane(name="default", concurrency=1), Lane(name="payments", concurrency=1))
    await bench.engine.dispatch([task("a"), task("b"), task("c", queue="payments"), task("d", tenant="globex")])
    await bench.engine.dispatch([task("e", queue="payments", delay_seconds=600.0)])
    await bench.until(lambda: bench.running == 3)
    assert await bench.engine.depth() == {("acme", "default"): 1, ("acme", "payments"): 1}


async def test_tidying_forgets_what_has_ended_and_nothing_else(bench: Bench) -> None:
    await bench.start()
    await bench.engine.dispatch([task("a"), task("b"), task("later", delay_seconds=600.0)])
    await bench.until(lambda: len(bench.ended) == 2)

    async def two() -> bool:
        nonlocal count
        count += await bench.engine.tidy()
        return count == 2

    count = 0
    await bench.until(two)
    assert await bench.engine.tidy() == 0
    assert await bench.engine.depth() == {("acme", "default"): 1}


async def test_a_handler_that_raises_ends_its_task_and_no_other(bench: Bench) -> None:
    async def fail(given: Task) -> None:
        if given.node == "bad":
            raise ValueError("the handler should have recorded this")
        await bench.serve(given)

    await bench.start(Lane(name="default", concurrency=1), serve=fail)
    await bench.engine.dispatch([task("bad"), task("good")])
    await bench.until(lambda: bench.ended == ["good"])
    assert await bench.engine.depth() == {}


async def test_stopping_lets_those_under_way_end_and_takes_no_other(bench: Bench) -> None:
    bench.hold = asyncio.Event()
    await bench.start(Lane(name="default", concurrency=1))
    await bench.engine.dispatch([task("runs"), task("waits")])
    await bench.until(lambda: bench.begun == ["runs"])
    stopping = asyncio.ensure_future(bench.engine.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    bench.hold.set()
    await stopping
    assert bench.ended == ["runs"]
    assert bench.begun == ["runs"]


async def test_a_queue_that_nobody_serves_keeps_its_tasks_until_somebody_does(bench: Bench) -> None:
    await bench.start(Lane(name="default"))
    await bench.engine.dispatch([task("a", queue="payments"), task("b")])
    await bench.until(lambda: bench.ended == ["b"])
    assert await bench.engine.depth() == {("acme", "payments"): 1}
    await bench.start(Lane(name="default"), Lane(name="payments"))
    await bench.until(lambda: bench.ended == ["b", "a"])


async def test_a_lane_that_is_widened_lets_more_run(bench: Bench) -> None:
    bench.hold = asyncio.Event()
    await bench.start(Lane(name="default", concurrency=1))
    await bench.engine.dispatch([task("a"), task("b"), task("c")])
    await bench.until(lambda: bench.running == 1)
    await bench.start(Lane(name="default", concurrency=3))
    await bench.until(lambda: bench.running == 3)
