"""The operator's key to what is about all tenants: the details of `/readyz` and the tenants' own series of `/metrics`.

    keys/monitor.token      one line of at least 32 characters, readable by its owner only

It is a shared secret and opens nothing else: whoever watches the gateway need not be able to act. It is read at each use, so that a
new one holds at once; where there is none, nobody sees what it opens.
"""

import hmac
import secrets
from pathlib import Path

from aegis.adapters import wholefile
from aegis.errors import ConfigError

FILE = "monitor.token"
SHORTEST = 32


def create(root: Path) -> None:
    """Make the key, unless there is one."""
    wholefile.make_directory(root)
    with wholefile.locked(root):
        if not (root / FILE).exists():
            wholefile.write(root / FILE, secrets.token_hex(SHORTEST).encode() + b"\n", wholefile.PRIVATE)


def load(root: Path) -> str:
    """The key; empty when there is none.

    Raises:
        ConfigError: It is too short to be one, or others can read it.
    """
    path = root / FILE
    if not path.exists():
        return ""
    text = wholefile.read_private(path).decode("ascii", "replace").strip()
    if len(text) < SHORTEST or not text.isascii():
        raise ConfigError(f"{path}: expected one line of at least {SHORTEST} ASCII characters")
    return text


def fits(root: Path, given: str) -> bool:
    """Whether `given` is the key; a key that cannot be read fits nothing."""
    try:
        wanted = load(root)
    except ConfigError:
        return False
    return bool(wanted) and hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))
