"""A backup from before an erasure brings the key back; who knows the event erases again, and without the kek nothing comes back."""

import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from aegis.adapters import kekfiles
from aegis.errors import ErasedError, SealError
from aegis.surfaces.cli.main import cli
from erasure.erasing import erase, look

NORA = "user:nora"


@pytest.fixture
def store_url():
    """Backups of PostgreSQL are its own tools' work; they bring the same rows back."""
    return "sqlite:data/aegis.db"


@pytest.fixture
def file(records):
    return records.root / "data" / "aegis.db"


def back_up(file, to):
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def put_back(w, file, backup):
    w.stop()
    for part in file.parent.glob(file.name + "*"):
        if part.is_file():
            part.unlink()
    back_up(backup, file)


def opened(w, request_id):
    async def read(app):
        (event,) = [e for e in await app.gate.store.events("acme", request_id=request_id) if e.type == "decision"]
        return await app.gate.vault.read("acme", event.id, "arguments")

    return look(w, read)


def test_after_a_restore_the_event_says_what_to_erase_again(records, file, tmp_path):
    w = records
    request = w.call("pay.honours", {"amount": 1}, "a").json()["request_id"]
    back_up(file, tmp_path / "backup.db")
    erase(w, NORA)
    (event,) = [each for each in w.events() if each["type"] == "erasure"]
    put_back(w, file, tmp_path / "backup.db")
    assert opened(w, request) == b'{"amount":1}'
    said = erase(w, event["subject"])
    assert said["keys"] == event["keys"]
    with pytest.raises(ErasedError):
        opened(w, request)


def test_without_the_kek_of_the_time_a_backup_opens_nothing(records, file, tmp_path):
    w = records
    request = w.call("pay.honours", {"amount": 1}, "a").json()["request_id"]
    back_up(file, tmp_path / "backup.db")
    erase(w, NORA)
    (old,) = kekfiles.listed(w.keys, "acme")
    for words in (["rotate", "kek"], ["rewrap", "--as", "person:alice"]):
        ran = CliRunner().invoke(cli, ["--dir", str(w.root), "keys", *words, "--tenant", "acme"], standalone_mode=False)
        assert ran.exception is None
    (w.keys / "kek" / "acme" / "_" / f"{old.kid}.jwk.json").unlink()
    put_back(w, file, tmp_path / "backup.db")
    with pytest.raises(SealError, match="is not among the keys here"):
        opened(w, request)
