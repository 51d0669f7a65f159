"""The triggers of a tenant, from `tenants/TENANT/triggers.yaml`; read again when the file has changed."""

from pathlib import Path

from aegis.adapters.catalogue import read
from aegis.errors import ConfigError
from aegis.model.document import parse
from aegis.model.trigger import Triggers, triggers

FILE = "triggers.yaml"


def load(root: Path, tenant: str) -> Triggers | None:
    """The triggers of a tenant; `None` when it has no document.

    Raises:
        DocumentError: The document is wrong, at its place.
        ConfigError: It is of another tenant.
    """
    path = root / tenant / FILE
    if not path.exists():
        return None
    stated = triggers(parse(read(path), source=str(path)))
    if stated.tenant != tenant:
        raise ConfigError(f"{path}: is of tenant `{stated.tenant}`, but lies below tenant `{tenant}`")
    return stated


class TriggerFiles:
    """The documents of a working directory, as they lie there now. A file that has become wrong is told, and changes nothing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, tuple[tuple[int, int], Triggers]] = {}

    def __call__(self, tenant: str) -> tuple[Triggers | None, ConfigError | None]:
        """The triggers that are in force, and what is wrong with the file, if anything."""
        former = self._known.get(tenant)
        try:
            found = (self._root / tenant / FILE).stat()
        except OSError:
            self._known.pop(tenant, None)
            return None, None
        mark = (found.st_mtime_ns, found.st_size)
        if former is not None and former[0] == mark:
            return former[1], None
        try:
            stated = load(self._root, tenant)
        except ConfigError as error:
            return former[1] if former else None, error
        if stated is not None:
            self._known[tenant] = (mark, stated)
        return stated, None
