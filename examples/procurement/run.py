"""A purchase by five agents, told as it happens.

    python examples/procurement/run.py            # scouts, scorers, compliance; two people agree; paid and booked
    python examples/procurement/run.py --fail     # and once more, while the carrier books nothing: refunded and released

Five services, the gateway and six agents are processes of their own. The agents hold a key each and speak to the gateway alone;
what was really done is read from the ledgers of the services. Exit code 0 only when they agree with the story.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runner"))

from stage import Stage, ends_cleanly, expect, staged, tell, until, waits_for_people

SERVICES = {"vendors": 9301, "ratings": 9302, "compliance": 9303, "payments": 9304, "freight": 9305}
AGENTS = (("scout", 2), ("scorer", 3), ("compliance", 1))
PEOPLE = ("person:lena", "person:omar")


def main() -> int:
    """The story; 0 when the ledgers tell the same."""
    asked = ArgumentParser(description="a purchase by five agents")
    asked.add_argument("--fail", action="store_true", help="buy a second time, while the carrier books nothing")
    asked.add_argument("--store", default="", help="a postgresql:// URL, instead of SQLite")
    asked.add_argument("--keep", type=Path, help="work in this directory, and leave everything there")
    given = asked.parse_args()
    ends_cleanly()
    with staged(Path(__file__).parent, store=given.store, keep=given.keep) as stage:
        return 0 if story(stage, fail=given.fail) else 1


def story(stage: Stage, *, fail: bool, brief: bool = False) -> bool:
    """Both purchases, and what the ledgers say of them; `brief` leaves out what only people read."""
    for name, port in SERVICES.items():
        stage.service(name, port)
    stage.open()
    for name, most in AGENTS:
        for number in range(1, 2 if brief else most + 1):
            stage.agent(name, f"agent:{name}", number=number)
    tell("Five services, a gateway, six agents: each a process, with a key of its own.", indent=0)
    told = [buy(stage, "order-1", "succeeded", brief=brief)]
    if fail:
        (stage.directory / "CLOSED").touch()
        tell("", "From now on the carrier books nothing.", indent=0)
        told.append(buy(stage, "order-2", "compensated", brief=brief))
    return agree(stage, fail=fail) and all(told)


def buy(stage: Stage, key: str, wanted: str, *, brief: bool) -> bool:
    """One purchase of bolts, approved by two people; whether it ended as it should."""
    with stage.client("agent:planner") as planner:
        run = planner.begin("procurement", {"article": "bolts", "most_minor": 150_000}, key=key)
        tell("", "agent:planner asks for bolts, at most 1,500.00:", f"  {run}", indent=0)
        approval = waits_for_people(until(planner, run, waits_for_people))
        if approval and not brief:
            tell(f"$ aegis approvals show {approval}", stage.aegis("approvals", "show", approval))
        for person in PEOPLE if approval else ():
            tell(f"$ aegis approvals approve {approval} --as {person}")
            tell(stage.aegis("approvals", "approve", approval, "--as", person, "--reason", "a good offer"), indent=4)
        state = until(planner, run, lambda _: False)["state"]
    if not brief:
        tell(f"$ aegis workflow show {run}", stage.aegis("workflow", "show", run))
        tell(f"$ aegis replay {run}", stage.aegis("replay", run))
    return expect(f"the run is {wanted}", state == wanted)


def agree(stage: Stage, *, fail: bool) -> bool:
    """Whether the ledgers of the services hold what the story claims, and nothing else."""
    tell("", "What the services themselves wrote down:", indent=0)
    moved = [(line["what"], line.get("amount_minor") or line.get("payment")) for line in stage.ledger("payments")]
    freight = [line["what"] for line in stage.ledger("freight")]
    again = [("transfer", 101_000), ("refund", "pay_000002")] if fail else []
    found = stage.aegis("fsck")
    checks = [
        expect(f"payments: {', '.join(what for what, _ in moved)}", moved == [("transfer", 101_000), *again]),
        expect(f"freight: {', '.join(freight)}", freight == ["reserve", "book", *(["reserve", "release"] if fail else [])]),
        expect(found.splitlines()[-1], "sound" in found),
    ]
    return all(checks)


if __name__ == "__main__":
    sys.exit(main())
