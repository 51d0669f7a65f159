"""What lies in a tenant's folder and who vouches for it.

TENANT/trust.yaml                  what the tenant demands (optional)
TENANT/tools/**/*.yaml             contracts of tools
TENANT/messages/**/*.yaml          contracts of messages
FILE.dsse.json                     beside any of them, or beside a prompt or a workflow: the signed statement about it

Prompts are read when a token is asked for; contracts are followed (`adapters.shelf`).
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from aegis.adapters.catalogue import read
from aegis.adapters.wholefile import read_regular
from aegis.crypto.digest import sha256
from aegis.errors import ConfigError, IdentityError
from aegis.identity.directory import AgentEntry
from aegis.identity.keyset import KeySet
from aegis.identity.statement import Thing, Vouched, vouched
from aegis.model.contract import Contract
from aegis.model.document import parse
from aegis.model.provenance import Artifact, Trust, parse_trust

FILE, SUFFIX = "trust.yaml", ".dsse.json"
MAX_ARTIFACT = 16 * 1024 * 1024
NO_SIGNATURE = "no_signature"
_EPOCH = datetime.fromtimestamp(0, UTC)


def load(home: Path, tenant: str) -> Trust:
    """What a tenant demands; without a document: everything is pinned at first use, nothing is signed.

    Raises:
        DocumentError: The document is wrong, at its place.
        ConfigError: It is of another tenant.
    """
    path = home / FILE
    if not os.path.lexists(path):  # anything else that bears the name is read, and refused when it cannot be
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
        return read_regular(beside(path), MAX_ARTIFACT)
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
        content = read_regular(path, MAX_ARTIFACT)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_ARTIFACT:
        raise ConfigError(f"{path}: expected at most {MAX_ARTIFACT} bytes")
    return content
