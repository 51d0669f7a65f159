"""Where an export may go on, and where it must not."""

import pytest
from msgspec.structs import replace
from tests.store.homes import START

from aegis.errors import ConfigError
from aegis.journal.export.cursor import check, start
from aegis.model.event import Event, Stored, encode


def stored(seq: int, digest: str = "sha256:a") -> Stored:
    body = encode(Event(id=f"e{seq}", type="decision", tenant="acme", time=START), seq)
    return Stored(tenant="acme", seq=seq, id=f"e{seq}", type="decision", time=START, request_id="", body=body, digest=digest)


AT_FIVE = start("acme").after(stored(4))


@pytest.mark.parametrize(
    ("cursor", "size", "first", "before"),
    [
        (start("acme"), 0, 0, None),
        (start("acme", 3), 9, 3, stored(2)),
        (AT_FIVE, 5, 0, stored(4)),
        (AT_FIVE, 9, 4, stored(4)),
        (AT_FIVE, 9, 5, None),  # the event before it is not kept any more, and none was left out
    ],
)
def test_an_export_goes_on_in_the_log_of_its_cursor(cursor, size, first, before):
    check(cursor, "acme", size=size, first=first, before=before)


@pytest.mark.parametrize(
    ("cursor", "size", "first", "before", "told"),
    [
        (start("globex"), 9, 0, None, "a cursor of its own"),
        (replace(AT_FIVE, origin="aegis.acme/audit/2"), 9, 0, stored(4), "a cursor of its own"),
        (replace(AT_FIVE, apiVersion="aegis.cursor/v2"), 9, 0, stored(4), "a cursor of its own"),
        (AT_FIVE, 4, 0, None, "was cut off or put back"),
        (AT_FIVE, 9, 0, stored(4, "sha256:b"), "was rewritten"),
        (AT_FIVE, 9, 7, None, "events 5 to 6 of `aegis.acme/audit/1` were not exported"),
    ],
)
def test_a_cursor_that_does_not_fit_is_refused(cursor, size, first, before, told):
    with pytest.raises(ConfigError, match=told):
        check(cursor, "acme", size=size, first=first, before=before)
