"""The story of the demo, its table, and the check that the table agrees with what the tools themselves wrote down."""

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from aegis.surfaces.cli.demo.cast import Cast
from aegis.surfaces.cli.demo.evidence_act import evidence_act
from aegis.surfaces.cli.demo.policy_act import policy_act
from aegis.surfaces.cli.demo.stage import Stage
from aegis.surfaces.cli.demo.tale import Tale, Told
from aegis.surfaces.cli.demo.trust_acts import delegation_act, rotation_act, rug_pull_act
from aegis.surfaces.cli.demo.workflow_act import workflow_act

FORTY_TRANSFERS = 40


@click.command()
@click.option("--serve", is_flag=True, help="Leave everything running afterwards, to play with.")
@click.pass_context
def demo(ctx: click.Context, serve: bool) -> int:
    """Play the main job: real tool servers, the gateway, and a cast of agents, each a process of its own."""
    stage = Stage(Path(tempfile.mkdtemp(prefix="aegis-demo-")))
    tale = Tale(quiet=ctx.obj["json"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends the demo ends everything that it started
    try:
        tale.say("Starting four tool servers, the gateway (SQLite), and a cast of agents.")
        stage.open()
        tale.say(f"Gateway on {stage.url}; each agent is a process with its own token.")
        cast = Cast(stage)
        play(stage, cast, tale)
        evidence_act(stage, tale)
        agreed = tale.table(_checks(stage, tale))
        if serve:
            stage.start_gateway()
            _serve(stage)
    finally:
        stage.close()
    return 0 if agreed else 1


def play(stage: Stage, cast: Cast, tale: Tale) -> None:
    """Every act, in order."""
    _payments(cast, tale)
    _totals(cast, tale)
    _records(cast, tale)
    _deployment(stage, cast, tale)
    _strangers(cast, tale)
    delegation_act(stage, cast, tale, transfer)
    rug_pull_act(stage, cast, tale, transfer)
    rotation_act(stage, cast, tale)
    policy_act(stage, cast, tale, transfer)
    _kill(stage, cast, tale)
    workflow_act(stage, cast, tale)


def transfer(amount: int, memo: str = "") -> dict[str, Any]:
    """Arguments of a transfer of `amount` cents."""
    arguments = {"account_id": "acct_00000001", "to_account_id": "acct_00000002", "amount_minor": amount, "currency": "EUR"}
    return arguments | ({"memo": memo} if memo else {})


def _payments(cast: Cast, tale: Tale) -> None:
    tale.act("Payments: a ceiling of 5,000.00 and one booking per key")
    treasurer = cast.agent("agent:treasurer")
    tale.told("4,000.00 EUR", treasurer.call("payments.transfer", transfer(400_000), key="invoice-1"), want="allow", effect=1)
    tale.told("50,000.00 EUR", treasurer.call("payments.transfer", transfer(5_000_000), key="invoice-2"), want="deny")
    tale.told(
        "the first one again, same key", treasurer.call("payments.transfer", transfer(400_000), key="invoice-1"), want="repeat"
    )
    tale.told("same key, another amount", treasurer.call("payments.transfer", transfer(1_000), key="invoice-1"), want="conflict")
    told = treasurer.call("payments.transfer", transfer(2_500, "refund for 078-05-1120"), key="invoice-3")
    tale.told("a memo with a personal number", told, want="sanitize", effect=1)
    planner = cast.agent("agent:planner")
    tale.told("the planner, who may only plan", planner.call("payments.transfer", transfer(100), key="plan-1"), want="deny")


def _totals(cast: Cast, tale: Tale) -> None:
    tale.act("Payments: a daily total of 20,000.00 that six racing calls cannot pass")
    clerks = [cast.agent("agent:clerk", fresh=True) for _ in range(6)]
    for number, clerk in enumerate(clerks):
        clerk.send("payments.transfer", transfer(400_000), key=f"race-{number}")
    told = sorted((clerk.receive() for clerk in clerks), key=lambda answer: answer["ended"] != "done")
    for number, answer in enumerate(told, 1):
        tale.told(f"4,000.00 EUR, racing ({number} of 6)", answer, want="allow" if number < 6 else "deny", effect=int(number < 6))


def _records(cast: Cast, tale: Tale) -> None:
    tale.act("Patient records: the same record, two agents")
    asked = {"patient_id": "pat_0001", "purpose": "billing"}
    whole = cast.agent("agent:clinician").call("records.read", asked | {"purpose": "treatment"})
    tale.told("the clinician reads it", whole, want="allow", effect=1, shows=("name", "ssn", "birth_date"))
    part = cast.agent("agent:billing").call("records.read", asked)
    tale.told("the billing agent reads it", part, want="sanitize", effect=1, shows=("name", "ssn", "birth_date"))
    tale.expect("the billing agent never saw the SSN", "078-05-1120" not in str(part))
    tale.expect("nor the birth date", "1961-04-12" not in str(part))
    bad = cast.agent("agent:billing").call("records.read", {"patient_id": "../admin", "purpose": "billing"})
    tale.told("an id that is a path", bad, want="deny")


def _deployment(stage: Stage, cast: Cast, tale: Tale) -> None:
    tale.act("Deployments: production waits for a person")
    deployer = cast.agent("agent:deployer")
    staging = {"service": "web", "environment": "staging", "version": "v7"}
    tale.told("web v7 to staging", deployer.call("deploy.apply", staging, key="rollout-1"), want="allow", effect=1)
    production = staging | {"environment": "production"}
    held = deployer.call("deploy.apply", production, key="rollout-2")
    tale.told("web v7 to production", held, want="held")
    approval = str(held.get("approval_id", ""))
    answer = stage.command("approvals", "approve", approval, "--as", "person:olga", "--reason", "change window is open")
    tale.say(f"$ aegis approvals approve {approval} --as person:olga")
    tale.say(f"  {(answer.stdout or answer.stderr).strip()}")
    tale.told("the identical request again", deployer.call("deploy.apply", production, key="rollout-2"), want="allow", effect=1)
    tale.told("and once more", deployer.call("deploy.apply", production, key="rollout-2"), want="repeat")
    changed = deployer.call("deploy.apply", production | {"version": "v8"}, key="rollout-3")
    tale.told("v8 with the approval of v7", changed, want="held")


def _strangers(cast: Cast, tale: Tale) -> None:
    tale.act("Strangers: refused before any rule is read")
    asked = transfer(100)
    tale.told("an agent nobody knows", cast.stranger().call("payments.transfer", asked, key="x-1"), want="refused")
    tale.told("a token that expired", cast.expired().call("payments.transfer", asked, key="x-2"), want="refused")
    tale.told("a token with one bit changed", cast.tampered().call("payments.transfer", asked, key="x-3"), want="refused")
    forged = cast.delegated("agent:treasurer", ("agent:planner", "req_of_nobody"))
    told = forged.call("payments.transfer", asked, key="x-4", parent=["agent:planner", "req_of_nobody"])
    tale.told("a parent request that never was", told, want="deny")


def _kill(stage: Stage, cast: Cast, tale: Tale) -> None:
    tale.act("SIGKILL in mid-traffic: nothing acknowledged is lost, nothing is booked twice")
    agents = [cast.agent("agent:treasurer", fresh=True) for _ in range(4)]
    wanted = [f"batch-{number:03d}" for number in range(FORTY_TRANSFERS)]
    acknowledged: dict[str, dict[str, Any]] = {}
    broken: list[str] = []
    for number in range(0, FORTY_TRANSFERS, len(agents)):
        keys = wanted[number : number + len(agents)]
        for agent, key in zip(agents, keys, strict=False):
            agent.send("payments.transfer", transfer(1_000 + int(key[-3:])), key=key)
        if number == FORTY_TRANSFERS // 2:
            time.sleep(0.002)
            stage.kill_gateway()
            tale.say("killed the gateway while four transfers were under way; starting it again")
            stage.start_gateway()
        for agent, key in zip(agents, keys, strict=False):
            told = agent.receive()
            if told["ended"] == "done":
                acknowledged[key] = told
            else:
                broken.append(key)
    tale.say(f"{len(acknowledged)} acknowledged, {len(broken)} broken off; sending the broken ones again with their keys")
    for key in broken:
        told = agents[0].call("payments.transfer", transfer(1_000 + int(key[-3:])), key=key)
        for _ in range(120):
            if told["ended"] == "done":
                break
            time.sleep(0.25)
            told = agents[0].call("payments.transfer", transfer(1_000 + int(key[-3:])), key=key)
        if told["ended"] == "done":
            acknowledged[key] = told
    events = {body["request_id"] for body in cast.journal() if body["type"] == "decision"}
    lost = [key for key, told in acknowledged.items() if told["request_id"] not in events and not told["repeated"]]
    tale.expect(f"all {FORTY_TRANSFERS} transfers were acknowledged in the end", len(acknowledged) == FORTY_TRANSFERS)
    tale.expect("every acknowledged decision is in the journal", not lost)
    sound = stage.command("fsck")
    tale.expect(f"aegis fsck: {sound.stdout.strip()}", sound.returncode == 0)
    tale.effects["payments"] += FORTY_TRANSFERS
    tale.rows.append(
        Told(what=f"{FORTY_TRANSFERS} transfers across a SIGKILL", ended="allow", want="allow", tool="payments.transfer")
    )


def _checks(stage: Stage, tale: Tale) -> list[tuple[str, bool]]:
    """What the tools themselves say, against what the story claims."""
    booked = stage.ledger("payments")
    rollouts = stage.ledger("deploy")
    reads = [line for line in stage.access_log("records") if line["status"] == 200]
    everything = [line for kind in ("payments", "records", "deploy") for line in stage.access_log(kind)]
    amounts = [row["amount_minor"] for row in booked]
    return [
        (f"payments ledger: {len(booked)} bookings, {tale.effects['payments']} told", len(booked) == tale.effects["payments"]),
        ("payments ledger: nothing above 5,000.00", max(amounts) <= 500_000),
        (f"orders ledger: {len(stage.ledger('orders'))} entries, 3 told", len(stage.ledger("orders")) == 3),
        ("payments ledger: no personal number in a memo", not any("078-05-1120" in str(row.get("memo", "")) for row in booked)),
        (f"deploy ledger: {len(rollouts)} rollouts, {tale.effects['deploy']} told", len(rollouts) == tale.effects["deploy"]),
        (f"records log: {len(reads)} reads, {tale.effects['records']} told", len(reads) == tale.effects["records"]),
        ("no request reached a tool with another credential", all(line["status"] != 401 for line in everything)),
    ]


def _serve(stage: Stage) -> None:
    click.echo(
        f"\nEverything still runs. In another terminal:\n"
        f"  export PATH={Path(sys.executable).parent}:$PATH\n"
        f"  export AEGIS_DIR={stage.home}\n"
        f"  aegis audit tail                 # what just happened\n"
        f"  aegis approvals list             # v8 still waits\n"
        f"  aegis call records.read --as agent:billing -a patient_id=pat_0002 -a purpose=billing\n"
        f"  aegis explain REQUEST_ID\n"
        f"Ctrl-C ends it."
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("\nstopping")
