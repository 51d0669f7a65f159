"""Searches find what a reading of the whole journal finds: no less, no more, in pages of any size."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples_drawn import examples
from tests.search.conftest import COUNT
from tests.search.journals import AGENTS, APPROVERS, COSTS, PEOPLE, REASONS, RULES, STEP, TENANT, TOOLS, plainly, run
from tests.store.homes import START

from aegis.journal import postings
from aegis.journal.postings import BLOCK, EVERYWHERE, Indexing, asked, candidates, leads_to, packed, summary, unpacked
from aegis.journal.terms import Filter
from aegis.runtime.searching import search

TERMS = st.one_of(
    *(
        st.tuples(st.just(field), st.sampled_from(values))
        for field, values in {
            "type": ("decision", "outcome", "approval", "none"),
            "agent": AGENTS,
            "through": AGENTS,
            "tool": TOOLS,
            "rule": RULES,
            "person": PEOPLE,
            "decision": ("allow", "deny"),
            "outcome": ("done", "failed"),
            "reason": REASONS,
            "approver": APPROVERS,
            "by": APPROVERS,
            "run": ("run_0", "run_30", "run_77"),
            "task": ("close-books",),
            "approval": ("apr_3", "apr_33"),
        }.items()
    )
)
COST = st.none() | st.sampled_from(COSTS) | st.integers(0, 2**41)
TIME = st.none() | st.integers(-5, COUNT + 5).map(lambda number: START + STEP * number)
REQUEST = st.just("") | st.integers(0, COUNT // 3).map("req_{}".format)
FILTERS = st.builds(
    Filter, terms=st.lists(TERMS, max_size=3).map(tuple), since=TIME, until=TIME, cost_from=COST, cost_to=COST, request=REQUEST
)
BORDERS = st.sampled_from([0, 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 3 * BLOCK, 4 * BLOCK, COUNT, COUNT + 9])
BEFORE = st.none() | BORDERS | st.integers(0, COUNT)
MANY = settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(wanted=FILTERS, before=BEFORE, limit=st.integers(1, 1000))
def test_a_page_is_the_beginning_of_what_the_whole_journal_holds(journal, wanted, before, limit):
    store, bodies = journal
    due = plainly(bodies, wanted, before)
    page = run(search(store, TENANT, wanted, before=before, limit=limit))
    assert [each.seq for each in page.events] == due[:limit]
    assert page.cursor == (due[limit - 1] if len(due) > limit else None)
    assert all(each.body == bodies[each.seq] for each in page.events)


@MANY
@given(wanted=FILTERS, sizes=st.lists(st.integers(20, 1000), min_size=1, max_size=5))
def test_pages_of_any_size_are_together_the_whole_without_a_gap_and_without_a_double(journal, wanted, sizes):
    store, bodies = journal
    found, before, turn = [], None, 0
    while turn == 0 or before is not None:
        page = run(search(store, TENANT, wanted, before=before, limit=sizes[turn % len(sizes)]))
        found += [each.seq for each in page.events]
        before, turn = page.cursor, turn + 1
    assert found == plainly(bodies, wanted)


@settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=FILTERS)
def test_a_search_that_does_not_ask_the_index_finds_the_same(journal, wanted):
    store, _ = journal
    asked_it, plain = (run(search(store, TENANT, wanted, limit=1000, plain=plain)) for plain in (False, True))
    assert asked_it == plain


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=FILTERS, block=st.integers(0, 3))
def test_the_postings_of_a_block_point_at_exactly_what_fits_but_for_time(journal, wanted, block):
    _, bodies = journal
    wanted = Filter(terms=wanted.terms, cost_from=wanted.cost_from, cost_to=wanted.cost_to)
    made = Indexing(block)
    for body in bodies[block * BLOCK : (block + 1) * BLOCK]:
        made.add(body["seq"], body)
    held = {(each.field, each.value): each.places for each in made.postings()}
    pointed = candidates(wanted, {term: held[term] for term in asked(wanted) if term in held})
    assert list(postings.newest_first(pointed, block)) == [seq for seq in plainly(bodies, wanted) if seq // BLOCK == block]


@given(
    places=st.integers(0, EVERYWHERE) | st.sets(st.integers(0, BLOCK - 1), max_size=80).map(lambda each: sum(1 << n for n in each))
)
def test_places_come_back_from_their_shorter_form(places):
    assert unpacked(packed(places)) == places
    assert len(packed(places)) <= 1 + min(BLOCK // 8, 2 * places.bit_count())


@given(content=st.binary(max_size=200))
def test_what_cannot_be_understood_points_everywhere_and_never_hides(content):
    if content[:1] not in (b"B", b"L"):
        assert unpacked(content) == EVERYWHERE
    assert 0 <= unpacked(content) <= EVERYWHERE
    summary(content)
    candidates(Filter(cost_from=1), {postings.SUMMARY: Indexing(0).postings()[-1].places, postings.COSTS: content})


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.integers(0, BLOCK - 1), hidden=st.integers(0, BLOCK - 1))
def test_postings_that_were_made_before_some_events_went_still_lead_to_the_others(journal, kept, hidden):
    _, bodies = journal
    whole, part, less = Indexing(0), Indexing(0), Indexing(0)
    for body in bodies[:BLOCK]:
        whole.add(body["seq"], body)
        if body["seq"] >= kept:
            part.add(body["seq"], body)
        if body["seq"] != hidden:
            less.add(body["seq"], body)
    held = {(each.field, each.value): each.places for each in whole.postings()}
    assert all(leads_to(held.get((each.field, each.value)), each) for each in part.postings())
    short = {(each.field, each.value): each.places for each in less.postings()}
    assert not all(leads_to(short.get((each.field, each.value)), each) for each in whole.postings())


@pytest.mark.parametrize("border", [BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK])
@pytest.mark.parametrize("beside", [-150, -4, -1, 0, 1, 4, 150])
def test_no_block_is_passed_over_that_reaches_into_the_time(journal, border, beside):
    store, bodies = journal
    at = START + STEP * (border + beside)
    for wanted in (Filter(since=at, until=at + STEP * 200), Filter(since=at - STEP * 200, until=at)):
        found = run(search(store, TENANT, wanted, limit=1000))
        assert [each.seq for each in found.events] == plainly(bodies, wanted)


def test_a_time_is_counted_in_at_the_beginning_and_out_at_the_end(journal):
    store, bodies = journal
    at = START + STEP * 500
    exactly = Filter(since=at, until=at + timedelta(microseconds=1))
    found = run(search(store, TENANT, exactly, limit=1000))
    assert [each.seq for each in found.events] == plainly(bodies, exactly) != []
