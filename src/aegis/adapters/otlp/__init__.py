"""OpenTelemetry out of this process: spans and metrics as OTLP over HTTP, in its JSON encoding.

    target     where to, from our settings and the variables of OpenTelemetry
    encode     spans as the protocol wants them
    measures   metrics as the protocol wants them
    sender     one request to a collector, and what its answer means
    exporter   the thread that takes, encodes and sends

Nothing here runs on the way of a call: the gate puts spans down and never learns what became of them.
"""

from aegis.adapters.otlp.exporter import Exporter
from aegis.adapters.otlp.target import Target, target

__all__ = ["Exporter", "Target", "target"]
