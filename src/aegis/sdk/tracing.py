"""Joins the trace of the application that uses the SDK, when it traces with OpenTelemetry.

Nothing is imported for it: an application that has a current span has loaded OpenTelemetry's API itself.

Source: W3C Trace Context, section 3.2.
"""

import sys
from typing import Any

API = "opentelemetry.trace"


def current() -> str:
    """The `traceparent` of the span that is current in this thread or task; empty when there is none."""
    api: Any = sys.modules.get(API)
    if api is None:
        return ""
    try:
        context = api.get_current_span().get_span_context()
        if not context.is_valid:
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags) & 3:02x}"
    except Exception:  # a call never fails because of what watches it
        return ""
