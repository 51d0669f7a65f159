"""Who is told what by the writer, whatever its database does. The backend here is the edge: it answers as it is told to."""

import asyncio
import threading

import pytest
from tests.store.kills import until

from aegis.adapters.group import MAX_GROUP, GroupWriter, Stop, UnfitError
from aegis.errors import StoreBusyError, StoreError, StoreHaltedError, StoreUncertainError
from aegis.journal.unit import Committed, Unit

UNIT = Unit(tenant="acme")
BAD = Unit(tenant="bad")


class Backend:
    """Holds groups until `gate` opens; `failure` is raised instead of an answer."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.groups: list[int] = []
        self.failure: Exception | None = None
        self.resting: Exception | None = None
        self.closed = False

    def write(self, units):
        assert self.gate.wait(10)
        self.groups.append(len(units))
        if self.failure is not None:
            raise self.failure
        if BAD in units:
            raise UnfitError("unfit")
        return [Committed(events=())] * len(units)

    def rest(self):
        if self.resting is not None:
            raise self.resting

    def close(self):
        self.closed = True


@pytest.fixture
async def backend():
    return Backend()


@pytest.fixture
async def writer(backend):
    made = GroupWriter(backend, name="test", max_waiting=1_000, max_waiting_bytes=10_000)
    yield made
    backend.gate.set()
    await made.close()
    assert backend.closed


async def waiting(writer, count, size=1, unit=UNIT):
    tasks = [asyncio.create_task(writer.commit(unit, size)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_what_waits_becomes_one_group(writer, backend):
    backend.gate.clear()
    tasks = await waiting(writer, 1)
    while writer.stats()["waiting_units"]:
        await asyncio.sleep(0)
    tasks += await waiting(writer, 100)
    assert not any(task.done() for task in tasks)
    backend.gate.set()
    assert await asyncio.gather(*tasks) == [Committed(events=())] * 101
    assert backend.groups == [1, 100]


async def test_a_group_has_a_largest_size(writer, backend):
    backend.gate.clear()
    tasks = await waiting(writer, 2 * MAX_GROUP + 1)
    backend.gate.set()
    await asyncio.gather(*tasks)
    assert max(backend.groups) <= MAX_GROUP
    assert sum(backend.groups) == 2 * MAX_GROUP + 1


async def test_a_full_queue_is_busy_by_count_and_by_bytes(writer, backend):
    backend.gate.clear()
    tasks = await waiting(writer, 1)
    while writer.stats()["waiting_units"]:
        await asyncio.sleep(0)
    tasks += await waiting(writer, 1_000)
    with pytest.raises(StoreBusyError) as busy:
        await writer.commit(UNIT, 1)
    assert busy.value.retry_after > 0
    backend.gate.set()
    await asyncio.gather(*tasks)
    backend.gate.clear()
    tasks = await waiting(writer, 1)
    while writer.stats()["waiting_units"]:
        await asyncio.sleep(0)
    tasks += await waiting(writer, 3, size=3_333)
    with pytest.raises(StoreBusyError):
        await writer.commit(UNIT, 3_333)
    backend.gate.set()
    assert len(await asyncio.gather(*tasks)) == 4


async def test_a_unit_that_is_larger_than_the_queue_is_taken_when_nothing_else_waits(writer):
    assert await writer.commit(UNIT, 50_000) == Committed(events=())


async def test_an_error_is_the_answer_of_the_whole_group_and_the_next_group_goes_on(writer, backend):
    backend.failure = StoreError("no room")
    answers = await asyncio.gather(*(writer.commit(UNIT, 1) for _ in range(20)), return_exceptions=True)
    assert {(type(answer), str(answer)) for answer in answers} == {(StoreError, "no room")}
    assert len({id(answer) for answer in answers}) == 20
    backend.failure = None
    assert await writer.commit(UNIT, 1) == Committed(events=())


async def test_stop_halts_the_writer_for_good(writer, backend):
    backend.gate.clear()
    first = await waiting(writer, 1)
    while writer.stats()["waiting_units"]:
        await asyncio.sleep(0)
    behind = await waiting(writer, 5)
    backend.failure = Stop(StoreUncertainError("failed"))
    backend.gate.set()
    answers = await asyncio.gather(*first, *behind, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUncertainError] + [StoreHaltedError] * 5
    backend.failure = None
    with pytest.raises(StoreHaltedError, match="failed"):
        await writer.commit(UNIT, 1)
    with pytest.raises(StoreHaltedError):
        await writer.run(lambda: None)
    assert backend.groups == [1]
    assert writer.stats()["halted"] is True


@pytest.mark.parametrize("failure", [Stop(StoreHaltedError("failed")), ZeroDivisionError()])
async def test_a_failure_between_groups_halts_the_writer_too(writer, backend, failure):
    backend.resting = failure
    await writer.commit(UNIT, 1)
    await until(lambda: writer.stats()["halted"])
    with pytest.raises(StoreHaltedError):
        await writer.commit(UNIT, 1)


async def test_a_connection_that_fails_between_groups_does_not_halt_it(writer, backend):
    backend.resting = StoreError("lost")
    for _ in range(20):
        assert await writer.commit(UNIT, 1) == Committed(events=())


async def test_data_that_the_database_refuses_fails_its_own_unit_only(writer, backend):
    backend.gate.clear()
    good, bad = await waiting(writer, 5), await waiting(writer, 2, unit=BAD)
    backend.gate.set()
    answers = await asyncio.gather(*good, *bad, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Committed] * 5 + [UnfitError] * 2


async def test_an_errand_runs_on_the_writers_thread_and_its_error_is_its_own(writer):
    assert await writer.run(lambda: threading.current_thread().name) == "test"

    def fail():
        raise StoreError("not now")

    with pytest.raises(StoreError, match="not now"):
        await writer.run(fail)
    assert await writer.commit(UNIT, 1) == Committed(events=())


async def test_a_caller_who_left_before_the_group_began_is_not_committed(writer, backend):
    backend.gate.clear()
    first = await waiting(writer, 1)
    while writer.stats()["waiting_units"]:
        await asyncio.sleep(0)
    gone, kept = await waiting(writer, 3), await waiting(writer, 2)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    backend.gate.set()
    await asyncio.gather(*first, *kept)
    assert backend.groups == [1, 2]
