"""No record, no act: when the store cannot commit, nothing is forwarded, and an outcome that could not be recorded is not told."""

import pytest

from aegis.errors import StoreBusyError, StoreHaltedError, StoreUncertainError
from gateway.world import world


class Failing:
    """A store whose commits fail at the chosen moment; everything else is the real one."""

    def __init__(self, store, error, *, after=0):
        self._store, self._error, self._after = store, error, after

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def commit(self, unit):
        if self._after == 0:
            raise self._error
        self._after -= 1
        return await self._store.commit(unit)


@pytest.fixture
def w(tmp_path):
    with world(tmp_path) as made:
        yield made


def fail(w, error, *, after=0):
    gate = w.app.gate
    broken = Failing(gate.store, error, after=after)
    for part in (gate._admission, gate._admission._repeats, gate._effect, gate.recovery):
        part._store = broken


ERRORS = [StoreHaltedError("stopped"), StoreBusyError("full"), StoreUncertainError("lost")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.code)
def test_a_decision_that_cannot_be_recorded_forwards_nothing(w, error):
    fail(w, error)
    told = w.call("pay.honours", {"amount": 5}, "k1")
    assert told.status_code == 503
    assert told.json()["code"] in ("store-unavailable", "busy")
    assert "retry-after" in told.headers
    assert w.tool.requests == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.code)
def test_an_outcome_that_cannot_be_recorded_is_not_told_and_is_settled_later(w, error):
    fail(w, error, after=1)
    told = w.call("pay.ask", {"amount": 5}, "k1")
    assert told.status_code == 503
    assert '"id"' not in told.text
    assert len(w.tool.done) == 1
    w.stop()
    w.start()
    again = w.call("pay.ask", {"amount": 5}, "k1")
    assert again.json()["result"] == {"id": 1}
    assert len(w.tool.done) == 1


class Once(Failing):
    """Fails a number of commits, then works again."""

    async def commit(self, unit):
        if any(event.type == "outcome" for event in unit.events) and self._after > 0:
            self._after -= 1
            raise self._error
        return await self._store.commit(unit)


def test_a_store_that_is_busy_for_a_moment_does_not_keep_an_outcome_from_being_recorded(w):
    gate = w.app.gate
    gate._effect._store = Once(gate.store, StoreBusyError("full"), after=2)
    assert w.call("pay.neither", {"amount": 5}, "k1").json()["result"] == {"id": 1}


def test_a_call_that_this_process_dropped_is_settled_without_a_restart(w):
    gate = w.app.gate
    gate._effect._store = Once(gate.store, StoreUncertainError("lost"), after=1)
    told = w.call("pay.ask", {"amount": 5}, "k1")
    assert told.status_code == 503
    again = w.call("pay.ask", {"amount": 5}, "k1")
    assert again.json()["result"] == {"id": 1}
    assert len(w.tool.done) == 1
