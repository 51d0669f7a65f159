"""Reads who exists in each tenant from `TENANT/directory.yaml`."""

import os
from collections.abc import Hashable, Iterable
from pathlib import Path

from aegis.adapters.catalogue import read
from aegis.adapters.wholefile import read_regular
from aegis.crypto.digest import sha256
from aegis.errors import ConfigError
from aegis.identity.directory import TENANT, Directory, parse_directory
from aegis.model.document import MAX_SIZE_BYTES, parse

FILE = "directory.yaml"


def load_all(root: Path) -> dict[str, Directory]:
    """The directory of every tenant below `root`.

    Raises:
        ConfigError: A folder holds no directory, or one of another tenant.
    """
    return {name: load(root, name) for name in names(root)}


def names(root: Path) -> list[str]:
    """The tenants below `root`.

    Raises:
        ConfigError: A folder has a name that no tenant can have.
    """
    homes = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    for home in homes:
        if not TENANT.fullmatch(home.name):
            raise ConfigError(f"{home}: expected a tenant name such as `acme`: lower case letters, digits and `-`")
    return [home.name for home in homes]


def load(root: Path, tenant: str) -> Directory:
    """The directory of one tenant.

    Raises:
        DocumentError: The document is wrong, at its place.
        ConfigError: There is none, or it is of another tenant.
    """
    path = root / tenant / FILE
    if not path.is_file():
        raise ConfigError(f"{path}: not found; each tenant's folder holds one")
    stated = parse_directory(parse(read(path), source=str(path)))
    if stated.tenant != tenant:
        raise ConfigError(f"{path}: is of tenant `{stated.tenant}`, but lies below tenant `{tenant}`")
    return stated


class DirectoryDesk:
    """The directories of a working directory, as `runtime.directories` asks for them."""

    def __init__(self, tenants: Path) -> None:
        self._tenants = tenants

    def stamps(self, tenants: Iterable[str]) -> dict[str, Hashable]:
        """For each tenant something that changes when its file does: inode, size and time; nothing where there is no file."""
        return {tenant: _stamp(f"{self._tenants}/{tenant}/{FILE}") for tenant in tenants}

    def load(self, tenant: str) -> Directory:
        """The directory in the tenant's file."""
        return load(self._tenants, tenant)

    def digest(self, tenant: str) -> str:
        """The digest of the file as it lies there, whatever it holds; empty when it cannot be read."""
        try:
            return sha256(read_regular(self._tenants / tenant / FILE, MAX_SIZE_BYTES))
        except OSError:
            return ""


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - plain text: looked at several times a second
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
