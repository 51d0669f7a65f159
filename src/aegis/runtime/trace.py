"""W3C trace context, parsed and continued by hand: recorded and passed on, never trusted for authority."""

import os
import re

from msgspec import Struct

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Trace(Struct, frozen=True, kw_only=True):
    """Our span within the caller's trace, or within a new one."""

    trace_id: str
    span_id: str
    flags: str = "01"

    @property
    def traceparent(self) -> str:
        """The header for the next hop.

        Source: W3C Trace Context, section 3.2.
        """
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    @staticmethod
    def continued(traceparent: str) -> "Trace":
        """A new span in the caller's trace; a malformed header starts a new trace, as the recommendation wants."""
        found = _TRACEPARENT.fullmatch(traceparent)
        span = os.urandom(8).hex()
        valid = found and not traceparent.startswith("ff") and set(found[1]) != {"0"} and set(found[2]) != {"0"}
        if not found or not valid:
            return Trace(trace_id=os.urandom(16).hex(), span_id=span)
        return Trace(trace_id=found[1], span_id=span, flags=found[3])
