"""The act of the workflow: five roles buy a part; the gateway is killed in the middle, and a payment that fails is undone."""

import time
from collections.abc import Callable
from typing import Any

from aegis.surfaces.cli.demo.cast import Cast
from aegis.surfaces.cli.demo.run import run, show
from aegis.surfaces.cli.demo.stage import Stage
from aegis.surfaces.cli.demo.tale import Tale

PLANNER = "agent:planner"
BUYERS = ("agent:sourcer", "agent:scorer", "agent:scorer", "agent:auditor")
LEADS = ("person:olga", "person:fred")


def workflow_act(stage: Stage, cast: Cast, tale: Tale) -> None:
    """Buy bolts across a SIGKILL; then a motor, whose vendor cannot be paid the rest."""
    tale.act("Workflow: retrieve, score, validate, two people, pay; killed in the middle")
    for name in BUYERS:
        stage.worker(name)
    tale.say("four agent processes lease their tasks from the queue `sourcing`")
    planner = cast.agent(PLANNER, fresh=True)
    bolts = _begin(planner, tale, "bolts", "buy-1")
    _until(cast, bolts, lambda known: any(step["state"] == "offered" for step in known["steps"]))
    stage.kill_gateway()
    tale.say("killed the gateway while the agents were at work; starting it again")
    stage.start_gateway()
    _agree(stage, cast, tale, bolts)
    ended = _until(cast, bolts, _ended)
    show(tale, f"aegis workflow show {bolts}", stage.command("workflow", "show", bolts), 30)
    tale.expect("the run succeeded", ended["state"] == "succeeded")
    paid = [row["memo"] for row in stage.ledger("payments") if row.get("memo") in ("deposit", "rest")]
    tale.expect("deposit, order and rest were each done once", paid == ["deposit", "rest"] and len(stage.ledger("orders")) == 1)

    tale.act("Workflow: the last payment is refused, and everything before it is undone")
    motor = _begin(planner, tale, "motor", "buy-2")
    _agree(stage, cast, tale, motor)
    ended = _until(cast, motor, _ended)
    show(tale, f"aegis workflow show {motor}", stage.command("workflow", "show", motor), 30)
    tale.expect("the run was compensated", ended["state"] == "compensated")
    undone = [next(iter(what)) for what in _what(stage, "orders")[1:]]
    tale.expect("the order was taken back after it was placed", undone == ["order", "cancelled"])
    refunds = [row for row in stage.ledger("payments") if "refund_of" in row]
    tale.expect("the deposit was refunded, once", len(refunds) == 1)
    run(stage, tale, "replay", bolts)
    run(stage, tale, "replay", motor)
    tale.effects["payments"] += 4  # two deposits, one rest, one refund


def _begin(planner: Any, tale: Tale, part: str, key: str) -> str:
    told = planner.call("workflow.procurement", {"part": part, "most_minor": 300_000}, key=key)
    tale.told(f"the planner orders: {part}", told, want="allow")
    return str(told["result"]["run"])


def _agree(stage: Stage, cast: Cast, tale: Tale, bought: str) -> None:
    """Two people look at the plan and agree."""
    known = _until(cast, bought, lambda known: bool(_approval(known)) or _ended(known))
    for person in LEADS:
        answer = stage.command("approvals", "approve", _approval(known), "--as", person, "--reason", "best offer")
        tale.say(f"$ aegis approvals approve {_approval(known)} --as {person}")
        tale.say(f"  {(answer.stdout or answer.stderr).strip().splitlines()[0][:72]}")


def _approval(known: dict[str, Any]) -> str:
    """The approval that the run waits for."""
    return next((step["waits"]["approval_id"] for step in known["steps"] if step.get("waits", {}).get("approval_id")), "")


def _ended(known: dict[str, Any]) -> bool:
    return known["state"] in ("succeeded", "failed", "compensated", "cancelled", "stuck")


def _until(cast: Cast, bought: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look at the run until this holds."""
    until = time.monotonic() + 60
    known = cast.run(PLANNER, bought)
    while not holds(known) and time.monotonic() < until:
        time.sleep(0.05)
        known = cast.run(PLANNER, bought)
    return known


def _what(stage: Stage, kind: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in ("id", "key")} for row in stage.ledger(kind)]
