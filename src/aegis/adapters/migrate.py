"""Bring a database to the revision that this code reads and writes, or refuse it when it is newer.

The caller holds a lock that keeps other processes out, and hands over a raw connection. One transaction covers the whole way up,
so a process that dies in the middle leaves the database as it was.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aegis.adapters.schema import REVISION
from aegis.errors import StoreError

HOME = Path(__file__).parent / "migrations"


def behind(found: str | None) -> bool:
    """Whether a database at revision `found` (`None`: empty) must be migrated; cheap, so that opening a current one is.

    Raises:
        StoreError: The revision is unknown here: a newer version of this product wrote it.
    """
    if found == REVISION:
        return False
    if found is not None and found not in _known():
        raise StoreError(
            f"the store stands at revision `{found}`, which this version does not know: upgrade aegis, then open it again"
        )
    return True


def upgrade(dialect: str, connect: Callable[[], Any], begin: str) -> None:
    """Run every revision that is missing, in one transaction that the statement `begin` opens.

    Args:
        dialect: SQLAlchemy's name of dialect and driver, such as `sqlite`.
        connect: Gives a raw connection in autocommit mode; it is closed afterwards.
        begin: Empty where the driver begins a transaction by itself.
    """
    from alembic import command  # noqa: PLC0415 - half a second that a store at the current revision need not pay
    from sqlalchemy import create_engine, event  # noqa: PLC0415 - as above
    from sqlalchemy.pool import NullPool  # noqa: PLC0415 - as above

    engine = create_engine(f"{dialect}://", creator=connect, poolclass=NullPool)
    if begin:
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()


def _known() -> frozenset[str]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Any:
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(HOME).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
