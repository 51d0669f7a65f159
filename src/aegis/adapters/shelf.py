"""The contracts that lie in the tenants' folders, as they are followed.

A look costs a `stat` for each file, and only what changed is read again.

TENANT/tools/**/*.yaml             contracts of tools
TENANT/messages/**/*.yaml          contracts of messages
TENANT/workflows/**/*.yaml         workflows; their contracts are drawn from them
TENANT/data/**/*.yaml              contracts of data, which workflows name
TENANT/queues/**/*.yaml            contracts of queues
FILE.dsse.json                     the signed statement beside one
"""

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from aegis.adapters import catalogue, workflows
from aegis.adapters.catalogue import Stated
from aegis.adapters.trust import FILE, SUFFIX, load, tool, vouchers
from aegis.errors import ConfigError
from aegis.identity.keyset import KeyEntry, KeySet
from aegis.identity.statement import PUBLISHER
from aegis.model.contract import Contract, contract
from aegis.model.document import Document
from aegis.model.message import PREFIX, message_contract
from aegis.model.provenance import Folder, Manifest, Trust
from aegis.model.queue import PREFIX as QUEUE
from aegis.model.queue import queue_contract

TOOLS, MESSAGES, QUEUES = "tools", "messages", "queues"
FOLDERS = (TOOLS, MESSAGES, QUEUES, workflows.FOLDER, workflows.DATA)
_Stamp = tuple[int, int, int, int]


class Shelf:
    """The folders of all tenants, as `runtime.toolbox` asks for them. `keys` are the public keys in force."""

    def __init__(self, tenants: Path, keys: Callable[[], KeySet]) -> None:
        self._tenants = tenants
        self._keys = keys
        self._parsed: dict[str, tuple[_Stamp | None, Stated]] = {}
        self._trusted: tuple[KeySet, Mapping[str, list[KeyEntry]]] | None = None

    def stamp(self, tenant: str, now: datetime) -> Hashable:
        """Something that changes when a file does, or when another key may sign."""
        home = f"{self._tenants}/{tenant}"
        keys = self._keys()
        trusted = tuple(entry.kid for entry in self._publishers(keys, tenant) if keys.usable(entry, now))
        lying = (entry for folder in FOLDERS for entry in _files(f"{home}/{folder}"))
        return trusted, _stamp(f"{home}/{FILE}"), tuple(sorted(lying))

    def stated(self, tenant: str) -> tuple[Stated, ...]:
        """The contracts of a tenant; a file that did not change is not read again.

        Raises:
            ConfigError: A document is wrong, or a tool has the name of a message.
        """
        home = self._tenants / tenant
        tools = catalogue.stated(home / TOOLS, tenant, self._tool)
        for each in tools:
            if each.contract.name.startswith(PREFIX):
                raise ConfigError(f"{each.contract.source}: names below `{PREFIX}` are those of messages")
            if each.contract.name.startswith(QUEUE):
                raise ConfigError(f"{each.contract.source}: names below `{QUEUE}` are those of queues")
        queues = catalogue.stated(home / QUEUES, tenant, self._queue)
        workflows.refuse_names({each.contract.name: each.contract for each in tools})
        return (*tools, *catalogue.stated(home / MESSAGES, tenant, self._message), *queues, *workflows.stated(home, tenant))

    def folder(self, tenant: str, now: datetime) -> Folder:
        """What lies there now.

        Raises:
            ConfigError: A document is wrong.
        """
        trust, keys = load(self._tenants / tenant, tenant), self._keys()
        return Folder(trust=trust, manifests=tuple(_manifest(each, trust, keys, now) for each in self.stated(tenant)))

    def _publishers(self, keys: KeySet, tenant: str) -> list[KeyEntry]:
        """The publisher keys of a tenant, in use or not; sorted out once for each set of keys, for all tenants."""
        if self._trusted is None or self._trusted[0] is not keys:
            found: dict[str, list[KeyEntry]] = {}
            for entry in keys.entries():
                if entry.key_class == PUBLISHER:
                    found.setdefault(entry.tenant, []).append(entry)
            self._trusted = keys, found
        return self._trusted[1].get(tenant, [])

    def _tool(self, path: Path) -> Stated:
        return self._once(path, contract)

    def _message(self, path: Path) -> Stated:
        return self._once(path, message_contract)

    def _queue(self, path: Path) -> Stated:
        return self._once(path, queue_contract)

    def _once(self, path: Path, states: Callable[[Document], Contract]) -> Stated:
        stamp = _stamp(str(path))
        known = self._parsed.get(str(path))
        if known is None or stamp is None or known[0] != stamp:
            known = self._parsed[str(path)] = stamp, catalogue.parsed(path, states)
        return known[1]


def _manifest(each: Stated, trust: Trust, keys: KeySet, now: datetime) -> Manifest:
    """Signatures cost half a millisecond each: they are looked at where they are asked for."""
    made = each.contract
    if not trust.of(made).signatures:
        return Manifest(contract=made, text=each.text)
    who = vouchers(Path(made.source), tool(made), keys, now)
    return Manifest(contract=made, text=each.text, owners=who.owners, problem=who.problem)


def _files(directory: str) -> Iterator[tuple[str, _Stamp | None]]:
    """The contracts and statements below a directory, each with what changes when it does."""
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.name.endswith((".yaml", ".yml", SUFFIX)):
            yield entry.path, _stamp(entry.path)


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path costs five times the call
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns  # times of change cannot be set back
