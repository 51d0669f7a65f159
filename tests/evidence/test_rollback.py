"""A whole gateway with a witness on another host: a database that was put back, or written anew, is not served.

Attack cases 24 and 25: whoever owns the database, the anchor and the log's key still cannot take the witness back.
"""

import asyncio
import contextlib
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql
from tests.witness.logs import Log, Running

from aegis.adapters import keyfiles
from aegis.adapters.anchor import Anchor
from aegis.adapters.witness import states
from aegis.app import open_app
from aegis.crypto import note
from aegis.crypto.jwk import PrivateKey
from aegis.crypto.note import COSIGNATURE
from aegis.errors import CorruptStoreError
from aegis.journal import checkpoint
from aegis.model.event import origin
from aegis.runtime.clock import Clock
from aegis.settings import EvidenceSettings
from gateway.world import World

ACME = origin("acme")
DONE = 200


class Place:
    """A world whose logs a witness knows, and copies of its database."""

    def __init__(self, root: Path, store_url: str) -> None:
        (root / "host").mkdir()
        self.world = World(root / "host", store_url)
        keys = [each for each in keyfiles.load_public(self.world.keys).entries() if each.key_class == "log"]
        self.witness = Running(root / "witness", "w.example", [note.vkey(origin(each.tenant), each.key) for each in keys])
        self.watched = EvidenceSettings(witness_url=self.witness.url, witness_key=self.witness.verifier.vkey)
        self.world.settings = replace(self.world.settings, evidence=self.watched)
        self.anchor = self.world.settings.anchor

    def copy(self, name: str) -> None:
        """Keep the database as it is now, while nothing runs."""
        if self.world.settings.sqlite_path is not None:
            shutil.copytree(self.world.root / "data", self.world.root / name)
            return
        self._sql("CREATE DATABASE {} TEMPLATE {}", name)

    def restore(self, name: str) -> None:
        """Put a copy in the place of the database."""
        if self.world.settings.sqlite_path is not None:
            shutil.rmtree(self.world.root / "data")
            shutil.copytree(self.world.root / name, self.world.root / "data")
            return
        self._sql("DROP DATABASE {1}", name)
        self._sql("CREATE DATABASE {1} TEMPLATE {0}", name)

    def empty(self) -> None:
        """A database without anything in it."""
        if self.world.settings.sqlite_path is not None:
            shutil.rmtree(self.world.root / "data")
            return
        self._sql("DROP DATABASE {1}", "")
        self._sql("CREATE DATABASE {1}", "")

    def _sql(self, statement: str, name: str) -> None:
        url = self.world.settings.store.url
        database = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        copied = f"{database}_{name}"
        with psycopg.connect(psycopg.conninfo.make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(copied), sql.Identifier(database)))

    def refused(self) -> str:
        """Why the gateway does not start."""

        async def start() -> None:
            app = await open_app(self.world.settings, clock=Clock(self.world.hand))
            try:
                await app.start()
            finally:
                await app.gate.store.close()
                await app.witnesses.close()

        with pytest.raises(CorruptStoreError) as caught:
            asyncio.run(start())
        return str(caught.value)

    def cosigned(self) -> tuple[int, int]:
        """Size and time of the newest checkpoint of acme in the anchor, verified as the witness's."""
        kept = note.parse(Anchor(self.anchor).note(ACME))
        (signer,) = note.verified(kept, [self.witness.verifier])
        return checkpoint.parse(kept.text).size, signer.time

    def log_key(self) -> PrivateKey:
        return keyfiles.load_private(self.world.keys, "log", "acme", "", now=datetime.now(UTC))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request, tmp_path):
    from tests.postgres_server import migrated_database

    made = Place(tmp_path, "sqlite:data/aegis.db" if request.param == "sqlite" else migrated_database())
    yield made
    made.world.close()
    made.witness.stop()


def payments(w: World, *keys: str) -> None:
    for key in keys:
        assert w.call("pay.honours", {"amount": 10}, key).status_code == DONE


