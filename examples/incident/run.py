"""Incidents handled by agents, told as it happens.

    python examples/incident/run.py            # a leak: restarted at once; a bad version: a person agrees to go back
    python examples/incident/run.py --fail     # and a third one, where going back does not help, and is undone

Three services, the gateway and three agents are processes of their own. Exit code 0 only when the ledger of deployments agrees.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))

from stage import Stage, ends_cleanly, expect, staged, tell, until, waits_for_people

SERVICES = {"deploy": 9313, "metrics": 9311, "logs": 9312}
AGENTS = (("watcher", 2), ("analyst", 1))


def main() -> int:
    """The story; 0 when the ledger tells the same."""
    asked = ArgumentParser(description="incidents handled by agents")
    asked.add_argument("--fail", action="store_true", help="one more, whose fix does not help")
    asked.add_argument("--store", default="", help="a postgresql:// URL, instead of SQLite")
    asked.add_argument("--keep", type=Path, help="work in this directory, and leave everything there")
    given = asked.parse_args()
    ends_cleanly()
    with staged(Path(__file__).parent, store=given.store, keep=given.keep) as stage:
        return 0 if story(stage, fail=given.fail) else 1


def story(stage: Stage, *, fail: bool, brief: bool = False) -> bool:
    """Every incident, and what the ledger says of them."""
    for name, port in SERVICES.items():
        stage.service(name, port)
    stage.open()
    for name, most in AGENTS:
        for number in range(1, most + 1):
            stage.agent(name, f"agent:{name}", number=number)
    tell("Three services, a gateway, three agents: each a process.", indent=0)
    told = [handle(stage, "search", "succeeded", brief=brief), handle(stage, "checkout", "succeeded", brief=brief)]
    if fail:
        told.append(handle(stage, "ledger", "compensated", brief=brief))
    done = [f"{line['what']} {line['service']}" for line in stage.ledger("deploy")]
    tell("", "What the ledger of deployments says:", indent=0)
    wanted = ["restart search", "rollback checkout", *(["rollback ledger", "undo ledger"] if fail else [])]
    return all([*told, expect(", ".join(done), done == wanted)])


def handle(stage: Stage, service: str, wanted: str, *, brief: bool) -> bool:
    """One incident; whether it ended as it should."""
    with stage.client("agent:pager") as pager:
        run = pager.begin("incident", {"service": service}, key=f"alert-{service}")
        tell("", f"agent:pager reports `{service}`:", f"  {run}", indent=0)
        known = until(pager, run, lambda known: waits_for_people(known) or _step(known, "all_clear") == "waiting")
        if approval := waits_for_people(known):
            tell("its fix is risky: a person must agree")
            tell(f"$ aegis approvals approve {approval} --as person:olga")
            tell(stage.aegis("approvals", "approve", approval, "--as", "person:olga", "--reason", "go back"), indent=4)
            known = until(pager, run, lambda known: _step(known, "all_clear") == "waiting")
        if _step(known, "all_clear") == "waiting":
            tell(f"$ aegis workflow signal {run} all-clear --as person:olga")
            tell(stage.aegis("workflow", "signal", run, "all-clear", "--as", "person:olga"), indent=4)
        state = until(pager, run, lambda _: False)["state"]
    if not brief:
        tell(f"$ aegis workflow show {run}", stage.aegis("workflow", "show", run))
    return expect(f"the run is {wanted}", state == wanted)


def _step(known: dict[str, object], name: str) -> str:
    steps = known["steps"]
    assert isinstance(steps, list), "a run has steps"
    return next((str(step["state"]) for step in steps if step["step"] == name), "")


if __name__ == "__main__":
    sys.exit(main())
