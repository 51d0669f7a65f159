"""W3C trace context, parsed and continued by hand: recorded and passed on, never trusted for authority.

Only `traceparent` is passed on. What else an agent could send along (`tracestate`, `baggage`) would reach tools and agents past
every rule.
"""

import os
import re

from msgspec import Struct

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
TOLD = ("trace_id", "span_id", "parent_span_id")
"""What an event says of a span."""
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


class Trace(Struct, frozen=True, kw_only=True):
    """Our span within the caller's trace, or within a new one. `parent_id` is the span above ours; empty when there is none."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    flags: str = "01"

    @property
    def traceparent(self) -> str:
        """The header for the next hop.

        Source: W3C Trace Context, section 3.2.
        """
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    @property
    def above(self) -> str:
        """The traceparent of the span above ours; of ours when there is none."""
        return f"00-{self.trace_id}-{self.parent_id or self.span_id}-{self.flags}"

    @property
    def told(self) -> dict[str, str]:
        """What an event says of the span that tells of the same."""
        found = {"trace_id": self.trace_id, "span_id": self.span_id}
        return found | {"parent_span_id": self.parent_id} if self.parent_id else found

    def child(self) -> "Trace":
        """A new span below ours."""
        return Trace(trace_id=self.trace_id, span_id=os.urandom(8).hex(), parent_id=self.span_id, flags=self.flags)

    def beside(self) -> "Trace":
        """A new span beside ours, or below it when nothing is above."""
        above = self.parent_id or self.span_id
        return Trace(trace_id=self.trace_id, span_id=os.urandom(8).hex(), parent_id=above, flags=self.flags)

    @staticmethod
    def continued(traceparent: str) -> "Trace":
        """A new span in the caller's trace; a malformed header starts a new trace, as the recommendation wants."""
        span = os.urandom(8).hex()
        found = parsed(traceparent)
        if found is None:
            return Trace(trace_id=os.urandom(16).hex(), span_id=span)
        return Trace(trace_id=found[0], span_id=span, parent_id=found[1], flags=found[2])


def parsed(traceparent: str) -> tuple[str, str, str] | None:
    """Trace id, span id and flags of a valid header; of a later version than ours, what stands where ours has it.

    Source: W3C Trace Context, sections 3.2.2 and 4.3.
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or found[1] == "ff" or found[2] == _NO_TRACE or found[3] == _NO_SPAN or (found[1] == "00" and found[5]):
        return None
    return found[2], found[3], f"{int(found[4], 16) & 3:02x}"
