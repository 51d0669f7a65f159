"""An insider who may write to the database, and nothing else, rewrites the past under a gateway that runs, so that it signs it."""

import asyncio

import msgspec
import pytest
from tests.store.homes import Home, event

from aegis.adapters.anchor import Anchor
from aegis.crypto.merkle import Frontier, leaf_hash
from aegis.errors import CorruptStoreError
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.unit import Unit
from aegis.model.event import origin
from verify.live import Place


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request, tmp_path):
    where = str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("postgres_dsn")
    made = Place(tmp_path, Home(request.param, where))
    made.fill(5, tenant="globex")
    made.fill(200, 100)
    return made


def value(place: Place, data: bytes) -> str:
    return f"X'{data.hex()}'" if place.home.kind == "sqlite" else f"'\\x{data.hex()}'::bytea"


def rewrite(place: Place, tenant: str = "acme") -> Frontier:
    """Event 3 says something else now, and everything in the database that follows from it agrees."""
    rows = place.home.sql(f"SELECT body FROM event WHERE tenant = '{tenant}' ORDER BY seq")
    bodies = [bytes(row[0]) for row in rows]
    bodies[3] = bodies[3].replace(b'"origin":', b'"nothing":"happened","origin":')
    frontier = Frontier().extend(map(leaf_hash, bodies))
    place.home.sql(
        f"UPDATE event SET body = {value(place, bodies[3])} WHERE tenant = '{tenant}' AND seq = 3",
        f"UPDATE head SET frontier = {value(place, frontier.hashes)} WHERE tenant = '{tenant}'",
        f"UPDATE tile SET hashes = {value(place, b''.join(map(leaf_hash, bodies[:256])))} WHERE tenant = '{tenant}'",
        "SELECT 1",
    )
    return frontier


async def go_on(place: Place) -> None:
    """More events, and the next turn of the sealer."""
    store = await place.home.open()
    try:
        await store.commit(Unit(tenant="acme", events=tuple(event("acme", f"later-{number}") for number in range(10))))
        await place.sealer(store).seal()
    finally:
        await store.close()


def row_is_gone(place: Place, _: Frontier) -> None:
    place.home.sql("DELETE FROM state WHERE kind = 'checkpoint' AND id = 'acme'", "SELECT 1")


def row_follows(place: Place, frontier: Frontier) -> None:
    """The row names the new root: nobody verifies a signature there."""
    ((body,),) = place.home.sql("SELECT body FROM state WHERE kind = 'checkpoint' AND id = 'acme'")
    said = msgspec.json.decode(bytes(body))
    old = said["note"].split("\n\n")[1]
    said["note"] = Checkpoint(origin("acme"), frontier.size, frontier.root).text + "\n" + old
    changed = value(place, msgspec.json.encode(said))
    place.home.sql(f"UPDATE state SET body = {changed} WHERE kind = 'checkpoint' AND id = 'acme'", "SELECT 1")


@pytest.mark.parametrize("cover", [row_is_gone, row_follows])
def test_a_past_that_was_rewritten_under_a_running_gateway_is_not_signed(place, cover):
    kept = dict(Anchor(place.root / "anchor").all())
    cover(place, rewrite(place))
    with pytest.raises(CorruptStoreError, match="`acme`"):
        asyncio.run(go_on(place))
    assert Anchor(place.root / "anchor").note(origin("acme")) == kept[origin("acme")]
    assert place.verify()["acme"]
