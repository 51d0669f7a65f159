"""Reads the contracts of a tenant from `tools/*.yaml`."""

from collections.abc import Callable, Collection, Iterable
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from aegis.adapters.wholefile import read_regular
from aegis.errors import ConfigError
from aegis.model.contract import Contract, contract
from aegis.model.document import MAX_SIZE_BYTES, Document, parse
from aegis.model.evolution import complaint


class Catalogue(Struct, frozen=True, kw_only=True):
    """The contracts of one tenant: `newest` by tool name, `by_digest` every version."""

    newest: Any
    by_digest: Any


class Stated(Struct, frozen=True, kw_only=True):
    """A contract, and the text that states it."""

    contract: Contract
    text: str


def load(directory: Path, tenant: str) -> Catalogue:
    """Every contract below `directory`; none at all when it does not exist.

    Raises:
        DocumentError: A document is wrong, at its place.
        ConfigError: A file ends in `.yml`, a document belongs to another tenant, two documents state one version, or a version does
            not say how it differs from the one before.
    """
    return arranged([each.contract for each in stated(directory, tenant, parsed)])


def stated(directory: Path, tenant: str, reader: Callable[[Path], Stated]) -> tuple[Stated, ...]:
    """What the documents below `directory` state, each by itself; `reader` reads one.

    Raises:
        DocumentError: As `load`.
        ConfigError: As `load`, but for how versions differ.
    """
    found: dict[tuple[str, str], Stated] = {}
    for path in documents(directory):
        if path.suffix == ".yml":
            raise ConfigError(f"{path}: expected a name that ends in `.yaml`, or the tool would be missing without a word")
        each = reader(path)
        made = each.contract
        if made.tenant != tenant:
            raise ConfigError(f"{path}: is of tenant `{made.tenant}`, but lies below tenant `{tenant}`")
        if (made.name, made.version) in found:
            first = found[made.name, made.version].contract.source
            raise ConfigError(f"{path}: version {made.version} of `{made.name}` stands already in {first}")
        found[made.name, made.version] = each
    return tuple(found.values())


def documents(directory: Path) -> list[Path]:
    """The files below `directory` that state contracts, or mean to."""
    return sorted(path for path in directory.rglob("*") if path.suffix in (".yaml", ".yml"))


def parsed(path: Path, states: Callable[[Document], Contract] = contract) -> Stated:
    """The contract in a file, which is of a tool unless said otherwise."""
    text = read(path)
    return Stated(contract=states(parse(text, source=str(path))), text=text)


def arranged(contracts: Iterable[Contract], *, waiting: Collection[str] = ()) -> Catalogue:
    """The catalogue of these contracts. A version that is `waiting` (its digest) is newest only where no other one serves.

    Raises:
        ConfigError: A version does not say how it differs from the one before.
    """
    found = sorted(contracts, key=lambda each: (each.digest not in waiting, each.numbers))
    _check_evolution(found)
    return Catalogue(
        newest=MappingProxyType({each.name: each for each in found}),
        by_digest=MappingProxyType({each.digest: each for each in found}),
    )


def _check_evolution(contracts: Iterable[Contract]) -> None:
    """Each version of a tool says by its number how it differs from the one before."""
    for older, newer in pairwise(sorted(contracts, key=lambda each: (each.name, each.numbers))):
        if older.name == newer.name and (wrong := complaint(older, newer)):
            raise ConfigError(f"{newer.source}: {wrong}; `aegis contract check {older.source} {newer.source}` lists the changes")


def read(path: Path) -> str:
    """The text of a document, or `ConfigError` that names the file."""
    try:
        content = read_regular(path, MAX_SIZE_BYTES)
        if len(content) > MAX_SIZE_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_SIZE_BYTES} bytes")
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {type(error).__name__}") from None
