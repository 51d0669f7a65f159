"""Two gateways are killed again and again while many agents write to few accounts: no two writes to one account ever meet."""

import json
import os
import random
import threading
import time

import httpx
import pytest

from faults.kills import Gateway, free_port
from resources.bank import Bank

CLIENTS, ACCOUNTS = 8, 12


class Writer(threading.Thread):
    """Makes one keyed write after another, each until it is done, at whichever gateway answers."""

    def __init__(self, bank, urls, number, stop, seed):
        super().__init__(daemon=True)
        self.bank, self.urls, self.number, self.stop = bank, urls, number, stop
        self.chance = random.Random(f"{seed}-{number}")
        self.done, self.gave_up, self.busy = [], [], 0

    def run(self):
        with httpx.Client(timeout=10) as http:
            while not self.stop.is_set():
                key = f"w{self.number}-{len(self.done)}"
                if not self._until_done(http, key, f"a-{self.chance.randrange(ACCOUNTS)}"):
                    self.gave_up.append(key)
                    return
                self.done.append(key)

    def _until_done(self, http, key, account):
        deadline = float("inf")
        while time.monotonic() < deadline:
            if self.stop.is_set():
                deadline = min(deadline, time.monotonic() + 60)
            headers = {"authorization": f"Bearer {self.bank.token()}", "idempotency-key": key, "content-type": "application/json"}
            body = json.dumps({"arguments": {"account": account, "amount": 1}})
            try:
                told = http.post(f"{self.chance.choice(self.urls)}/v1/tools/bank.move/call", content=body, headers=headers)
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            if told.status_code == 200:
                return True
            assert told.json()["retryable"], told.text
            self.busy += told.json()["code"] == "resource-busy"
            time.sleep(0.03)
        return False


def campaign(root, url, *, kills, seed):
    bank = Bank(root, url)
    (root / "aegis.toml").write_text(f'[store]\nurl = "{url}"\n[log]\nlevel = "warning"\n')
    bank.ledger.pause, bank.ledger.slow = 0.03, 0.8
    gateways = [Gateway(bank, free_port()), Gateway(bank, free_port())]
    stop, moments = threading.Event(), random.Random(seed)
    writers = [Writer(bank, [each.url for each in gateways], number, stop, seed) for number in range(CLIENTS)]
    try:
        for each in gateways:
            each.start()
        for each in writers:
            each.start()
        for _ in range(kills):
            time.sleep(moments.uniform(0.05, 0.4))
            victim = moments.choice(gateways)
            victim.kill()
            victim.start()
        stop.set()
        for each in writers:
            each.join(90)
        done = [key for each in writers for key in each.done]
        print(f"\n{kills} kills, {len(done)} writes, {sum(each.busy for each in writers)} told busy, seed {seed}")
        assert [key for each in writers for key in each.gave_up] == [], f"seed {seed}"
        assert bank.ledger.overlaps == [], f"seed {seed}"
        assert len({key for _, key in bank.ledger.done}) >= len(done), f"seed {seed}"
        assert {row.state for row in bank.rows()} <= {"free", "settling"}, f"seed {seed}"
        assert bank.fsck() == [], f"seed {seed}"
    finally:
        stop.set()
        for each in gateways:
            each.kill()
        bank.close()


def url_of(kind):
    if kind == "sqlite":
        return "sqlite:data/aegis.db"
    from tests.postgres_server import migrated_database

    return migrated_database()


STORES = pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])


@pytest.mark.campaign
@STORES
def test_writes_to_one_account_never_meet_over_many_kills(tmp_path, kind):
    seed = int(os.environ.get("AEGIS_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    campaign(tmp_path, url_of(kind), kills=int(os.environ.get("AEGIS_KILLS", "100")), seed=seed)
