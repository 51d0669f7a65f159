"""How many examples a law draws: as many as the suite has time for, and a multiple of them in a campaign."""

import os

TIMES = int(os.environ.get("AEGIS_EXAMPLES", "1"))


def examples(count: int) -> int:
    """`count` in the suite, `AEGIS_EXAMPLES` times as many where that is set."""
    return count * TIMES
