"""The workflows of a tenant as they lie there, right or wrong, and the tenant as checks see it.

Whoever loads a tenant stops at the first document that is wrong. Whoever corrects documents wants all that is wrong with all of
them, so here each is read by itself, and one that cannot be read keeps no other from being looked at.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct

from aegis.adapters import catalogue, messages, policies, queues
from aegis.adapters.catalogue import read
from aegis.adapters.workflows import DATA, FOLDER
from aegis.errors import ConfigError
from aegis.identity.directory import Directory
from aegis.model.contract import Contract
from aegis.model.document import Document, parse
from aegis.policy.ir import Policy
from aegis.workflow.checks import Finding, View, check, fault
from aegis.workflow.contract import contract
from aegis.workflow.data import DataContract, complaint, data_contract
from aegis.workflow.definitions import Definitions, definitions
from aegis.workflow.graph import Workflow
from aegis.workflow.reading import draft


class Checked(Struct, frozen=True, kw_only=True):
    """One file with everything that is wrong with it; `workflow` is `None` when it cannot be read."""

    path: Path
    workflow: Workflow | None
    findings: tuple[Finding, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether anything keeps it from doing what it says."""
        return any(each.level == "error" for each in self.findings)


class Folder(Struct, frozen=True, kw_only=True):
    """What was looked at, what is wrong beside it (contracts of data), and the tenant that it was held against."""

    checked: tuple[Checked, ...]
    beside: tuple[Finding, ...]
    view: View


def look(home: Path, directory: Directory, files: Iterable[Path] = ()) -> Folder:
    """Check these files as workflows of a tenant, or all that lie in its folder.

    Raises:
        ConfigError: A contract of a tool, message or queue is wrong; `aegis check` says so, too.
    """
    tenant = directory.tenant
    lying = {path: _drafted(path, tenant) for path in catalogue.documents(home / FOLDER)}
    asked = {path: lying.get(path) or _drafted(path, tenant) for path in files} or lying
    data, beside = _data(home / DATA, tenant)
    view = _view(home, directory, _definitions({**lying, **asked}, data))
    return Folder(checked=tuple(_checked(path, found, view) for path, found in asked.items()), beside=beside, view=view)


def _checked(path: Path, found: Checked, view: View) -> Checked:
    return found if found.workflow is None else Checked(path=path, workflow=found.workflow, findings=check(found.workflow, view))


def _drafted(path: Path, tenant: str) -> Checked:
    try:
        found = draft(_document(path))
    except ConfigError as error:
        return Checked(path=path, workflow=None, findings=(fault("format", str(error)),))
    made = found.workflow
    if made is not None and made.tenant != tenant:
        text = f"{path}:1:1: is of tenant `{made.tenant}`, and is to be one of tenant `{tenant}`"
        return Checked(path=path, workflow=None, findings=(fault("format", text),))
    return Checked(path=path, workflow=made, findings=tuple(fault(each.code, each.text, each.step) for each in found.faults))


def _document(path: Path) -> Document:
    if path.suffix == ".yml":
        raise ConfigError(f"{path}:1:1: expected a name that ends in `.yaml`, or it would be missing without a word")
    return parse(read(path), source=str(path))


def _data(directory: Path, tenant: str) -> tuple[tuple[DataContract, ...], tuple[Finding, ...]]:
    """The contracts of data that can be read, and what is wrong with the others."""
    found, wrong = [], []
    for path in catalogue.documents(directory):
        try:
            found.append(_own(data_contract(_document(path)), tenant))
        except ConfigError as error:
            wrong.append(fault("format", str(error)))
    ordered = sorted(found, key=lambda each: (each.name, each.numbers))
    for older, newer in pairwise(ordered):
        if older.name == newer.name and (hidden := complaint(older, newer)):
            wrong.append(fault("data_version", f"{newer.source}:1:1: {hidden}"))
    return tuple(found), tuple(wrong)


def _own(made: DataContract, tenant: str) -> DataContract:
    if made.tenant != tenant:
        raise ConfigError(f"{made.source}:1:1: is of tenant `{made.tenant}`, but lies below tenant `{tenant}`")
    return made


def _definitions(drafts: Mapping[Path, Checked], data: Iterable[DataContract]) -> Definitions:
    return definitions([each.workflow for each in drafts.values() if each.workflow is not None], data)


def _view(home: Path, directory: Directory, known: Definitions) -> View:
    tools = catalogue.load(home / messages.TOOLS, directory.tenant)
    others = queues.beside(messages.beside(tools, home, directory.tenant), home, directory.tenant)
    found: dict[str, Contract] = {**others.by_digest, **_contracts(known)}
    policy, tenant_data = _policy(home, directory.tenant, found)
    grouped: dict[str, tuple[Contract, ...]] = {}
    for each in found.values():
        grouped[each.name] = (*grouped.get(each.name, ()), each)
    return View(contracts=grouped, directory=directory, definitions=known, policy=policy, tenant_data=tenant_data)


def _contracts(known: Definitions) -> dict[str, Contract]:
    """The contracts of the workflows for which there is one; what keeps another from having one is a finding of its own."""
    found = [made for each in known.by_digest.values() if (made := _contract(each, known)) is not None]
    return {each.digest: each for each in found}


def _contract(made: Workflow, known: Definitions) -> Contract | None:
    try:
        return contract(made, known)
    except ConfigError:
        return None


def _policy(home: Path, tenant: str, contracts: Mapping[str, Contract]) -> tuple[Policy | None, Mapping[str, Any]]:
    """The set of the files, if it stands there and compiles; `aegis check` says why it does not."""
    try:
        return policies.load(home, tenant, contracts)
    except ConfigError:
        return None, {}
