"""Reads the contracts of a tenant's messages from `messages/*.yaml`, and puts them beside those of its tools."""

from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from aegis.adapters import catalogue, queues, workflows
from aegis.adapters.catalogue import Catalogue, read
from aegis.errors import ConfigError
from aegis.model.contract import Contract
from aegis.model.document import parse
from aegis.model.evolution import complaint
from aegis.model.message import PREFIX, MessageContract, message_contract

TOOLS, FOLDER = "tools", "messages"


def beside(tools: Catalogue, home: Path, tenant: str) -> Catalogue:
    """The contracts of the tools, and of the messages below `home`: to send a message is to call the tool `message.NAME`.

    Raises:
        DocumentError: A document is wrong, at its place.
        ConfigError: A file ends in `.yml`, a document belongs to another tenant, two state one version, a version number hides a
            break, or a tool has the name of a message.
    """
    for contract in tools.newest.values():
        if contract.name.startswith(PREFIX):
            raise ConfigError(f"{contract.source}: tool `{contract.name}`: names below `{PREFIX}` are those of messages")
    found = load(home / FOLDER, tenant)
    newest: dict[str, Contract] = dict(tools.newest)
    newest |= {each.name: each for each in found}  # they come in order: the newest is last
    by_digest: dict[str, Contract] = {**tools.by_digest, **{each.digest: each for each in found}}
    return Catalogue(newest=MappingProxyType(newest), by_digest=MappingProxyType(by_digest))


def registered(home: Path, tenant: str) -> Catalogue:
    """Every contract of a tenant as policies may name them: of tools, messages, queues and workflows; `home` is its folder."""
    known = queues.beside(beside(catalogue.load(home / TOOLS, tenant), home, tenant), home, tenant)
    return workflows.beside(known, home, tenant)


def load(directory: Path, tenant: str) -> tuple[MessageContract, ...]:
    """Every message contract below `directory`, by name and version; none at all when it does not exist."""
    found: dict[tuple[str, tuple[int, int, int]], MessageContract] = {}
    for path in sorted(path for path in directory.rglob("*") if path.suffix in (".yaml", ".yml")):
        if path.suffix == ".yml":
            raise ConfigError(f"{path}: expected a name that ends in `.yaml`, or the message would be missing without a word")
        stated = message_contract(parse(read(path), source=str(path)))
        if stated.tenant != tenant:
            raise ConfigError(f"{path}: is of tenant `{stated.tenant}`, but lies below tenant `{tenant}`")
        first = found.setdefault((stated.name, stated.numbers), stated)
        if first is not stated:
            raise ConfigError(f"{path}: version {stated.version} of message `{stated.type}` stands already in {first.source}")
    ordered = tuple(found[key] for key in sorted(found))
    for older, newer in pairwise(ordered):
        if older.name == newer.name and (wrong := complaint(older, newer)):
            raise ConfigError(f"{newer.source}: {wrong}; `aegis contract check {older.source} {newer.source}` lists the changes")
    return ordered
