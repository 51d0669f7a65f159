"""The JSON Schema (2020-12) of the format, for editors and for models that write plans: made from the tables of the reader.

Every document that can be read is valid under it. The converse does not hold: whether a step, a contract or an agent is there, and
whether steps wait for each other, only the reader and the checks know.
"""

from typing import get_args

from aegis.policy.ir import Kind
from aegis.policy.jsonschema import DIALECT
from aegis.policy.jsonschema.comparisons import elements, operators
from aegis.policy.jsonschema.parts import Schema, array, closed, mapping, ref
from aegis.workflow import gate_syntax, reading, step_syntax
from aegis.workflow.graph import MAX_ATTEMPTS, MAX_ELEMENTS, MAX_STEPS, MAX_TURNS, OnFailure, Role, StepKind

_ID = "[a-z][a-z0-9_-]{0,62}"
_NAME = r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*"
_PART = "[A-Za-z_][A-Za-z0-9_-]*"
_NUMBER = "(0|[1-9][0-9]{0,5})"
_WANTED = rf"{_NUMBER}(\.{_NUMBER}\.{_NUMBER})?"
_REFERS = rf"(input|item|output)(\.{_PART})*|run\.id|steps\.{_ID}(\.{_PART})+"
_CALLED = rf"^{_NAME}(@{_WANTED})?$"
_TESTS = {"anyOf": [ref(f"tests-{Kind.ANY}"), ref(f"tests-{Kind.NUMBER}")]}
_TOLD = {
    "agent": "The agent of the directory that gets the task.",
    "tool": "The tool that is called, as `NAME` or `NAME@MAJOR`.",
    "approval": "People who must agree before the run goes on.",
    "workflow": "Another workflow, run as a part of this one.",
    "wait": "A duration such as `10m`, an instant, or a signal.",
    "emit": "A message that is sent.",
    "role": "What part the step plays; an agent's must be said.",
    "needs": "Steps that must have ended before; references add themselves.",
    "when": "The step is skipped unless this holds.",
    "for_each": "A list, or a reference to one: one node for each element.",
    "max_parallel": "How many elements are under way at once.",
    "max_elements": "How many elements there may be.",
    "collect": "Names for what becomes of the elements: `list`, `max_by(PATH)`, `min_by(PATH)`.",
    "repeat": "The step is taken again until the condition holds over its last output.",
    "retry": "How often and after which pauses it is tried again.",
    "on_failure": "What a failure does after the last attempt: undo the run, wait for a person, or go on.",
    "default": "What stands for the output of a step that was skipped.",
    "output": "The contract of what the step gives, as `NAME@MAJOR`.",
    "accepts": "The contract of what the agent is given, as `NAME@MAJOR`.",
    "compensate": "What undoes the step, or `none` and why nothing does.",
    "estimate": "What one node is expected to cost; so much is reserved.",
    "budget": "Hard limits.",
    "queue": "The queue that hands the task out.",
    "priority": "0 is the most urgent.",
    "args": "The arguments: literals and references such as `$input.amount`.",
    "input": "What is handed over: literals and references such as `$input.amount`.",
    "data": "What the message carries.",
    "to": "The addressee, where there is a choice.",
    "model": "The model that is wanted; what was used is recorded.",
    "run_as": "The agent in whose name the step acts, if another than the workflow's.",
    "timeout": "How long one attempt may take.",
}


def schema() -> Schema:
    """The schema of a workflow document."""
    return {
        "$schema": DIALECT,
        "title": f"Workflow of Aegis ({reading.API_VERSION})",
        **closed(
            {
                "apiVersion": {"const": reading.API_VERSION},
                "kind": {"const": "Workflow"},
                "metadata": _metadata(),
                "spec": _spec(),
            },
            all_of_them=True,
        ),
        "$defs": _definitions(),
    }


def _metadata() -> Schema:
    known: Schema = {
        "name": {"type": "string", "pattern": f"^{_NAME}$", "maxLength": reading.MAX_NAME},
        "version": {"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}$"},
        "run_as": ref("agent"),
        "labels": mapping(ref("text")) | {"maxProperties": reading.MAX_LABELS},
    }
    required = ("name", "version", "tenant", "owner")
    return closed({key: known.get(key, ref("text")) for key in reading._META}, required)  # noqa: SLF001 - one table for both


def _spec() -> Schema:
    known: Schema = {
        "description": ref("text"),
        "input": ref("data"),
        "output": ref("data"),
        "returns": ref("value"),
        "budget": ref("budget"),
        "timeout": ref("duration"),
        "max_parallel": {"type": "integer", "minimum": 1, "maximum": reading.MAX_PARALLEL},
        "risk_limit": {"type": "integer", "minimum": 0, "maximum": reading.MAX_RISK},
        "steps": {
            "type": "object", "minProperties": 1, "maxProperties": MAX_STEPS, "propertyNames": {"pattern": f"^{_ID}$"},
            "additionalProperties": ref("step"),
        },
    }  # fmt: skip
    return closed({key: known[key] for key in reading._SPEC}, ("steps",))  # noqa: SLF001 - as above


