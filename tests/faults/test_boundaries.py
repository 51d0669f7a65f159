import os
import random

import pytest

from faults.boundaries import every, walk
from faults.scenes import SCENES
from faults.test_kills import url_of

IN_CI = 1  # of each scene
STORES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


async def check(tmp_path, kind, scenes, chosen):
    report = await walk(tmp_path, url_of(kind), scenes=scenes, chosen=chosen)
    print(f"\n{kind}: {report.kills} kills, {report.runs} runs, boundaries {report.boundaries}")
    assert not report.wrong, f"{len(report.wrong)}: {report.wrong[:12]}"
    return report


@pytest.mark.parametrize("kind", STORES)
async def test_a_death_at_any_commit_changes_nothing_about_how_a_run_ends(tmp_path, kind):
    seed = int(os.environ.get("AEGIS_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    print(f"\nseed {seed}")
    chance = random.Random(seed)
    report = await check(tmp_path, kind, list(SCENES), lambda count: chance.sample(every(count), min(IN_CI, len(every(count)))))
    assert report.kills > len(SCENES) * IN_CI // 2  # the last commits of a run come together or apart


@pytest.mark.campaign
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("kind", STORES)
async def test_a_death_at_each_commit_changes_nothing_about_how_a_run_ends(tmp_path, kind, scene):
    report = await check(tmp_path, kind, [scene], every)
    assert report.kills > report.boundaries[scene]
