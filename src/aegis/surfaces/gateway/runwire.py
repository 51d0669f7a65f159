"""What travels over HTTP about runs: what is asked to be done to one, the list, one run, and how it stands afterwards."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from aegis.runtime.runs.reading_runs import RunView

_Reason = Annotated[str, Meta(max_length=256)]
_Nonce = Annotated[str, Meta(max_length=64)]
_Name = Annotated[str, Meta(min_length=1, max_length=128, pattern="^[!-~]+$")]


class OperateBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is done to a run or a step. `statement` and `nonce` are a person's; `arguments` are for `edit` alone."""

    reason: _Reason = ""
    statement: str = ""
    nonce: _Nonce = ""
    arguments: dict[str, Any] | UnsetType = UNSET
    parent_agent_id: str = ""
    parent_request_id: str = ""
    txn: str = ""
    task: str = ""


class SignalBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A signal. The same `key` is the same signal, however often it comes."""

    name: _Name
    key: _Name
    payload: Any = None
    statement: str = ""
    nonce: _Nonce = ""
    parent_agent_id: str = ""
    parent_request_id: str = ""
    txn: str = ""
    task: str = ""


class RunLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run in the list."""

    run: str
    workflow: str
    version: str
    state: str
    started_by: str
    started_at: Any
    moved_at: Any = None
    ended_at: Any = None
    failure: str = ""
    events: int = 0


class RunsView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of runs, newest first. `after` leads to the next page; it is missing on the last."""

    runs: tuple[RunLine, ...]
    after: str = ""


class OneRun(Struct, frozen=True, kw_only=True):
    """A run, and its last events as the journal holds them."""

    run: RunView
    last_events: tuple[dict[str, Any], ...] = ()


class Operated(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the run stands after it."""

    run: str
    state: str
    step: str = ""
    step_state: str = ""


TYPES = (OperateBody, SignalBody, RunsView, OneRun, Operated)