def test_what_a_gateway_seals_is_cosigned_within_seconds(place):
    place.world.start()
    payments(place.world, "k-1")
    deadline = time.monotonic() + 15
    while True:
        with contextlib.suppress(AttributeError, TypeError, note.NoteError):
            if place.cosigned()[0] >= 2:
                break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert abs(place.cosigned()[1] - time.time()) < 60


def test_a_database_from_before_an_approval_was_used_is_refused_and_the_approval_opens_nothing_twice(place):
    w = place.world
    w.start()
    held = w.call("pay.neither", {"amount": 2000}, "held-1").json()["approval_id"]
    assert w.approve(held).json()["state"] == "approved"
    w.stop()
    place.copy("before")
    shutil.copytree(place.anchor, w.root / "anchor-before")
    w.start()
    assert w.call("pay.neither", {"amount": 2000}, "held-1").status_code == DONE
    w.stop()
    done = len(w.tool.done)
    place.copy("after")

    place.restore("before")
    assert "were sealed: the database was put back to an older state" in place.refused()
    shutil.rmtree(place.anchor)
    shutil.copytree(w.root / "anchor-before", place.anchor)
    told = place.refused()
    assert "witness `w.example` has cosigned" in told
    assert "put back to an older state" in told
    shutil.rmtree(place.anchor)
    assert "witness `w.example` has cosigned" in place.refused()
    assert len(w.tool.done) == done

    place.restore("after")
    w.start()
    payments(w, "k-2")


def test_a_log_built_anew_with_the_stolen_key_is_refused_and_kept_as_evidence(place):
    w = place.world
    w.start()
    payments(w, "k-1", "k-2")
    w.stop()
    size, _ = place.cosigned()

    place.empty()
    shutil.rmtree(place.anchor)
    w.settings = replace(w.settings, evidence=EvidenceSettings())  # the thief has no witness, and the keys
    w.start()
    payments(w, "k-1", "k-2", "k-3")
    w.stop()
    w.settings = replace(w.settings, evidence=place.watched)
    assert "witness `w.example` has cosigned" in place.refused()

    forged = Log(origin=ACME, key=place.log_key()).grow(size, b"forged")
    assert place.witness.add(forged, size, proof=[])[0] == 409
    kept = [path for path in states.conflicts(place.witness.home) if path.read_text("utf-8").startswith(ACME)]
    fork, unproven = kept
    assert (fork.name.partition("-")[0], unproven.name.partition("-")[0]) == ("fork", "unproven")
    refused, known = (note.parse(path.read_bytes()) for path in (fork, fork.with_name(fork.stem + ".known.txt")))
    log = note.Verifier(ACME, place.log_key().public)
    assert len(note.verified(refused, [log])) == 1
    assert len(note.verified(known, [log, place.witness.verifier])) == 2
    sizes = {checkpoint.parse(each.text).size for each in (refused, known)}
    roots = {checkpoint.parse(each.text).root for each in (refused, known)}
    assert (len(sizes), len(roots)) == (1, 2), "two signed notes of one size and two roots prove the fork to anybody"
    shown = subprocess.run(
        [sys.executable, "-m", "aegis", "witness", "show", place.witness.home.path], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 1
    assert "a fork: the log has signed two trees of one size" in shown.stdout


def test_a_witness_that_is_away_stops_nobody_and_cosigns_when_it_is_back(place):
    w = place.world
    place.witness.stop()
    w.start()
    payments(w, "k-1")
    assert w.watch("/readyz").status_code == 200
    deadline = time.monotonic() + 15
    while Anchor(place.anchor).note(ACME) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not any(key.algorithm == COSIGNATURE for key in signers(place))
    place.witness = Running(place.witness.home.path, "w.example", [], port=place.witness.port)
    deadline = time.monotonic() + 40
    while not any(key.algorithm == COSIGNATURE for key in signers(place)):
        payments(w, f"k-{time.monotonic_ns()}")
        assert time.monotonic() < deadline
        time.sleep(0.5)


def signers(place: Place) -> list[note.Verifier]:
    kept = note.parse(Anchor(place.anchor).note(ACME))
    known = [place.witness.verifier, note.Verifier(ACME, place.log_key().public)]
    return [each.verifier for each in note.verified(kept, known)]
