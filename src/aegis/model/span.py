"""A span: one piece of work with its start, its end, and its place in a trace.

It holds what an operator may see: identifiers, names of tools and rules, outcomes and sizes. No argument, no result, no token and
no person's name is ever put into one. It proves nothing; what was decided stands in the journal, under the same trace and span ids.
"""

from enum import StrEnum

from msgspec import Struct

Value = str | int | bool | tuple[str, ...]


class Work(StrEnum):
    """What a span is about."""

    CALL = "call"
    """A whole request, from its headers to its answer."""
    DECISION = "decision"
    APPROVAL = "approval"
    """The wait of a held request for people."""
    UPSTREAM = "upstream"
    """One conversation with a tool, or one message put in."""
    SETTLE = "settle"
    """The settlement of a call that its own process did not finish."""
    RUN = "run"
    """A whole run of a workflow."""
    STEP = "step"
    """One attempt of one step of a run, to do it or to undo it."""


class Kind(StrEnum):
    """On which side of a connection the work was done."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"


class Span(Struct, frozen=True, kw_only=True):
    """`tool` and `agent` come from the tenant's documents, so that there are few of them: a made-up name is `unknown`.

    `result` is the stable word for what came of the work, `error` why it failed; empty when it did not. Links are (trace id, span
    id). Times are microseconds since 1970.
    """

    work: Work
    name: str
    tenant: str
    trace_id: str
    span_id: str
    parent_id: str
    start_us: int
    end_us: int
    attributes: dict[str, Value]
    kind: Kind = Kind.INTERNAL
    tool: str = ""
    agent: str = ""
    result: str = ""
    error: str = ""
    flags: str = "01"
    links: tuple[tuple[str, str], ...] = ()
