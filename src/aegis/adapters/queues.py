"""Reads the contracts of a tenant's queues from `queues/*.yaml`, and puts them beside the others."""

from pathlib import Path
from types import MappingProxyType

from aegis.adapters import catalogue
from aegis.adapters.catalogue import Catalogue, Stated
from aegis.errors import ConfigError
from aegis.model.contract import Contract
from aegis.model.queue import PREFIX, queue_contract

FOLDER = "queues"


def beside(others: Catalogue, home: Path, tenant: str) -> Catalogue:
    """The contracts of the others, and of the queues below `home`: whoever wants something of a queue calls `queue.NAME`.

    Raises:
        DocumentError: A document is wrong, at its place.
        ConfigError: A document belongs to another tenant, two state one version, or something else has the name of a queue.
    """
    for contract in others.newest.values():
        if contract.name.startswith(PREFIX):
            raise ConfigError(f"{contract.source}: `{contract.name}`: names below `{PREFIX}` are those of queues")
    found = catalogue.arranged(each.contract for each in catalogue.stated(home / FOLDER, tenant, _read))
    newest: dict[str, Contract] = {**others.newest, **found.newest}
    by_digest: dict[str, Contract] = {**others.by_digest, **found.by_digest}
    return Catalogue(newest=MappingProxyType(newest), by_digest=MappingProxyType(by_digest))


def _read(path: Path) -> Stated:
    return catalogue.parsed(path, queue_contract)
