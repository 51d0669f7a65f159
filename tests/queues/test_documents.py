"""Documents of queues: what they say, and what is refused with its place."""

import pytest

from aegis.errors import DocumentError
from aegis.model.document import parse
from aegis.model.provenance import contract_of
from aegis.model.queue import Callable, Endpoint, QueueContract, Remote, queue_contract

WHOLE = """
apiVersion: aegis.queue/v1
kind: Queue
metadata: {name: finance, version: 1.0.0, tenant: acme, owner: team:finance}
spec:
  description: Work on money.
  concurrency: 4
  rate: {max: 10, per: 1m}
  max_depth: 100
  lease_seconds: 20
  agents:
    agent:scorer: {python: "acme.agents:score"}
    agent:finder: {endpoint: "https://finder.example/tasks", timeout_seconds: 5}
    agent:payer: {remote: true}
"""


def read(text):
    return queue_contract(parse(text, source="q.yaml"))


def test_a_queue_says_who_serves_it_and_how_much_at_once():
    found = read(WHOLE)
    assert (found.name, found.queue, found.owner) == ("queue.finance", "finance", "team:finance")
    assert (found.concurrency, found.rate, found.period_seconds, found.max_depth, found.lease_seconds) == (4, 10, 60, 100, 20)
    assert found.agents == {
        "agent:scorer": Callable(name="acme.agents:score"),
        "agent:finder": Endpoint(url="https://finder.example/tasks", timeout_seconds=5),
        "agent:payer": Remote(),
    }


def test_a_queue_without_limits_has_none():
    lines = [line for line in WHOLE.splitlines() if line.split(":")[0].strip() not in ("concurrency", "rate", "max_depth")]
    found = read("\n".join(lines))
    assert not found.limited
    assert found.max_depth == 0


def test_a_pinned_queue_is_read_again_as_a_queue():
    assert isinstance(contract_of(WHOLE, source="pinned"), QueueContract)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("concurrency: 4", "concurrency: 0", "expected an integer from 1"),
        ("per: 1m", "per: soon", "expected a time such as"),
        ("per: 1m", "per: 2d", "at most `1d`"),
        ("{remote: true}", "{remote: false}", "expected true"),
        ("{remote: true}", "{remote: true, python: 'a:b'}", "exactly one of"),
        ("{remote: true}", "{remote: true, timeout_seconds: 1}", "exactly one of"),
        ('"acme.agents:score"', '"acme.agents"', "package.module:function"),
        ("https://finder.example/tasks", "ftp://finder.example/tasks", "a URL such as"),
        ("https://finder.example/tasks", "https://user:secret@finder.example/", "a URL such as"),
        ("agent:payer:", "payer:", "is not an agent"),
        ("max_depth: 100", "max_deep: 100", "unknown key `max_deep`"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old, new, told):
    assert old in WHOLE
    with pytest.raises(DocumentError, match=told):
        read(WHOLE.replace(old, new))
