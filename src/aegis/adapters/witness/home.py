"""The directory of a witness: its name and key, and the logs whose checkpoints it looks at.

    witness.json          its name and its public key
    key/KID.jwk.json      its private key, which is used for nothing else
    logs.txt              a line `log VKEY` for each key of a log; read again when it changes
    state/, conflicts/    what it cosigned, and what it refused (`states`)

A log is known by its origin, which is the name of its key. A log whose key is being replaced has two lines until the old one is
taken out.

Source: C2SP tlog-policy, for the lines of logs.txt.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from aegis.adapters import keyfiles, wholefile
from aegis.crypto import note
from aegis.crypto.jwk import PrivateKey
from aegis.crypto.note import COSIGNATURE, ED25519, Verifier
from aegis.errors import ConfigError, NoteError

FILE, LOGS, KEY = "witness.json", "logs.txt", "key"


class _Said(Struct, frozen=True, forbid_unknown_fields=True):
    """What `witness.json` holds."""

    name: str
    vkey: str


class Home(Struct, frozen=True):
    """A witness: where it lives, its name and its key."""

    path: Path
    name: str
    key: PrivateKey

    @property
    def verifier(self) -> Verifier:
        """What others verify its cosignatures with."""
        return Verifier(self.name, self.key.public, COSIGNATURE)


def create(path: Path, name: str, logs: Iterable[str]) -> Home:
    """Make a witness with a new key that knows these logs (vkeys).

    Raises:
        ConfigError: There is one already, the name cannot be one, or a key is not that of a log.
    """
    if (path / FILE).exists() or (path / KEY).exists():
        raise ConfigError(f"{path}: there is a witness already; `aegis witness show {path}` shows it")
    known = [_log(text) for text in logs]
    try:
        note.named(name)
    except NoteError as error:
        raise ConfigError(f"`{name}` cannot be the name of a witness: {error}") from None
    wholefile.make_directory(path)
    key = keyfiles.create_offline(path / KEY)
    home = Home(path, name, key)
    _write_logs(path, known)
    content = msgspec.json.format(msgspec.json.encode(_Said(name, home.verifier.vkey)), indent=2) + b"\n"
    wholefile.write(path / FILE, content, wholefile.PUBLIC)
    return home


def load(path: Path) -> Home:
    """The witness in a directory.

    Raises:
        ConfigError: There is none, or its key is missing, readable by others, or not the one that it told.
    """
    if not (path / FILE).is_file():
        raise ConfigError(f"{path / FILE}: not found; `aegis witness init {path} --name NAME --log VKEY` makes a witness")
    try:
        said = msgspec.json.decode(wholefile.read_public(path / FILE), type=_Said)
        told = note.parse_vkey(said.vkey)
    except (msgspec.DecodeError, NoteError) as error:
        raise ConfigError(f"{path / FILE}: {error}") from None
    files = sorted((path / KEY).glob("*.jwk.json"))
    if len(files) != 1:
        raise ConfigError(f"{path / KEY}: expected one key, found {len(files)}")
    home = Home(path, said.name, keyfiles.read_private_key(files[0]))
    if home.verifier != told:
        raise ConfigError(f"{path / FILE}: name and key are not those of {files[0].name}; whoever trusts them would not trust you")
    return home


def logs(path: Path) -> Mapping[str, tuple[Verifier, ...]]:
    """The keys of the logs that a witness knows, by origin.

    Raises:
        ConfigError: The file cannot be read, others can change it, or a line is wrong; the message names it.
    """
    found: dict[str, tuple[Verifier, ...]] = {}
    for number, line in enumerate(wholefile.read_public(path / LOGS).decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] != "log" or len(words) not in (2, 3):
            raise ConfigError(f"{path / LOGS}:{number}: expected `log VKEY`")
        key = _log(words[1], f"{path / LOGS}:{number}: ")
        found[key.name] = (*found.get(key.name, ()), key)
    return found


def add(path: Path, more: Iterable[str]) -> int:
    """Let a witness know more keys of logs (vkeys); how many were new.

    Raises:
        ConfigError: One is not the key of a log; then none is added.
    """
    wanted = [_log(text) for text in more]
    with wholefile.locked(path):
        there = [key for keys in logs(path).values() for key in keys]
        fresh = [key for key in dict.fromkeys(wanted) if key not in there]
        _write_logs(path, [*there, *fresh])
    return len(fresh)


def _write_logs(path: Path, keys: Iterable[Verifier]) -> None:
    lines = [f"log {key.vkey}\n" for key in keys]
    content = "".join(["# The logs that this witness knows; read again when it changes.\n", *lines])
    wholefile.write(path / LOGS, content.encode(), wholefile.PUBLIC)


def _log(text: str, place: str = "") -> Verifier:
    try:
        key = note.parse_vkey(text)
    except NoteError as error:
        raise ConfigError(f"{place}not the key of a log: {error}; `aegis witness keys` prints those of a gateway") from None
    if key.algorithm != ED25519:
        raise ConfigError(f"{place}`{key.name}` is the key of a witness; expected that of a log")
    return key
