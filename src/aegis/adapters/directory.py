"""Reads who exists in each tenant from `TENANT/directory.yaml`."""

from pathlib import Path

from aegis.adapters.catalogue import read
from aegis.errors import ConfigError
from aegis.identity.directory import TENANT, Directory, parse_directory
from aegis.model.document import parse

FILE = "directory.yaml"


def load_all(root: Path) -> dict[str, Directory]:
    """The directory of every tenant below `root`.

    Raises:
        ConfigError: A folder holds no directory, or one of another tenant.
    """
    found: dict[str, Directory] = {}
    for home in sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []:
        if not TENANT.fullmatch(home.name):
            raise ConfigError(f"{home}: expected a tenant name such as `acme`: lower case letters, digits and `-`")
        path = home / FILE
        if not path.is_file():
            raise ConfigError(f"{path}: not found; each tenant's folder holds one")
        stated = parse_directory(parse(read(path), source=str(path)))
        if stated.tenant != home.name:
            raise ConfigError(f"{path}: is of tenant `{stated.tenant}`, but lies below tenant `{home.name}`")
        found[home.name] = stated
    return found
