"""A workflow from its document: `aegis.workflow/v1`.

    metadata   name, version, tenant, owner, run_as, runbook, labels
    spec       description, input, output, returns, budget, timeout, max_parallel, risk_limit, steps

A document is written by people and by planner agents alike, so it holds no code: values are literals and references, conditions are
those of the policy language, and every key comes from a closed set. `workflow` reads a document or raises at the first fault;
`draft` goes on as far as it can and tells all of them, for whoever corrects one.
"""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from aegis.crypto.canonical import canon_numbers
from aegis.crypto.digest import sha256
from aegis.errors import CanonicalError, DocumentError
from aegis.model.contract import NAME, VERSION
from aegis.model.document import Document
from aegis.model.node import Node
from aegis.policy.duration import duration
from aegis.workflow.conditions import Names, UnknownStepError
from aegis.workflow.graph import MAX_STEPS, Budget, Step, Template, Workflow
from aegis.workflow.order import cycle, order
from aegis.workflow.step_syntax import Around, agent_id, collected, data_name, needed, step
from aegis.workflow.values_syntax import Place, budget, template

API_VERSION = "aegis.workflow/v1"
MAX_NAME = 100
MAX_PARALLEL = 1000
MAX_LABELS = 32
MAX_RISK = 1000
_META = ("name", "version", "tenant", "owner", "run_as", "runbook", "labels")
_SPEC = ("description", "input", "output", "returns", "budget", "timeout", "max_parallel", "risk_limit", "steps")


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that keeps a document from being a workflow. `code` is `format`, `unknown_step` or `cycle`."""

    code: str
    text: str
    step: str = ""


class Draft(Struct, frozen=True, kw_only=True):
    """What could be read: the workflow, or why there is none."""

    workflow: Workflow | None
    faults: tuple[Fault, ...] = ()


def workflow(document: Document) -> Workflow:
    """The workflow that a document states.

    Raises:
        DocumentError: With file, line and column, what was found and what was expected.
    """
    found = draft(document)
    if found.workflow is None:
        raise DocumentError(found.faults[0].text)
    return found.workflow


def draft(document: Document) -> Draft:
    """The workflow that a document states, or all that is wrong with it."""
    faults: list[Fault] = []
    try:
        return _drafted(document, faults)
    except DocumentError as error:
        return Draft(workflow=None, faults=(_fault(error), *faults))


def digest(document: Document) -> str:
    """The name of what a document means: two that say the same have the same, wherever they lie and however they are laid out.

    Raises:
        DocumentError: It holds something that has no canonical form.
    """
    meta = document.value["metadata"]
    meaning = {"metadata": {key: meta.get(key) for key in ("name", "version", "run_as")}, "spec": document.value["spec"]}
    try:
        return sha256(canon_numbers(meaning))
    except CanonicalError as error:
        raise document.error((), str(error)) from None


def _drafted(document: Document, faults: list[Fault]) -> Draft:
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("Workflow",))
    meta = top["metadata"].fields(_META, ("name", "version", "tenant", "owner"))
    spec = top["spec"].fields(_SPEC, ("steps",))
    members = _members(spec["steps"])
    around = Around(steps={name: collected(node) for name, node in members.items()})
    steps = _steps(members, around, faults)
    if faults:
        return Draft(workflow=None, faults=tuple(faults))
    placed = _ordered(steps, members)
    made = Workflow(
        name=_name(meta["name"]), version=_version(meta["version"]), tenant=meta["tenant"].text(), owner=meta["owner"].text(),
        run_as=_run_as(meta, placed, top["metadata"]), steps=placed, digest=digest(document),
        runbook=meta["runbook"].text() if "runbook" in meta else "", labels=_labels(meta["labels"]) if "labels" in meta else {},
        input=data_name(spec["input"]) if "input" in spec else "", output=data_name(spec["output"]) if "output" in spec else "",
        returns=_returns(spec, around), budget=budget(spec["budget"]) if "budget" in spec else Budget(),
        timeout=duration(spec["timeout"]) if "timeout" in spec else None,
        max_parallel=spec["max_parallel"].integer(1, MAX_PARALLEL) if "max_parallel" in spec else 16,
        risk_limit=spec["risk_limit"].integer(0, MAX_RISK) if "risk_limit" in spec else None, source=document.source,
        description=spec["description"].text() if "description" in spec else "",
    )  # fmt: skip
    return Draft(workflow=made)


def _members(node: Node) -> dict[str, Node]:
    found = node.members()
    if not found:
        raise node.fail("a workflow needs at least one step")
    if len(found) > MAX_STEPS:
        raise node.fail(f"expected at most {MAX_STEPS} steps, found {len(found)}; a part can be a workflow of its own")
    return found


def _steps(members: Mapping[str, Node], around: Around, faults: list[Fault]) -> dict[str, Step]:
    """Each step by itself; what is wrong with one does not hide what is wrong with another."""
    found = {}
    for name, node in members.items():
        try:
            made = step(name, node, around)
            found[name] = replace(made, needs=tuple(sorted({*made.needs, *needed(made)})))
        except DocumentError as error:
            faults.append(_fault(error, name))
    return found


def _ordered(steps: Mapping[str, Step], members: Mapping[str, Node]) -> tuple[Step, ...]:
    needs = {name: made.needs for name, made in steps.items()}
    if loop := cycle(needs):
        way = " needs ".join(f"`{name}`" for name in (*loop, loop[0]))
        raise CycleError(str(members[loop[0]].fail(f"these steps wait for each other: {way}")))
    return tuple(steps[name] for name in order(needs))


class CycleError(DocumentError):
    """Steps of a document wait for each other."""


def _fault(error: DocumentError, name: str = "") -> Fault:
    code = "unknown_step" if isinstance(error, UnknownStepError) else "cycle" if isinstance(error, CycleError) else "format"
    return Fault(code=code, text=str(error), step=name)


def _name(node: Node) -> str:
    text = node.text()
    if not NAME.fullmatch(text) or len(text) > MAX_NAME:
        raise node.fail(f"expected a name such as `procurement`, at most {MAX_NAME} characters")
    return text


def _version(node: Node) -> str:
    if not VERSION.fullmatch(node.text()):
        raise node.fail("expected X.Y.Z")
    return node.text()


def _run_as(meta: Mapping[str, Node], steps: tuple[Step, ...], at: Node) -> str:
    if "run_as" in meta:
        return agent_id(meta["run_as"])
    acting = [made.id for made in steps if made.act]
    if acting:
        raise at.fail(f"`run_as` is missing here: step `{acting[0]}` acts, and somebody of the directory must answer for it")
    return ""


def _labels(node: Node) -> dict[str, str]:
    found = node.members()
    if len(found) > MAX_LABELS:
        raise node.fail(f"expected at most {MAX_LABELS} labels")
    return {key: child.text() for key, child in sorted(found.items())}


def _returns(spec: Mapping[str, Node], around: Around) -> Template:
    if "returns" not in spec:
        if "output" in spec:
            raise spec["output"].fail("`output` names the contract of what the run gives: say what that is under `returns`")
        return None
    return template(spec["returns"], Place(names=Names(steps=around.steps)))
