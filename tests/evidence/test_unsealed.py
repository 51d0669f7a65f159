"""A gateway that cannot seal goes on deciding, and says all the time that its evidence does not grow."""

import shutil
import time
from datetime import timedelta

from gateway.world import world


def test_a_gateway_whose_anchor_cannot_be_written_decides_and_is_not_ready_until_it_can(tmp_path):
    with world(tmp_path) as w:
        anchor = w.settings.anchor
        assert w.call("pay.honours", {"amount": 1}, "k-0").status_code == 200
        until((anchor / "notes.log").exists)
        kept = shutil.move(anchor, tmp_path / "moved")
        anchor.write_text("no directory")
        assert w.call("pay.honours", {"amount": 1}, "k-1").status_code == 200
        until(lambda: w.watch("/readyz").status_code == 503)
        for _ in range(20):
            assert w.watch("/readyz").status_code == 503
            time.sleep(0.1)
        assert w.call("pay.honours", {"amount": 1}, "k-2").status_code == 200
        anchor.unlink()
        shutil.move(kept, anchor)
        until(lambda: w.watch("/readyz").status_code == 200)


def test_a_clock_that_went_back_does_not_stop_the_sealing(tmp_path):
    with world(tmp_path) as w:
        w.hand.offset = timedelta(seconds=60)  # keys are as old as the test: no earlier time would find one in use
        w.call("pay.honours", {"amount": 1}, "k-0")
        notes = w.settings.anchor / "notes.log"
        until(notes.exists)
        w.hand.offset = timedelta(seconds=35)
        before = notes.stat().st_size
        assert w.call("pay.honours", {"amount": 1}, "k-1").status_code == 200
        until(lambda: notes.stat().st_size > before)


def until(found):
    end = time.monotonic() + 15
    while not found():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
