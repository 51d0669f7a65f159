"""Reads the workflows of a tenant from `workflows/*.yaml`, and the contracts of data that they name from `data/*.yaml`.

A workflow stands beside the tools of its tenant: to start a run is to call the tool `workflow.NAME`.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

import msgspec

from aegis.adapters import catalogue
from aegis.adapters.catalogue import Catalogue, Stated, read
from aegis.errors import ConfigError
from aegis.model.contract import Contract
from aegis.model.document import Document, parse
from aegis.model.workflow_contract import PREFIX
from aegis.workflow.contract import contract, document
from aegis.workflow.data import complaint, data_contract
from aegis.workflow.definitions import Definitions, definitions
from aegis.workflow.reading import workflow

FOLDER, DATA = "workflows", "data"


class _Versioned(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def source(self) -> str: ...


Made = TypeVar("Made", bound=_Versioned)


def load(home: Path, tenant: str) -> Definitions:
    """Every workflow and every contract of data of a tenant; none at all where there are no such folders.

    Raises:
        DocumentError: A document is wrong, at its place.
        ConfigError: A file ends in `.yml`, a document belongs to another tenant, two state one version, or a version of data
            hides a break.
    """
    data = sorted(_all(home / DATA, tenant, data_contract), key=lambda each: (each.name, each.numbers))
    for older, newer in pairwise(data):
        if older.name == newer.name and (wrong := complaint(older, newer)):
            raise ConfigError(f"{newer.source}: {wrong}")
    return definitions(_all(home / FOLDER, tenant, workflow), data)


def stated(home: Path, tenant: str) -> tuple[Stated, ...]:
    """The contracts of a tenant's workflows, each with a text that holds all of it.

    Raises:
        DocumentError: A document is wrong, at its place, or names a contract of data that there is not.
        ConfigError: As `load`.
    """
    known = load(home, tenant)
    return tuple(
        Stated(contract=contract(each, known), text=msgspec.json.encode(document(each, known)).decode())
        for each in known.by_digest.values()
    )


def beside(others: Catalogue, home: Path, tenant: str) -> Catalogue:
    """The contracts of the others, and of the workflows below `home`.

    Raises:
        DocumentError: A document is wrong, at its place.
        ConfigError: As `load`; or something else has the name of a workflow, or a version does not say how it differs.
    """
    refuse_names(others.newest)
    found = catalogue.arranged(each.contract for each in stated(home, tenant))
    newest: dict[str, Contract] = {**others.newest, **found.newest}
    by_digest: dict[str, Contract] = {**others.by_digest, **found.by_digest}
    return Catalogue(newest=MappingProxyType(newest), by_digest=MappingProxyType(by_digest))


def refuse_names(others: Mapping[str, Contract]) -> None:
    """Refuse a tool, message or queue that has the name of a workflow."""
    for each in others.values():
        if each.name.startswith(PREFIX):
            raise ConfigError(f"{each.source}: `{each.name}`: names below `{PREFIX}` are those of workflows")


def _all(directory: Path, tenant: str, reads: Callable[[Document], Made]) -> tuple[Made, ...]:
    found: dict[tuple[str, str], Made] = {}
    for path in catalogue.documents(directory):
        if path.suffix == ".yml":
            raise ConfigError(f"{path}: expected a name that ends in `.yaml`, or it would be missing without a word")
        made = reads(parse(read(path), source=str(path)))
        if made.tenant != tenant:
            raise ConfigError(f"{path}: is of tenant `{made.tenant}`, but lies below tenant `{tenant}`")
        first = found.setdefault((made.name, made.version), made)
        if first is not made:
            raise ConfigError(f"{path}: version {made.version} of `{made.name}` stands already in {first.source}")
    return tuple(found.values())
