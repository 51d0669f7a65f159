"""DBOS in this process: launched once, quiet, and talking to nobody but its database."""

import asyncio
import logging
import os
from collections.abc import Callable

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig

from aegis.adapters.engines.dbos_bells import Bells
from aegis.adapters.engines.dbos_database import APPLICATION, SCHEMA, Plain
from aegis.adapters.engines.dbos_rows import PROTOCOL, TASK
from aegis.errors import StoreError
from aegis.workflow.dispatch import Task

Hand = Callable[[Task], "asyncio.Future[None]"]
_hand: Hand | None = None


def launch(engine: sa.Engine, name: str, lanes: list[str], bells: Bells, hand: Hand) -> DBOS:
    """DBOS as the process `name`, looking into these lanes; each task that it claims goes through `hand`, in its own loop.

    Raises:
        StoreError: DBOS serves in this process already, or the environment would make it answer to a service.
    """
    global _hand  # noqa: PLW0603 - DBOS is a singleton, and so is what serves its one workflow
    if _hand is not None:
        raise StoreError('this process serves another database already, and DBOS can serve one: set `workflows.engine = "local"`')
    if "DBOS__CLOUD" in os.environ:
        raise StoreError("unset the environment variable `DBOS__CLOUD`: with it DBOS would answer to a service elsewhere")
    _hand = hand
    _quiet()
    DBOS.workflow(name=TASK)(_run)
    try:
        found = DBOS(config=_config(engine, name))
        DBOS.listen_queues(lanes)
        DBOS.launch()
    except Exception:
        end()
        raise
    for event in found.background_thread_stop_events:
        bells.hang(event)
    return found


def end() -> None:
    """DBOS serves no more; whoever waits for a task that is under way waits in vain."""
    global _hand  # noqa: PLW0603 - as above
    DBOS.destroy(destroy_registry=True)
    _hand = None


def _quiet() -> None:
    quiet = logging.getLogger("dbos")
    if not quiet.handlers:
        quiet.addHandler(logging.NullHandler())  # in place of the handler that it would add to write to the console


def _config(engine: sa.Engine, name: str) -> DBOSConfig:
    return DBOSConfig(
        name=APPLICATION,
        system_database_engine=engine,
        dbos_system_schema=SCHEMA,
        serializer=Plain(),
        application_version=PROTOCOL,
        executor_id=name,
        run_migrations=False,
        use_listen_notify=False,
        enable_otlp=False,
        log_level="WARNING",
    )


async def _run(tenant: str, run: str, node: str, dispatch: int, queue: str, priority: int, delay_seconds: float) -> None:
    """The one workflow: DBOS calls it with the ids of a task that it has claimed."""
    assert _hand is not None
    await _hand(
        Task(tenant=tenant, run=run, node=node, dispatch=dispatch, queue=queue, priority=priority, delay_seconds=delay_seconds)
    )
