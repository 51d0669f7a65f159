"""Reads the contracts of a tenant from `tools/*.yaml`."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from aegis.errors import ConfigError
from aegis.model.contract import Contract, contract
from aegis.model.document import parse
from aegis.model.evolution import complaint


class Catalogue(Struct, frozen=True, kw_only=True):
    """The contracts of one tenant: `newest` by tool name, `by_digest` every version."""

    newest: Any
    by_digest: Any


def load(directory: Path, tenant: str) -> Catalogue:
    """Every contract below `directory`; none at all when it does not exist.

    Raises:
        DocumentError: A document is wrong, at its place.
        ConfigError: A file ends in `.yml`, a document belongs to another tenant, or two documents state one version.
    """
    found: dict[tuple[str, str], Contract] = {}
    for path in sorted(path for path in directory.rglob("*") if path.suffix in (".yaml", ".yml")):
        if path.suffix == ".yml":
            raise ConfigError(f"{path}: expected a name that ends in `.yaml`, or the tool would be missing without a word")
        stated = contract(parse(read(path), source=str(path)))
        if stated.tenant != tenant:
            raise ConfigError(f"{path}: is of tenant `{stated.tenant}`, but lies below tenant `{tenant}`")
        if (stated.name, stated.version) in found:
            first = found[stated.name, stated.version].source
            raise ConfigError(f"{path}: version {stated.version} of `{stated.name}` stands already in {first}")
        found[stated.name, stated.version] = stated
    _check_evolution(found.values())
    newest: dict[str, Contract] = {}
    for stated in found.values():
        kept = newest.get(stated.name)
        if kept is None or stated.numbers > kept.numbers:
            newest[stated.name] = stated
    return Catalogue(
        newest=MappingProxyType(newest), by_digest=MappingProxyType({stated.digest: stated for stated in found.values()})
    )


def _check_evolution(contracts: Iterable[Contract]) -> None:
    """Each version of a tool says by its number how it differs from the one before."""
    for older, newer in pairwise(sorted(contracts, key=lambda each: (each.name, each.numbers))):
        if older.name == newer.name and (wrong := complaint(older, newer)):
            raise ConfigError(f"{newer.source}: {wrong}; `aegis contract check {older.source} {newer.source}` lists the changes")


def read(path: Path) -> str:
    """The text of a document, or `ConfigError` that names the file."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {type(error).__name__}") from None
