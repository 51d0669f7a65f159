"""The floor of a warehouse: `POST /shelves/SHELF/WORK` does one kind of work on one shelf, once for each key.

Its ledger tells how many calls of that kind were under way at once, and which came again under a key that it had seen.
"""

import threading
import time
from collections import Counter

from service import Asked, Ledger, Reply, serve

TAKES_SECONDS = 0.02
_lock, _under_way = threading.Lock(), Counter[str]()


def answer(asked: Asked, ledger: Ledger) -> Reply:
    """Do the work, slowly enough that others want to do theirs meanwhile."""
    match asked.method, asked.path:
        case "POST", ("shelves", shelf, work):
            with _lock:
                _under_way[work] += 1
                at_once = _under_way[work]
            time.sleep(TAKES_SECONDS)
            if ledger.seen(asked.key):
                ledger.once("", "again", "agn", shelf=shelf, work=work)
            done = ledger.once(asked.key, work, "wrk", shelf=shelf, at_once=at_once)
            with _lock:
                _under_way[work] -= 1
            return 200, {"work_id": done["id"]}
    return 404, {"error": "no such path"}


if __name__ == "__main__":
    serve(answer)
