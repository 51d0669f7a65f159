"""Where a tool's contract, a prompt or a workflow comes from: what a tenant demands of it, and the guard that holds calls to that.

`aegis.trust/v1` documents (`TENANT/trust.yaml`) say it:

    spec.pin        first_use: what a gateway sees first of a version is pinned. approved: a person has to approve each version.
    spec.tools      lines that match tools by name or effect, and say how many publishers must sign, or that a person must approve
    spec.artifacts  files with their kind, their digest, and how many publishers must sign

Of several lines that match a tool the strictest counts. Without the document everything is pinned at first use and nothing needs a
signature.
"""

import re
from collections.abc import Mapping
from typing import Literal, get_args

from msgspec import Struct

from aegis.model.contract import NAME, Contract, Effect, contract
from aegis.model.decision import Verdict
from aegis.model.document import Document, parse
from aegis.model.facts import Facts
from aegis.model.message import API_VERSION as MESSAGE
from aegis.model.message import message_contract
from aegis.model.node import Node
from aegis.model.proposal import Proposal
from aegis.model.queue import API_VERSION as QUEUE
from aegis.model.queue import queue_contract
from aegis.model.workflow_contract import API_VERSION as WORKFLOW
from aegis.model.workflow_contract import workflow_contract

API_VERSION = "aegis.trust/v1"
MAX_SIGNATURES = 8
Pinning = Literal["first_use", "approved"]
Kind = Literal["prompt", "workflow"]
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


class Demand(Struct, frozen=True, kw_only=True):
    """What must hold of one thing: by how many publishers it is signed, and whether a person must have approved it."""

    signatures: int = 0
    approved: bool = False


class ToolLine(Struct, frozen=True, kw_only=True):
    """What is demanded of tools whose name matches one of `tools` and whose effect is one of `effects`; empty matches all."""

    tools: tuple[str, ...]
    effects: tuple[str, ...]
    demand: Demand

    def matches(self, contract: Contract) -> bool:
        """Whether the line speaks of this tool."""
        named = not self.tools or any(_covers(pattern, contract.name) for pattern in self.tools)
        return named and (not self.effects or contract.effect in self.effects)


class Artifact(Struct, frozen=True, kw_only=True):
    """A file of the tenant's folder: its bytes have `digest` (if it says one), and `signatures` publishers signed them."""

    file: str
    kind: Kind
    digest: str = ""
    signatures: int = 0


class Trust(Struct, frozen=True, kw_only=True):
    """What a tenant demands. `stated` is false when it has no document that says so."""

    tenant: str
    approved: bool = False
    lines: tuple[ToolLine, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    stated: bool = False

    def of(self, contract: Contract) -> Demand:
        """What is demanded of a tool: the strictest of all lines that match."""
        found = [line.demand for line in self.lines if line.matches(contract)]
        return Demand(
            signatures=max((demand.signatures for demand in found), default=0),
            approved=self.approved or any(demand.approved for demand in found),
        )

    def artifact(self, file: str) -> Artifact | None:
        """What is said about a file of the tenant's folder."""
        return next((each for each in self.artifacts if each.file == file), None)


class Manifest(Struct, frozen=True, kw_only=True):
    """A contract as it lies in the tenant's folder: its text, and which owners of publisher keys have signed it.

    `problem` says why a signature that lies beside it counts for nothing.
    """

    contract: Contract
    text: str
    owners: tuple[str, ...] = ()
    problem: str = ""


class Folder(Struct, frozen=True, kw_only=True):
    """What lies in a tenant's folder, and what the tenant demands of it."""

    trust: Trust
    manifests: tuple[Manifest, ...]


class Objection(Struct, frozen=True, kw_only=True):
    """Why a contract does not serve: the rule that denies, a stable word, a text for people, and what was due."""

    rule: str
    reason: str
    text: str
    field: str = "tool_digest"
    expected: str | int = ""


class ProvenanceGuard:
    """Denies calls of a contract that is unsigned, not approved, or not the one that was pinned.

    `standing` tells by digest of every contract in effect what stands against it. A contract that it does not know is denied.
    `None` is for commands that serve nothing: there nobody has looked yet.
    """

    name = "provenance"

    def __init__(self, standing: Mapping[str, Objection | None] | None = None) -> None:
        self._standing = standing

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """One error, as other breaks of a contract are, or nothing."""
        if self._standing is None or not proposal.tool_digest:
            return ()
        found = self._standing.get(proposal.tool_digest, UNPINNED)
        if found is None:
            return ()
        return (
            Verdict(
                guard=self.name,
                effect="error",
                rule=found.rule,
                reason=f"{found.reason}: {found.text}",
                field=found.field,
                limit=found.expected,
            ),
        )


UNAPPROVED = "tool#unapproved"
UNPINNED = Objection(rule="tool#unpinned", reason="tool_not_pinned", text="this contract was never pinned here", expected="pinned")


def mismatch(pinned: str) -> Objection:
    """What stands against a version whose contract is no longer what was pinned."""
    text = "the contract of this version was changed after it was pinned; it stays quarantined until a person approves it"
    return Objection(rule="tool#digest_mismatch", reason="tool_digest_mismatch", text=text, expected=pinned)


def unapproved() -> Objection:
    """What stands against a version that a person must approve first."""
    text = "nobody has approved this version of the tool yet"
    return Objection(rule=UNAPPROVED, reason="tool_not_approved", text=text, expected="approved")


def unsigned(wanted: int, found: int, why: str = "") -> Objection:
    """What stands against a contract that too few publishers have signed."""
    text = f"expected signatures of {wanted}, found {found}{f' ({why})' if why else ''}"
    return Objection(rule="tool#unsigned", reason="tool_unsigned", text=text, field="signatures", expected=wanted)


def contract_of(text: str, *, source: str) -> Contract:
    """The contract of a tool, of a message, of a queue or of a workflow that a document states.

    Raises:
        DocumentError: It states none of them, at its place.
    """
    document = parse(text, source=source)
    said = document.value.get("apiVersion") if isinstance(document.value, Mapping) else None
    reads = {MESSAGE: message_contract, QUEUE: queue_contract, WORKFLOW: workflow_contract}.get(str(said), contract)
    return reads(document)


def parse_trust(document: Document) -> Trust:
    """What a document demands.

    Raises:
        DocumentError: With the place, what was found and what was expected.
    """
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("Trust",))
    meta = top["metadata"].fields(("tenant", "owner"), ("tenant",))
    spec = top["spec"].fields(("pin", "tools", "artifacts"))
    artifacts = tuple(_artifact(node) for node in spec["artifacts"].items(empty=True)) if "artifacts" in spec else ()
    files = [each.file for each in artifacts]
    for index, file in enumerate(files):
        if file in files[:index]:
            raise spec["artifacts"].at(index).fail(f"`{file}` is listed twice; a file has one line")
    return Trust(
        tenant=meta["tenant"].text(),
        approved="pin" in spec and _pinning(spec["pin"]) == "approved",
        lines=tuple(_line(node) for node in spec["tools"].items(empty=True)) if "tools" in spec else (),
        artifacts=artifacts,
        stated=True,
    )


