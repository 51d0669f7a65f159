"""Two gateways, each with a directory of its own, share one PostgreSQL; one of them dies, and the other finishes its runs."""

import asyncio
import shutil
import threading
import time
from types import SimpleNamespace

import pytest

from faults.kills import Gateway, free_port
from faults.runs import Report, Starter, compare, settle, world

pytestmark = pytest.mark.postgres


def test_the_one_that_lives_finishes_what_the_other_had_begun(tmp_path):
    from tests.postgres_server import fresh_database

    (tmp_path / "one").mkdir()
    made = world(tmp_path / "one", fresh_database())
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first, second = Gateway(made, free_port()), Gateway(SimpleNamespace(root=tmp_path / "two"), free_port())
    stop, report = threading.Event(), Report()
    starters = [Starter(made, [first.url, second.url], number, stop, 1, report) for number in range(2)]
    try:
        first.start()
        second.start()
        for starter in starters:
            starter.start()
        time.sleep(1)
        first.kill()  # for good
        time.sleep(0.5)
        stop.set()
        for starter in starters:
            starter.join(60)
        begun = [each for starter in starters for each in starter.begun]
        settle(made, begun)
        second.kill()
        asyncio.run(compare(made, begun, report))
    finally:
        stop.set()
        made.close()
    assert begun
    assert not report.wrong, report.wrong[:8]
