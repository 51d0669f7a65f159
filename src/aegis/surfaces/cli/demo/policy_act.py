"""The act in which a rule changes: simulated on what was recorded, tried in shadow, put in force, and rolled back."""

import json
import time
from collections.abc import Callable
from typing import Any

from aegis.surfaces.cli.demo.cast import Cast
from aegis.surfaces.cli.demo.run import run
from aegis.surfaces.cli.demo.stage import TENANT, Stage
from aegis.surfaces.cli.demo.tale import Tale

CEILING, LOWER = "gt: 500000", "gt: 200000"
REASON, LOWER_REASON = "a transfer is at most 5,000.00", "a transfer is at most 2,000.00"
WHO = ("--as", "person:fred")
Transfer = Callable[[int], dict[str, Any]]


def policy_act(stage: Stage, cast: Cast, tale: Tale, transfer: Transfer) -> None:
    """Lower the ceiling of transfers from 5,000.00 to 2,000.00 as a careful team would."""
    tale.act("Policy: simulate, shadow, report, promote, roll back")
    agent = cast.agent("agent:treasurer", fresh=True)

    def pay(what: str, key: str, *, want: str) -> dict[str, Any]:
        told = agent.call("payments.transfer", transfer(300_000), key=key)
        tale.told(what, told, want=want, effect=int(want == "allow"))
        return told

    run(stage, tale, "policy", "push", *WHO, "-m", "as it stands")
    run(stage, tale, "policy", "promote", "1", *WHO, "--reason", "the first version")
    path = stage.home / "tenants" / TENANT / "policy.yaml"
    path.write_text(path.read_text("utf-8").replace(CEILING, LOWER).replace(REASON, LOWER_REASON).replace(*_tests()), "utf-8")
    tale.say("edited policy.yaml: the ceiling is 2,000.00 now; what would that have changed?")
    run(stage, tale, "policy", "simulate", str(path), "--limit", "0", last=4)
    run(stage, tale, "policy", "push", *WHO, "-m", "ceiling 2,000.00")
    run(stage, tale, "policy", "promote", "2", "--shadow", *WHO, "--reason", "trial")
    _until(stage, shadow=2)
    shadowed = pay("3,000.00 while version 2 is in shadow", "trial-1", want="allow")
    run(stage, tale, "policy", "shadow-report", "--rule", "pay.ceiling", "--min-calls", "1", "--min-days", "0")
    _reported(stage, tale, str(shadowed.get("request_id", "")))
    run(stage, tale, "policy", "promote", "2", *WHO, "--reason", "no false positives")
    _until(stage, enforced=2)
    pay("3,000.00 under version 2", "trial-2", want="deny")
    run(stage, tale, "policy", "rollback", *WHO, "--reason", "needed today")
    _until(stage, enforced=1)
    pay("the same again, under version 1", "trial-3", want="allow")


def _tests() -> tuple[str, str]:
    """The old and new ceiling in the tests of the set, which must pass before a version is taken."""
    return "args.amount_minor: 500000, args.currency: EUR", "args.amount_minor: 200000, args.currency: EUR"


def _until(stage: Stage, **wanted: int) -> None:
    """Wait for the gateway to say what decides; it follows within a second."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = stage.ruling()
        if all(found.get(name) == number for name, number in wanted.items()):
            return
        time.sleep(0.05)


def _reported(stage: Stage, tale: Tale, request_id: str) -> None:
    found = json.loads(stage.command("--json", "policy", "shadow-report").stdout)
    tale.expect("the report names the transfer that version 2 would have stopped", request_id in json.dumps(found))
