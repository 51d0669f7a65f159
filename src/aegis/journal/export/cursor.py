"""Where an export goes on: after which event of which log.

A cursor remembers the digest of the last event that was exported. A log in which another event stands at that place is not the log
that the cursor was made in, whatever it is called: going on in it would hide that it was rewritten.
"""

from msgspec import Struct

from aegis.errors import ConfigError
from aegis.model.event import Stored, origin

API_VERSION = "aegis.cursor/v1"


class Cursor(Struct, frozen=True, kw_only=True):
    """`next` is the `seq` of the first event that was not exported; `digest` is of the one before, empty when there is none."""

    apiVersion: str = API_VERSION  # noqa: N815 - a name on the wire
    tenant: str
    origin: str
    next: int = 0
    digest: str = ""

    def after(self, last: Stored) -> "Cursor":
        """The cursor once `last` and everything before it is exported."""
        return Cursor(tenant=self.tenant, origin=self.origin, next=last.seq + 1, digest=last.digest)


def start(tenant: str, first: int = 0) -> Cursor:
    """A cursor before the event `first`, which knows nothing about the ones before."""
    return Cursor(tenant=tenant, origin=origin(tenant), next=first)


def check(cursor: Cursor, tenant: str, *, size: int, first: int, before: Stored | None) -> None:
    """Check that `cursor` was made in this log, which holds `size` events and keeps those from `first` on.

    Args:
        cursor: As it was remembered.
        tenant: Whose log is to be exported.
        size: How many events the log has.
        first: The first `seq` whose event is kept.
        before: The event at `cursor.next - 1`, if it is kept.

    Raises:
        ConfigError: It was made in another log, or this one is not any more what it was, or events that were not exported are gone.
    """
    if (cursor.apiVersion, cursor.origin, cursor.tenant) != (API_VERSION, origin(tenant), tenant):
        raise ConfigError(
            f"the cursor is of the log `{cursor.origin}`, expected `{origin(tenant)}`: give each log a cursor of its own"
        )
    if cursor.next > size:
        raise ConfigError(
            f"the cursor says that {cursor.next} events were exported, the log holds {size}: it was cut off or put back to an "
            "earlier state; check it with `aegis audit verify` before a new cursor is begun"
        )
    if cursor.digest and before is not None and before.digest != cursor.digest:
        raise ConfigError(
            f"event {before.seq} of `{cursor.origin}` is not the one that was exported: the log was rewritten, or the cursor is of "
            "another store; check it with `aegis audit verify` before a new cursor is begun"
        )
    if cursor.next < first:
        raise ConfigError(
            f"events {cursor.next} to {first - 1} of `{cursor.origin}` were not exported and are not kept any more: take them "
            f"from an archive, then begin a new cursor at {first}"
        )