def _definitions() -> Schema:
    paths = {
        r"^(input|item)(\.[^.]+)*$": _TESTS,
        rf"^steps\.{_ID}\.outcome$": ref(f"tests-{Kind.STRING}"),
        rf"^steps\.{_ID}\.(?!outcome$){_PART}(\.[^.]+)*$": _TESTS,
        r"^run\.id$": ref(f"tests-{Kind.STRING}"),
    }
    tests = {f"tests-{kind}": operators(kind, "element") for kind in (Kind.ANY, Kind.NUMBER, Kind.STRING)}
    steps = {f"step-{kind}": _step(kind) for kind in get_args(StepKind)}
    return {
        "text": {"type": "string", "pattern": r"\S"},
        "duration": {"type": "string", "pattern": "^[1-9][0-9]{0,6}[smhd]$"},
        "pause": {"type": "string", "pattern": "^([1-9][0-9]{0,6}[smhd]|[1-9][0-9]{0,5}ms)$"},
        "agent": {"type": "string", "pattern": "^(agent:)?[a-z0-9][a-z0-9._-]{0,62}$"},
        "data": {"type": "string", "pattern": f"^{_NAME}@{_WANTED}$"},
        "money": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,6})?$"}]},
        "amount": closed(_amounts()),
        "budget": closed(_amounts() | {"soft": {"type": "integer", "minimum": 1, "maximum": 100}}),
        "reference": {"type": "string", "pattern": rf"^\$({_REFERS})$"},
        "value": {
            "if": {"type": "string", "pattern": r"^\$(?!\$)"},
            "then": ref("reference"),
            "additionalProperties": ref("value"),
            "items": ref("value"),
        },
        "values": {"type": "object", "additionalProperties": ref("value")},
        "step": {"oneOf": [ref(name) for name in steps]},
        **steps,
        "approver": {"type": "string", "pattern": r"^(role|person):\S(.*\S)?$"},
        "approval": _approval(),
        "wait": _wait(),
        "retry": _retry(),
        "compensate": _compensate(),
        "condition": elements({}, "condition", paths),
        "element": elements({}, "element", {r"^[^.]+(\.[^.]+)*$": ref(f"tests-{Kind.ANY}")}),
        **tests,
        "ref": False,
        "list": False,
    }


def _amounts() -> Schema:
    whole = {"type": "integer", "minimum": 0}
    return {"calls": whole, "tokens": whole, "usd": ref("money")}


def _step(kind: StepKind) -> Schema:
    """The keys of one kind of step, from the table that the reader goes by."""
    known = _known() | {kind: _does(kind)}
    keys = [kind, *step_syntax._KEYS[kind]]  # noqa: SLF001 - as above
    found = {key: _described(key, known[key]) for key in keys}
    role = {"const": "approver"} if kind == "approval" else {"enum": [each for each in get_args(Role) if each != "approver"]}
    return closed(found | {"role": _described("role", role)}, (kind, "role") if kind == "agent" else (kind,))


def _does(kind: StepKind) -> Schema:
    if kind in ("approval", "wait"):
        return ref(kind)
    return ref("agent") if kind == "agent" else {"type": "string", "pattern": _CALLED}


def _known() -> Schema:
    return {
        "role": True,
        "needs": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "when": ref("condition"),
        "timeout": ref("duration"),
        "for_each": {"anyOf": [ref("reference"), array({}) | {"maxItems": MAX_ELEMENTS}]},
        "max_parallel": {"type": "integer", "minimum": 1, "maximum": step_syntax.MAX_PARALLEL},
        "max_elements": {"type": "integer", "minimum": 1, "maximum": MAX_ELEMENTS},
        "collect": mapping({"type": "string", "pattern": rf"^(list|(max|min)_by\({_PART}(\.{_PART})*\))$"}),
        "repeat": closed(
            {"until": ref("condition"), "max": {"type": "integer", "minimum": 1, "maximum": MAX_TURNS}}, all_of_them=True
        ),
        "retry": ref("retry"),
        "on_failure": {"enum": list(get_args(OnFailure))},
        "default": {"not": {"type": "null"}},
        "output": ref("data"),
        "accepts": ref("data"),
        "compensate": ref("compensate"),
        "estimate": ref("amount"),
        "budget": ref("budget"),
        "queue": {"type": "string", "pattern": f"^{_NAME}$"},
        "priority": {"type": "integer", "minimum": 0, "maximum": step_syntax.MAX_PRIORITY},
        "args": ref("values"),
        "input": ref("value"),
        "data": ref("value"),
        "to": ref("value"),
        "model": closed({key: ref("text") for key in ("tier", "id", "version", "seed")}),
        "run_as": ref("agent"),
    }


def _described(key: str, found: Schema | bool) -> Schema:
    return ({} if found is True else dict(found)) | {"description": _TOLD[key]}  # type: ignore[arg-type]  # never false


def _approval() -> Schema:
    group = array(ref("approver"))
    return closed(
        {
            "approvers": {"anyOf": [group, array(group)]},
            "quorum": {"type": "integer", "minimum": 1, "maximum": gate_syntax.MAX_QUORUM},
            "not_requester": {"type": "boolean"},
            "expires": ref("duration"),
            "escalate": closed({"after": ref("duration"), "approvers": group}, all_of_them=True),
            "shows": ref("values"),
            "of": {"enum": ["step", "plan"]},
        },
        ("approvers",),
    )


def _wait() -> Schema:
    return {
        "anyOf": [
            ref("duration"),
            closed({"for": ref("duration")}, all_of_them=True),
            closed({"until": ref("text")}, all_of_them=True),
            closed({"signal": ref("text"), "timeout": ref("duration")}, all_of_them=True),
        ]
    }


def _retry() -> Schema:
    return closed(
        {
            "attempts": {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS},
            "backoff": ref("pause"),
            "factor": {"type": "integer", "minimum": 1, "maximum": 10},
            "max": ref("pause"),
            "jitter": {"enum": ["full", "none"]},
            "on": array(ref("text")),
        }
    )


def _compensate() -> Schema:
    return {
        "anyOf": [
            closed({"tool": {"type": "string", "pattern": _CALLED}, "args": ref("values")}, ("tool",)),
            closed({"agent": ref("agent"), "input": ref("value")}, ("agent",)),
            closed({"none": ref("text")}, all_of_them=True),
        ]
    }
