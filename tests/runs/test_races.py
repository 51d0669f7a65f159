"""Many hands at one run: each signal counts once, one person clears a dead letter up, contradictions change nothing."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from runs.operated import Wanted, go, operated


@pytest.fixture
def o(tmp_path, store_url):
    with operated(tmp_path, store_url) as made:
        yield made


def at_once(work, inputs):
    with ThreadPoolExecutor(len(inputs)) as pool:
        return [told.status_code for told in pool.map(work, inputs)]


def test_the_same_signal_from_many_at_once_is_one_event(o):
    run = o.waiting()
    assert at_once(lambda _: o.by_person(go(run)), range(8)) == [200] * 8
    o.until(run, "succeeded")
    assert Counter(event["type"] for event in o.told(run))["workflow_signalled"] == 1


def test_a_dead_letter_is_cleared_up_by_one_of_many(o):
    run = o.parked()
    hands = [
        Wanted(action="edit", run=run, node="second", arguments={"amount": 9}),
        Wanted(action="discard", run=run, node="second"),
    ] * 3
    told = at_once(o.by_person, hands)
    o.until(run, "succeeded", "compensated")
    assert sorted(told) == [200, 409, 409, 409, 409, 409]
    kinds = Counter(event["type"] for event in o.told(run))
    assert kinds["workflow_requeued"] + kinds["workflow_discarded"] == 1
    assert kinds["run_operated"] == 2  # the signal, and the one that was first


def test_a_cancellation_and_a_signal_at_once_leave_one_story(o):
    run = o.waiting()
    told = at_once(o.by_person, [Wanted(action="cancel", run=run), go(run)])
    state = o.until(run, "succeeded", "compensated")
    assert told[0] in (200, 409)
    assert told[1] in (200, 409)
    assert state.cancelled is (str(state.status) == "compensated")
    paid = [name for name, _ in o.tool.done]
    assert paid in (["pay.honours", "pay.ask"], ["pay.honours", "pay.honours"], ["pay.honours", "pay.honours", "pay.ask"])
