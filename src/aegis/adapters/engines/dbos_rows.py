"""The rows of tasks in the database of the dispatcher: put in, counted, cancelled, given back and deleted."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from dbos import DBOSClient, EnqueueOptions, WorkflowStatus

from aegis.adapters.engines.dbos_database import SCHEMA
from aegis.workflow.dispatch import Lane, Task

PROTOCOL = "aegis.dispatch.1"
"""Names what a task's row holds; processes take only rows of their own. It changes when the row does, not with each release."""

TASK = "aegis.task"
_WAITING = ["ENQUEUED", "DELAYED"]
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_BATCH = 500
_NEVER_REACHED = 1_000_000


class Rows:
    """The tasks in one database."""

    def __init__(self, engine: sa.Engine, client: DBOSClient) -> None:
        schema = SCHEMA if engine.dialect.name == "postgresql" else None
        self._engine = engine
        self._client = client
        self._status = sa.table(
            "workflow_status", *map(sa.column, ("status", "queue_name", "queue_partition_key")), schema=schema
        ).c

    def register(self, lane: Lane, in_flight: int, poll_seconds: float) -> None:
        """Put the limits of a lane in force for every process.

        DBOS counts and claims in one transaction, on PostgreSQL in a snapshot. Two processes that count at once then lock the same
        rows, and one of them gives way, unless something more urgent came between their snapshots: each claims another row, and the
        limit is passed. With a limit on the queue as a whole DBOS uses serializable transactions, so every queue with limits has
        one that is never reached.
        """
        self._client.register_queue(
            lane.name,
            worker_concurrency=in_flight,
            global_concurrency=_NEVER_REACHED if lane.concurrency or lane.rate else None,
            partition_concurrency=lane.concurrency or None,
            partition_limiter={"limit": lane.rate, "period": lane.period_seconds} if lane.rate else None,
            polling_interval_sec=poll_seconds,
        )

    def enqueue(self, tasks: Sequence[Task]) -> None:
        """All of them in one transaction; those whose ids are there already stay as they are."""
        with self._engine.begin() as connection:
            for task in tasks:
                row = (task.tenant, task.run, task.node, task.dispatch, task.queue, task.priority, task.delay_seconds)
                self._client.enqueue_in_transaction(connection, _options(task), *row)

    def cancel(self, ids: list[str]) -> int:
        """Those that wait; how many."""
        waiting = self._ids(self._client.list_workflows(workflow_ids=ids, status=_WAITING, load_input=False, load_output=False))
        if waiting:
            self._client.cancel_workflows(waiting)
        return len(waiting)

    def depth(self) -> dict[tuple[str, str], int]:
        """How many wait, by (tenant, queue)."""
        key = self._status.queue_partition_key, self._status.queue_name
        query = sa.select(*key, sa.func.count()).where(self._status.status.in_(_WAITING)).group_by(*key)
        with self._engine.begin() as connection:
            return {(tenant, queue): count for tenant, queue, count in connection.execute(query)}

    def tidy(self, period_seconds: float) -> int:
        """Delete those that ended before the longest period of a rate, which counts them; how many."""
        before = (datetime.now(UTC) - timedelta(seconds=period_seconds)).isoformat()
        count = 0
        while ids := self._ids(
            self._client.list_workflows(status=_ENDED, completed_before=before, limit=_BATCH, load_input=False, load_output=False)
        ):
            self._client.delete_workflows(ids)
            count += len(ids)
        return count

    def started(self, executor: str) -> list[WorkflowStatus]:
        """Those that a process has started and not ended."""
        return self._client.list_workflows(executor_id=executor, status="PENDING", load_input=False, load_output=False)

    def give_back(self, executor: str) -> int:
        """What a process has started and will not end waits again in its queue; how many."""
        found = self.started(executor)
        for each in found:
            self._client.resume_workflow(each.workflow_id, queue_name=each.queue_name)
        return len(found)

    def _ids(self, found: Sequence[WorkflowStatus]) -> list[str]:
        return [each.workflow_id for each in found]


def _options(task: Task) -> EnqueueOptions:
    found = EnqueueOptions(
        workflow_name=TASK,
        queue_name=task.queue,
        workflow_id=task.id,
        app_version=PROTOCOL,
        priority=task.priority + 1,  # DBOS counts from 1
        queue_partition_key=task.tenant,
    )
    if task.delay_seconds > 0:
        found["delay_seconds"] = task.delay_seconds
    return found
