"""Which processes live: each holds a lock on a file of its own, which the kernel drops the moment it dies."""

import fcntl
import os
import time
from pathlib import Path
from urllib.parse import quote

from aegis.errors import StoreError

_LONGEST = 200
_TRIES = 100
_PAUSE_SECONDS = 0.01


class Instances:
    """The lock files in the directory `<database>.instances`."""

    def __init__(self, database: Path) -> None:
        self._home = database.with_name(database.name + ".instances")
        self._held: dict[str, int] = {}

    def register(self, instance: str) -> None:
        """Hold `instance` until `close` or the end of this process."""
        if instance in self._held:
            return
        try:
            self._home.mkdir(mode=0o700, exist_ok=True)
            self._held[instance] = self._locked(self._place(instance))
        except OSError as error:
            raise StoreError(f"cannot hold a lock file in `{self._home.name}`: {error.strerror}") from error

    def alive(self, instance: str) -> bool:
        """Whether a process holds `instance`, this one included. The file of a dead one is removed."""
        place = self._place(instance)
        try:
            descriptor = os.open(place, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"cannot look at a lock file in `{self._home.name}`: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look do not see each other
            place.unlink(missing_ok=True)
        except BlockingIOError:
            return _same(descriptor, place)
        else:
            return False
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of everything that this process holds."""
        while self._held:
            instance, descriptor = self._held.popitem()
            self._place(instance).unlink(missing_ok=True)
            os.close(descriptor)

    def _place(self, instance: str) -> Path:
        name = quote(instance, safe="") + ".lock"
        if not instance or len(name) > _LONGEST:
            raise StoreError(f"`instance` is empty or too long: expected at most {_LONGEST} bytes when quoted")
        return self._home / name

    def _locked(self, place: Path) -> int:
        """A descriptor that holds the lock on the file that stands at `place` now: a look by others may have removed one."""
        for _ in range(_TRIES):
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same(descriptor, place):
                    return descriptor
            except BlockingIOError:
                time.sleep(_PAUSE_SECONDS)  # somebody looks at it for a moment
            os.close(descriptor)
        raise StoreError("another process holds this `instance`: every process needs a name of its own")


def _same(descriptor: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), place.stat())
    except FileNotFoundError:
        return False
