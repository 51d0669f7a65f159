"""The desk with many approvals on it, and the laws of an approval."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.store.homes import START

from aegis.journal.unit import Delete, Put, Unit
from aegis.model.approval import Answer, Approval, ApprovalState, Refused, answer, at, escalate, use, withdraw
from aegis.runtime import approval_rows, escalations
from approvals.room import Room, escalating, spec

MANY = 130
END = {ApprovalState.DENIED, ApprovalState.EXPIRED, ApprovalState.USED, ApprovalState.WITHDRAWN}


async def fill(room: Room, count: int) -> list[str]:
    found = []
    for number in range(count):
        room.offset += timedelta(seconds=1)
        found.append((await room.ask(spec(expires=timedelta(hours=9)), run=f"run_{number}")).approval_id)
    return found


async def test_pages_hold_every_approval_once_newest_first(room):
    asked = await fill(room, MANY)
    seen: list[str] = []
    while page := await room.desk.listed("acme", limit=40, after=seen[-1] if seen else ""):
        seen += [each.approval_id for each in page]
    assert seen == asked[::-1]
    assert [each.approval_id for each in await room.desk.listed("acme")] == seen


async def test_a_page_of_one_state_is_full_whatever_lies_between(room):
    asked = await fill(room, 30)
    for each in asked[::3]:
        await room.answer(each)
    for each in asked[1::3]:
        await room.answer(each, approve=False)
    for state, expected in (
        (ApprovalState.APPROVED, asked[::3]),
        (ApprovalState.DENIED, asked[1::3]),
        (ApprovalState.PENDING, asked[2::3]),
    ):
        assert [each.approval_id for each in await room.desk.listed("acme", state)] == expected[::-1]


async def test_what_is_over_is_listed_as_expired_whether_or_not_that_is_recorded(room):
    asked = await fill(room, 5)
    await room.answer(asked[0])
    room.offset = timedelta(hours=20)
    before = await room.desk.listed("acme", ApprovalState.EXPIRED)
    assert await room.desk.listed("acme", ApprovalState.PENDING) == ()
    await room.escalations.sweep()
    assert await room.desk.listed("acme", ApprovalState.EXPIRED) == before
    assert [each.approval_id for each in before] == asked[:0:-1]


async def test_what_an_older_version_asked_is_listed_and_expires_like_everything_else(room):
    (asked,) = await fill(room, 1)
    rows = [row for kind in (approval_rows.LIST, approval_rows.DUE) for row in await room.store.find("acme", kind)]
    await room.store.commit(Unit(tenant="acme", writes=tuple(Delete(kind=row.kind, id=row.id) for row in rows)))
    assert await room.desk.listed("acme") == ()
    assert await escalations.adopt(room.store, "acme") == 1
    assert await escalations.adopt(room.store, "acme") == 0
    assert [each.approval_id for each in await room.desk.listed("acme")] == [asked]
    room.offset = timedelta(hours=20)
    assert await room.escalations.sweep() == 1


async def test_a_row_that_says_something_is_due_of_an_approval_that_moved_on_is_removed(room):
    (asked,) = await fill(room, 1)
    (due,) = await room.store.find("acme", approval_rows.DUE)
    await room.answer(asked)
    await room.store.commit(Unit(tenant="acme", writes=(Put(kind=due.kind, id=due.id, body=due.body, lookup=due.lookup),)))
    room.offset = timedelta(hours=20)
    assert await room.escalations.sweep() == 0
    assert await room.store.find("acme", approval_rows.DUE) == ()


async def test_a_sweep_that_looked_before_an_answer_came_takes_nothing_back(room):
    asked = await room.ask(spec(escalate=escalating(30)))
    room.offset = timedelta(minutes=31)
    (due,), (row,) = [await room.store.find("acme", kind) for kind in (approval_rows.DUE, approval_rows.KIND)]
    await room.answer(asked.approval_id)
    assert not await room.escalations._settle("acme", due, row)
    assert (await room.find(asked.approval_id)).state is ApprovalState.APPROVED


def test_more_people_are_asked_once():
    asked = escalate(made(), START + timedelta(minutes=30))
    assert asked is not None
    assert asked.approver_sets == (("role:lead", "role:chief"),)
    assert escalate(asked, START + timedelta(minutes=31)) is None
    assert escalate(made(), START + timedelta(minutes=29)) is None


async def test_a_watcher_that_fails_takes_no_answer_back_and_silences_nobody(room):
    heard: list[str] = []

    async def broken(approval: Approval) -> None:
        raise ValueError(approval.approval_id)

    async def after(approval: Approval) -> None:
        heard.append(approval.approval_id)

    room.desk.watch(broken)
    room.desk.watch(after)
    (asked,) = await fill(room, 1)
    assert not isinstance(await room.answer(asked), Refused)
    assert heard == [asked]


async def test_the_same_statement_twice_counts_once(room):
    (asked,) = await fill(room, 1)
    said = await asyncio.gather(*(room.answer(asked) for _ in range(5)))
    assert sum(1 for each in said if not isinstance(each, Refused)) == 1


people = st.sampled_from(["person:alice", "person:bob", "person:carol", "person:dora"])
moves = st.one_of(
    st.tuples(st.just("answer"), people, st.booleans()),
    st.tuples(st.just("use"), st.sampled_from(["sha256:x", "sha256:other"]), st.none()),
    st.tuples(st.just("escalate"), st.none(), st.none()),
    st.tuples(st.just("withdraw"), st.none(), st.none()),
)
ROLES = {"person:alice": ("lead",), "person:bob": ("lead",), "person:carol": ("clerk",), "person:dora": ("chief",)}


def made(quorum: int = 1) -> Approval:
    return Approval(
        approval_id="apr_1", tenant="acme", request_id="run_1", request_hash="sha256:x", agent_id="agent:a", tool="t",
        requesters=("agent:a", "person:alice"), approver_sets=(("role:lead",),), quorum=quorum, not_requester=True, created_at=START,
        expires_at=START + timedelta(minutes=60), escalates_at=START + timedelta(minutes=30), escalates_to=("role:chief",),
    )  # fmt: skip


def moved(approval: Approval, move: tuple, now) -> Approval:
    name, first, second = move
    if name == "answer":
        found = answer(approval, Answer(person=first, approve=second, at=now, roles=ROLES[first]))
    elif name == "use":
        found = use(approval, first, "req_2", now)
    else:
        found = escalate(approval, now) if name == "escalate" else withdraw(approval, now)
    return approval if found is None or isinstance(found, Refused) else found


@given(st.lists(st.tuples(st.integers(0, 12), moves), max_size=12), st.integers(1, 2))
def test_no_sequence_of_moves_brings_an_ended_approval_back_or_counts_who_may_not(sequence, quorum):
    now, approval = START, made(quorum)
    for minutes, move in sequence:
        now += timedelta(minutes=minutes)
        before = at(approval, now)
        approval = moved(approval, move, now)
        if before.state in END:
            assert at(approval, now).state is before.state
            assert approval.answers == before.answers
        granted = [said.person for said in approval.answers if said.approve]
        assert len(granted) == len(set(granted))
        assert "person:alice" not in granted
        assert "person:carol" not in granted
        assert "person:dora" not in granted or approval.escalated
        if approval.state in (ApprovalState.APPROVED, ApprovalState.USED):
            assert len(granted) >= quorum


@pytest.mark.parametrize("state", sorted(END))
def test_what_has_ended_takes_nothing_more(state):
    ended, now = replace(made(), state=state), START + timedelta(minutes=31)
    said = answer(ended, Answer(person="person:bob", approve=True, at=now, roles=("lead",)))
    used = use(ended, "sha256:x", "req_2", now)
    assert isinstance(said, Refused)
    assert isinstance(used, Refused)
    assert said.code == used.code == f"approval_{state}"
    assert escalate(ended, now) is None
    assert withdraw(ended, now) is None
