"""Reads how a tenant weighs plans from `TENANT/gates.yaml`."""

import os
from pathlib import Path

from aegis.adapters.catalogue import read
from aegis.errors import ConfigError
from aegis.model.document import parse
from aegis.workflow.gates.document import Gates, gates

FILE = "gates.yaml"


def load(home: Path, tenant: str) -> Gates:
    """How a tenant weighs plans; without a document every plan goes to a person.

    Raises:
        DocumentError: The document is wrong, at its place.
        ConfigError: It cannot be read, or is of another tenant.
    """
    path = home / FILE
    if not os.path.lexists(path):  # anything else that bears the name is read, and refused when it cannot be
        return Gates(tenant=tenant)
    found = gates(parse(read(path), source=str(path)))
    if found.tenant != tenant:
        raise ConfigError(f"{path}: is of tenant `{found.tenant}`, but lies below tenant `{tenant}`")
    return found