def _line(node: Node) -> ToolLine:
    parts = node.fields(("tools", "effect", "signatures", "pin"))
    if not {"tools", "effect"} & parts.keys():
        raise node.fail('say which tools: `tools: ["payments.*"]`, `effect: [dangerous]`, or both')
    if not {"signatures", "pin"} & parts.keys():
        raise node.fail("say what they need: `signatures: 2`, `pin: approved`, or both")
    effects = parts["effect"].items() if "effect" in parts else ()
    return ToolLine(
        tools=tuple(_pattern(each) for each in parts["tools"].items()) if "tools" in parts else (),
        effects=tuple(each.word(get_args(Effect)) for each in effects),
        demand=Demand(
            signatures=parts["signatures"].integer(0, MAX_SIGNATURES) if "signatures" in parts else 0,
            approved="pin" in parts and _pinning(parts["pin"]) == "approved",
        ),
    )


def _artifact(node: Node) -> Artifact:
    parts = node.fields(("file", "kind", "digest", "signatures"), ("file", "kind"))
    file = parts["file"].text()
    if not _FILE.fullmatch(file):
        raise parts["file"].fail("expected a file of the tenant's folder such as `prompts/planner.md`")
    kind: Kind = parts["kind"].word(get_args(Kind))  # type: ignore[assignment]  # word() gave one of the literals
    if not {"digest", "signatures"} & parts.keys():
        raise node.fail("say what the file must be: `digest: sha256:...`, `signatures: 1`, or both")
    digest = parts["digest"].text() if "digest" in parts else ""
    if digest and not DIGEST.fullmatch(digest):
        raise parts["digest"].fail("expected `sha256:` and 64 hexadecimal digits; `aegis artifacts verify FILE` prints it")
    signatures = parts["signatures"].integer(0 if digest else 1, MAX_SIGNATURES) if "signatures" in parts else 0
    return Artifact(file=file, kind=kind, digest=digest, signatures=signatures)


def _pinning(node: Node) -> str:
    return node.word(get_args(Pinning))


def _pattern(node: Node) -> str:
    text = node.text()
    if text != "*" and not NAME.fullmatch(text.removesuffix(".*")):
        raise node.fail("expected a tool, `prefix.*` or `*`")
    return text


def _covers(pattern: str, tool: str) -> bool:
    return pattern in ("*", tool) or (pattern.endswith(".*") and tool.startswith(pattern[:-1]))
