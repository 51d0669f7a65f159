"""The rows of approvals, written together so that each question reads only its answer, however many wait.

approval       by the hash of the request; found by the approval's id (`lookup`) when a person answers
approval-list  the same in the order in which people see them, newest first, with its state: a page is read, never all
approval-due   while time still changes something: an id that begins with the instant at which more people are asked, or it ends
wake           an approval of a run has ended or widened: whoever moves the run on removes the row
"""

from datetime import UTC, datetime, timedelta

import msgspec

from aegis.journal.unit import Delete, Put, Row
from aegis.model.approval import Approval
from aegis.model.event import instant

KIND, LIST, DUE, WAKE = "approval", "approval-list", "approval-due", "wake"
RUN_PREFIX = "run_"
_SINCE = datetime(1970, 1, 1, tzinfo=UTC)
_END = 10**16
_MICRO = timedelta(microseconds=1)


def rows(approval: Approval, former: Approval | None = None) -> tuple[Put | Delete, ...]:
    """What is written when the approval comes to stand so; `former` is what stood under the same request hash before."""
    found: list[Put | Delete] = [
        Put(
            kind=KIND, id=approval.request_hash, body=msgspec.json.encode(approval), state=str(approval.state),
            lookup=approval.approval_id, due=approval.expires_at,
        ),
        Put(kind=LIST, id=place(approval), body=b"{}", state=str(approval.state), lookup=approval.request_hash),
    ]  # fmt: skip
    if former is not None and former.approval_id != approval.approval_id:
        found += [Delete(kind=LIST, id=place(former)), Delete(kind=DUE, id=due_id(former))]
    elif former is not None and (not approval.live or due_id(former) != due_id(approval)):
        found.append(Delete(kind=DUE, id=due_id(former)))
    if approval.live:
        found.append(Put(kind=DUE, id=due_id(approval), body=b"{}", lookup=approval.request_hash))
    return tuple(found)


def woken(approval: Approval) -> tuple[Put, ...]:
    """The row by which the process that moves the run learns of it; nothing when no run waits."""
    if not approval.run:
        return ()
    return (Put(kind=WAKE, id=approval.approval_id, body=msgspec.json.encode(approval.run), lookup=approval.run),)


def place(approval: Approval) -> str:
    """Where the approval stands in the list: the newest has the least id."""
    return f"{_END - (approval.created_at - _SINCE) // _MICRO:017d}\x1f{approval.approval_id}"


def due_id(approval: Approval) -> str:
    """The row that says when something happens to the approval by itself."""
    return f"{instant(approval.next_at)}\x1f{approval.approval_id}"


def read(row: Row) -> Approval:
    """The approval of a row."""
    return msgspec.json.decode(row.body, type=Approval)
