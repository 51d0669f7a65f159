"""What lies in a tenant's folder and who vouches for it.

TENANT/trust.yaml                  what the tenant demands (optional)
TENANT/tools/**/*.yaml             contracts of tools
TENANT/messages/**/*.yaml          contracts of messages
FILE.dsse.json                     beside any of them, or beside a prompt or a workflow: the signed statement about it

A `Shelf` is looked at several times a second: a look costs a `stat` for each file, and only what changed is read again. Prompts are
read when a token is asked for.
"""

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from aegis.adapters import catalogue
from aegis.adapters.catalogue import Stated, read
from aegis.crypto.digest import sha256
from aegis.errors import ConfigError, IdentityError
from aegis.identity.directory import AgentEntry
from aegis.identity.keyset import KeyEntry, KeySet
from aegis.identity.statement import PUBLISHER, Thing, Vouched, in_use, vouched
from aegis.model.contract import Contract, contract
from aegis.model.document import Document, parse
from aegis.model.message import PREFIX, message_contract
from aegis.model.provenance import Artifact, Folder, Manifest, Trust, parse_trust

FILE, TOOLS, MESSAGES, SUFFIX = "trust.yaml", "tools", "messages", ".dsse.json"
MAX_ARTIFACT = 16 * 1024 * 1024
NO_SIGNATURE = "no_signature"
_EPOCH = datetime.fromtimestamp(0, UTC)
_Stamp = tuple[int, int, int, int]


def load(home: Path, tenant: str) -> Trust:
    """What a tenant demands; without a document: everything is pinned at first use, nothing is signed.

    Raises:
        DocumentError: The document is wrong, at its place.
        ConfigError: It is of another tenant.
    """
    path = home / FILE
    if not path.is_file():
        return Trust(tenant=tenant)
    found = parse_trust(parse(read(path), source=str(path)))
    if found.tenant != tenant:
        raise ConfigError(f"{path}: is of tenant `{found.tenant}`, but lies below tenant `{tenant}`")
    return found


def beside(path: Path) -> Path:
    """Where the signed statement about a file lies."""
    return path.with_name(path.name + SUFFIX)


def envelope(path: Path) -> bytes | None:
    """The signed statement beside a file, if there is one."""
    try:
        return beside(path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{beside(path)}: cannot be read: {error.strerror}") from None


def tool(contract: Contract) -> Thing:
    """A contract, as a statement names it."""
    name = f"{contract.name}@{contract.version}"
    return Thing(tenant=contract.tenant, kind="tool", name=name, digest=contract.digest, version=contract.version)


def artifact(home: Path, tenant: str, file: str, kind: str) -> Thing:
    """A prompt or a workflow, as a statement names it.

    Raises:
        ConfigError: There is no such file, or it does not lie in the tenant's folder.
    """
    return Thing(tenant=tenant, kind=kind, name=file, digest=sha256(_content(home, file)))


def vouchers(path: Path, thing: Thing, keys: KeySet, now: datetime) -> Vouched:
    """Who vouches for what lies in a file."""
    found = envelope(path)
    return vouched(found, thing, keys, now) if found is not None else Vouched(problem=NO_SIGNATURE)


def prompt_digest(home: Path, entry: AgentEntry, keys: KeySet | None = None, now: datetime = _EPOCH) -> str:
    """The digest of the prompt that an agent works by; empty when the directory names none.

    `keys` are those that may have signed it at `now`; without them nobody has.

    Raises:
        ConfigError: The file is not there, or does not lie in the tenant's folder.
        IdentityError: `artifact_digest_mismatch`: `trust.yaml` pins it, and it is another. `artifact_unsigned`: too few signed it.
    """
    if not entry.prompt:
        return ""
    thing = artifact(home, home.name, entry.prompt, "prompt")
    pinned = load(home, home.name).artifact(entry.prompt)
    if pinned is None:
        return thing.digest
    if pinned.digest not in ("", thing.digest):
        raise IdentityError("artifact_digest_mismatch", f"`{entry.prompt}` is not the file that `{FILE}` pins")
    who = vouchers(home / entry.prompt, thing, keys or KeySet(()), now)
    if len(who.owners) < pinned.signatures:
        raise IdentityError("artifact_unsigned", f"`{entry.prompt}`: {_too_few(pinned, who)}")
    return thing.digest


def artifact_problems(home: Path, tenant: str, pinned: Artifact, keys: KeySet, now: datetime) -> tuple[str, Vouched, str]:
    """(digest, who vouches for it, what is wrong with it) of a file that the tenant pins; the last is empty when all is well."""
    try:
        thing = artifact(home, tenant, pinned.file, pinned.kind)
    except ConfigError as error:
        return "", Vouched(), str(error)
    who = vouchers(home / pinned.file, thing, keys, now)
    if pinned.digest not in ("", thing.digest):
        return thing.digest, who, f"artifact_digest_mismatch: expected {pinned.digest}"
    if len(who.owners) < pinned.signatures:
        return thing.digest, who, f"artifact_unsigned: {_too_few(pinned, who)}"
    return thing.digest, who, ""


def _too_few(pinned: Artifact, who: Vouched) -> str:
    why = f" ({who.problem})" if who.problem else ""
    return f"expected signatures of {pinned.signatures}, found {len(who.owners)}{why}"


def _content(home: Path, file: str) -> bytes:
    """The bytes of a file of the tenant's folder; a link that leads out of it is refused."""
    path = home / file
    try:
        if not path.resolve(strict=True).is_relative_to(home.resolve()) or not path.is_file():
            raise ConfigError(f"{path}: expected a file in the tenant's folder")
        if path.stat().st_size > MAX_ARTIFACT:
            raise ConfigError(f"{path}: expected at most {MAX_ARTIFACT} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


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
        trusted = tuple(entry.kid for entry in self._publishers(tenant) if in_use(entry, now))
        lying = (entry for folder in (TOOLS, MESSAGES) for entry in _files(f"{home}/{folder}"))
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
        return (*tools, *catalogue.stated(home / MESSAGES, tenant, self._message))

    def folder(self, tenant: str, now: datetime) -> Folder:
        """What lies there now.

        Raises:
            ConfigError: A document is wrong.
        """
        trust, keys = load(self._tenants / tenant, tenant), self._keys()
        return Folder(trust=trust, manifests=tuple(_manifest(each, trust, keys, now) for each in self.stated(tenant)))

    def _publishers(self, tenant: str) -> list[KeyEntry]:
        """The publisher keys of a tenant, in use or not; sorted out once for each set of keys, for all tenants."""
        keys = self._keys()
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
