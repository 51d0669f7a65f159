import os

import pytest

from faults.runs import campaign
from faults.test_kills import url_of

IN_CI = 13  # with the deaths at commits beside them, forty in all


def check(tmp_path, kind, kills):
    seed = int(os.environ.get("AEGIS_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    report = campaign(tmp_path, url_of(kind), kills=kills, seed=seed)
    print(
        f"\n{kind}: {report.kills} kills, {report.zombies} zombies, {report.rolled} rolled, {report.runs} runs, {report.effects} effects, seed {seed}"
    )
    assert not report.wrong, f"seed {seed}: {len(report.wrong)}: {report.wrong[:12]}"
    assert report.kills == kills
    assert report.runs > kills // 2


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_kills_and_zombies_lose_no_step_and_double_no_effect(tmp_path, kind):
    check(tmp_path, kind, IN_CI)


@pytest.mark.campaign
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_thousand_kills_of_running_workflows(tmp_path, kind):
    check(tmp_path, kind, int(os.environ.get("AEGIS_KILLS", "1000")))
