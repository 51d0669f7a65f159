import os

import pytest

from faults.kills import campaign

# The kills of running workflows beside these come on top; `make campaign` does a thousand of each.
IN_CI = {"sqlite": 20, "postgres": 10}


def url_of(kind):
    if kind == "sqlite":
        return "sqlite:data/aegis.db"
    from tests.postgres_server import fresh_database

    return fresh_database()


def check(tmp_path, kind, kills):
    seed = int(os.environ.get("AEGIS_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    report = campaign(tmp_path, url_of(kind), kills=kills, seed=seed)
    print(f"\n{kind}: {report.kills} kills, {report.told} answers, {report.unknown} unknown, seed {seed}")
    assert report.clean, f"seed {seed}: {report}"
    assert report.kills == kills
    assert report.told > kills


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_random_kills_lose_no_acknowledged_decision_and_double_no_effect(tmp_path, kind):
    check(tmp_path, kind, IN_CI[kind])


@pytest.mark.campaign
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_thousand_random_kills(tmp_path, kind):
    check(tmp_path, kind, int(os.environ.get("AEGIS_KILLS", "1000")))
