"""The states of a call: every transition that code makes is one that the table of the model allows."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.model.call import AGAIN, LEGAL, LIVE, CallState
from aegis.runtime.ending import Seen, ending, seen_status
from aegis.runtime.recovery import CLAIMS
from aegis.runtime.trace import Trace

EFFECTS = ("read", "write", "dangerous")
INTERRUPTS = ("honours_key", "ask", "neither")


@pytest.mark.parametrize(("seen", "effect", "interrupt"), list(itertools.product(Seen, EFFECTS, INTERRUPTS)))
def test_a_write_that_may_have_happened_is_never_free_to_repeat_unless_the_tool_honours_keys(seen, effect, interrupt):
    end = ending(seen, effect, interrupt)
    may_have_happened = seen in (Seen.FITTING, Seen.UNFIT, Seen.BROKEN)
    if may_have_happened and effect != "read" and not (interrupt == "honours_key" and seen is Seen.BROKEN):
        assert end.call is not CallState.REOPENED
    assert end.call is CallState.EXECUTING or end.call in LEGAL[CallState.EXECUTING]
    assert end.ask == (end.call is CallState.EXECUTING)
    assert end.ask or CLAIMS[end.call] == end.claim


def test_what_may_be_decided_again_is_never_live_and_nothing_final_moves():
    assert not AGAIN & LIVE
    assert CallState.DONE not in LEGAL
    assert CallState.DENIED not in LEGAL


@given(st.integers(100, 599))
def test_only_a_refusal_of_the_tool_counts_as_no_effect(status):
    seen = seen_status(status)
    assert (seen is Seen.REFUSED) == (400 <= status < 500 and status != 408)
    assert (seen is None) == (200 <= status < 300)


@given(st.text(max_size=80))
def test_any_text_as_traceparent_gives_a_valid_trace(text):
    trace = Trace.continued(text)
    assert (len(trace.trace_id), len(trace.span_id), trace.traceparent.count("-")) == (32, 16, 3)
    assert set(trace.trace_id) != {"0"}
