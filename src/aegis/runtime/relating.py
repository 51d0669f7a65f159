"""What belongs to a request or a run: the requests below and above it, whichever agent made them, and the events of each.

Requests hang together by what the journal holds and nothing else: a decision names the request on whose behalf it was made, an
approval the request that was held and the one that used it, and tokens that were handed down carry their run on. A story is
bounded: of a greater one the newest `MOST` requests are told, and `cut` says so.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from msgspec import Struct

from aegis.journal.store import Store
from aegis.journal.terms import Filter, Term
from aegis.runtime.searching import body_of, matches

MOST = 300
EVENTS = 200

Body = Mapping[str, Any]


class Related(Struct, frozen=True, kw_only=True):
    """The requests in order of their first events, each with its events in order of `seq`; `run` is empty when they are of none."""

    run: str
    requests: Mapping[str, tuple[Body, ...]]
    cut: bool = False


async def related(store: Store, tenant: str, name: str) -> Related | None:
    """The story of the request or run of this name (a run may be called after its first request); `None` when there is neither."""
    own = await _events(store, tenant, name)
    if not own or _run(own) == name:
        return await _of_run(store, tenant, name)
    found = {name: own}
    if (run := _run(own)) and (whole := await _of_run(store, tenant, run)):  # tasks and approvals stay within their run
        found = {**whole.requests, **found}
        return Related(run=run, requests=_in_order({each: found[each] for each in _tied(found, name)}), cut=whole.cut)
    cut = await _above(store, tenant, found, name) | await _below(store, tenant, found, name)
    return Related(run="", requests=_in_order(found), cut=cut)


def _tied(found: Mapping[str, tuple[Body, ...]], name: str) -> set[str]:
    """Those above and below a request, and those that an approval ties to it."""
    above, at = set[str](), name
    while at in found and at not in above:
        above.add(at)
        at = _parent(found[at])
    below, grown = {name}, True
    while grown:
        approvals = {each for request in below for each in _approvals(found[request])}
        more = {
            request
            for request, events in found.items()
            if request not in below and (_parent(events) in below or not approvals.isdisjoint(_approvals(events)))
        }
        below |= more
        grown = bool(more)
    return above | below


async def _of_run(store: Store, tenant: str, run: str) -> Related | None:
    """All requests of a run, and those that only an approval ties to them."""
    names: dict[str, None] = {}
    async for request in _named(store, tenant, ("run", run)):
        names[request] = None
        if len(names) > MOST:
            break
    found = {each: await _events(store, tenant, each) for each in list(names)[:MOST]}
    return Related(run=run, requests=_in_order(found), cut=len(names) > MOST) if found else None


async def _above(store: Store, tenant: str, found: dict[str, tuple[Body, ...]], name: str) -> bool:
    """Add the requests on whose behalf this one was made; whether there were too many."""
    while (name := _parent(found[name])) and name not in found:
        if len(found) >= MOST:
            return True
        if not (events := await _events(store, tenant, name)):
            return False
        found[name] = events
    return False


async def _below(store: Store, tenant: str, found: dict[str, tuple[Body, ...]], name: str) -> bool:
    """Add the requests that were made on behalf of this one or are tied to them by an approval; whether there were too many."""
    due = deque([name])
    while due:
        request = due.popleft()
        ties: list[Term] = [("parent", request), *(("approval", each) for each in _approvals(found[request]))]
        for tie in ties:
            async for other in _named(store, tenant, tie):
                if other in found:
                    continue
                if len(found) >= MOST:
                    return True
                found[other] = await _events(store, tenant, other)
                due.append(other)
    return False


async def _named(store: Store, tenant: str, term: Term) -> AsyncIterator[str]:
    """The requests of the events that hold a term, newest first; some more than once."""
    async for each in matches(store, tenant, Filter(terms=(term,))):
        if request := each.body.get("request_id"):
            yield request


async def _events(store: Store, tenant: str, request: str) -> tuple[Body, ...]:
    return tuple(map(body_of, await store.events(tenant, request_id=request, limit=EVENTS))) if request else ()


def _parent(events: Iterable[Body]) -> str:
    return next((body["parent_request_id"] for body in events if body.get("parent_request_id")), "")


def _approvals(events: Iterable[Body]) -> list[str]:
    return list(dict.fromkeys(body["approval_id"] for body in events if body.get("approval_id")))


def _run(events: Iterable[Body]) -> str:
    return next((run for body in events if (run := (body.get("agent") or {}).get("txn") or body.get("txn"))), "")


def _in_order(found: Mapping[str, tuple[Body, ...]]) -> dict[str, tuple[Body, ...]]:
    return dict(sorted(found.items(), key=lambda each: each[1][0]["seq"]))
