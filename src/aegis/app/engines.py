"""The engine that the settings name; apart from the rest, because only a serving process dispatches."""

from aegis.errors import ConfigError
from aegis.runtime.engine import Engine
from aegis.settings import Settings


def engine_of(settings: Settings, instance: str) -> Engine:
    """Who dispatches the tasks of this process, whose name is `instance`; nothing is opened yet.

    Raises:
        ConfigError: The settings want DBOS, and it is not installed.
    """
    found = settings.workflows
    if found.engine == "local" or (found.engine == "auto" and settings.sqlite_path is not None):
        from aegis.adapters.engines.local import LocalEngine  # noqa: PLC0415 - a process imports only the engine that it uses

        return LocalEngine(found.in_flight)
    try:
        from aegis.adapters.engines.dbos_engine import DbosEngine  # noqa: PLC0415 - it is an extra
    except ImportError:
        raise ConfigError(
            f'`workflows.engine` is "{found.engine}", which needs DBOS here: install `aegis-runtime[postgres]`, or set it to '
            '"local", and then the limits of queues hold for each process by itself'
        ) from None
    return DbosEngine(
        database_of(settings),
        instance,
        in_flight=found.in_flight,
        poll_seconds=found.poll_ms / 1000,
        lease_seconds=found.lease_seconds,
    )


def database_of(settings: Settings) -> str:
    """Where DBOS keeps its queues: what the settings say, else beside the store."""
    url = settings.workflows.database
    if url.startswith("sqlite:"):
        return f"sqlite:{settings.root / url.removeprefix('sqlite:')}"
    path = settings.sqlite_path
    return url or (f"sqlite:{path.with_name('dispatch.db')}" if path is not None else settings.store.url)
