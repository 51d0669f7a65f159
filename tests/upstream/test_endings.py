"""How calls end: the whole table, and the law that an effect which may have happened is not repeated."""

from itertools import product
from typing import get_args

import pytest

from aegis.model.call import LEGAL, CallState, ClaimState
from aegis.model.contract import Effect, Interrupt
from aegis.runtime.ask import Kind
from aegis.runtime.ending import Seen, ending, seen_status

EFFECTS = get_args(Effect)
INTERRUPTS = get_args(Interrupt)
COMBINATIONS = list(product(Seen, EFFECTS, INTERRUPTS))

DONE = (CallState.DONE, ClaimState.FINAL, Kind.DONE, False)
KEPT = (CallState.DONE, ClaimState.FINAL, Kind.WITHHELD, False)
READ_AGAIN = (CallState.REOPENED, ClaimState.REOPENED, Kind.WITHHELD, False)
FAILED = (CallState.REOPENED, ClaimState.REOPENED, Kind.FAILED, False)
AGAIN = (CallState.REOPENED, ClaimState.REOPENED, Kind.INTERRUPTED, False)
ASK = (CallState.EXECUTING, ClaimState.IN_FLIGHT, Kind.SETTLING, True)
PERSON = (CallState.UNKNOWN, ClaimState.UNKNOWN, Kind.UNKNOWN, False)

TABLE = {
    **{(Seen.FITTING, effect, interrupt): DONE for effect, interrupt in product(EFFECTS, INTERRUPTS)},
    **{(Seen.REFUSED, effect, interrupt): FAILED for effect, interrupt in product(EFFECTS, INTERRUPTS)},
    **{(Seen.UNSENT, effect, interrupt): FAILED for effect, interrupt in product(EFFECTS, INTERRUPTS)},
    **{(Seen.UNFIT, "read", interrupt): READ_AGAIN for interrupt in INTERRUPTS},
    **{(Seen.UNFIT, effect, interrupt): KEPT for effect, interrupt in product(("write", "dangerous"), INTERRUPTS)},
    **{(Seen.BROKEN, "read", interrupt): AGAIN for interrupt in INTERRUPTS},
    **{(Seen.BROKEN, effect, "honours_key"): AGAIN for effect in ("write", "dangerous")},
    **{(Seen.BROKEN, effect, "ask"): ASK for effect in ("write", "dangerous")},
    **{(Seen.BROKEN, effect, "neither"): PERSON for effect in ("write", "dangerous")},
}


def test_the_table_names_every_combination():
    assert TABLE.keys() == set(COMBINATIONS)


@pytest.mark.parametrize(("seen", "effect", "interrupt"), COMBINATIONS)
def test_a_call_ends_as_the_table_says(seen, effect, interrupt):
    end = ending(seen, effect, interrupt)
    assert (end.call, end.claim, end.kind, end.ask) == TABLE[seen, effect, interrupt]


@pytest.mark.parametrize(("seen", "effect", "interrupt"), COMBINATIONS)
def test_a_write_that_may_have_happened_is_reopened_only_for_a_tool_that_honours_the_key(seen, effect, interrupt):
    end = ending(seen, effect, interrupt)
    may_have_happened = seen in (Seen.FITTING, Seen.UNFIT, Seen.BROKEN)
    if effect != "read" and may_have_happened and interrupt != "honours_key":
        assert end.call is not CallState.REOPENED
        assert end.claim is not ClaimState.REOPENED


@pytest.mark.parametrize(("seen", "effect", "interrupt"), COMBINATIONS)
def test_call_and_claim_always_say_the_same(seen, effect, interrupt):
    end = ending(seen, effect, interrupt)
    same = {
        CallState.DONE: ClaimState.FINAL,
        CallState.REOPENED: ClaimState.REOPENED,
        CallState.UNKNOWN: ClaimState.UNKNOWN,
        CallState.EXECUTING: ClaimState.IN_FLIGHT,
    }
    assert end.claim is same[end.call]
    assert end.ask == (end.call is CallState.EXECUTING)
    assert end.ask or end.call in LEGAL[CallState.EXECUTING]


@pytest.mark.parametrize("seen", Seen)
def test_words_that_nobody_knows_end_like_the_most_careful_class(seen):
    assert ending(seen, "unheard", "unheard") == ending(seen, "dangerous", "neither")


def test_only_a_clear_answer_is_taken_for_one():
    told = {status: seen_status(status) for status in range(100, 600)}
    assert {status for status, seen in told.items() if seen is None} == set(range(200, 300))
    assert {status for status, seen in told.items() if seen is Seen.REFUSED} == set(range(400, 500)) - {408}
    assert set(told.values()) == {None, Seen.REFUSED, Seen.BROKEN}
