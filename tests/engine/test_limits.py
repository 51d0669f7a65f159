"""The limit of a lane when two processes claim at the same moment, step by step."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from psycopg.errors import SerializationFailure
from tests.engine.conftest import task
from tests.postgres_server import fresh_database

from aegis.adapters.engines.dbos_database import client, opened, prepare
from aegis.adapters.engines.dbos_rows import PROTOCOL, Rows
from aegis.runtime.engine import Lane


class Claimer:
    """A process that claims when it is told to."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.engine = opened(url)
        self.client = client(self.engine)
        self.rows = Rows(self.engine, self.client)

    def look(self) -> None:
        self.queue = self.client.retrieve_queue("default")

    def claim(self) -> list[str]:
        claimed, _ = self.client._sys_db.start_queued_workflows(self.queue, self.name, PROTOCOL, "acme", owner_xid=self.name)
        return claimed


@pytest.fixture
def claimers() -> Iterator[tuple[Claimer, Claimer]]:
    url = fresh_database()
    prepare(url)
    one, two = Claimer(url, "one"), Claimer(url, "two")
    yield one, two
    one.engine.dispose()
    two.engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("lane", [Lane(name="default", concurrency=1), Lane(name="default", rate=1, period_seconds=600.0)])
def test_a_more_urgent_task_that_comes_between_two_claims_does_not_pass_the_limit(
    claimers: tuple[Claimer, Claimer], lane: Lane
) -> None:
    one, two = claimers
    one.rows.register(lane, 8, 1.0)
    one.rows.enqueue([task("first", priority=10)])

    one.look()
    two.look()

    def before_it_commits(_: sa.Connection) -> None:
        two.rows.enqueue([task("urgent", priority=1)])
        assert two.claim() == [task("urgent").id]

    sa.event.listen(one.engine, "commit", before_it_commits, once=True)
    with pytest.raises(sa.exc.DBAPIError) as refused:
        one.claim()
    assert isinstance(refused.value.orig, SerializationFailure)
    assert [len(one.rows.started(name)) for name in ("one", "two")] == [0, 1]
