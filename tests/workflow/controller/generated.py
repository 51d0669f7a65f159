"""Definitions drawn at random: small graphs in which everything that the format knows may meet everything else."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from aegis.policy.ir import Kind, Leaf, Literal, Op, Path
from aegis.workflow.graph import Action, Amount, ApprovalSpec, Budget, Repeat, Retry, Step, WaitSpec, Workflow
from workflow.controller.play import ref

INPUT = {"flag": True, "list": [{"n": 1, "keep": True}, {"n": 2, "keep": False}, {"n": 3, "keep": True}]}


def equal(path: str, value: Any) -> Leaf:
    return Leaf(Path(path, tuple(path.split(".")), Kind.ANY), Op.EQ, (Literal(value),))


@st.composite
def steps(draw: Any, index: int, before: list[Step], *, limits: bool, signals: bool) -> Step:
    name = f"s{index}"
    kinds = ["tool", "tool", "agent", "agent", "workflow", "emit", "approval", "time", *(["signal"] if signals else [])]
    kind = draw(st.sampled_from(kinds))
    needs = draw(st.lists(st.sampled_from([each.id for each in before]), max_size=2, unique=True)) if before else []
    made: dict[str, Any] = {
        "id": name,
        "role": "executor",
        "kind": "wait" if kind in {"time", "signal"} else kind,
        "retry": Retry(attempts=1),
    }
    if needs and draw(st.booleans()):
        made["when"] = equal(f"steps.{needs[0]}.outcome", draw(st.sampled_from(["succeeded", "succeeded", "skipped", "failed"])))
    elif draw(st.integers(0, 5)) == 0:
        made["when"] = equal("input.flag", draw(st.booleans()))
    if kind == "approval":
        made["approval"] = ApprovalSpec(
            approver_sets=(("role:lead",),), shows={"seen": ref(f"$steps.{needs[0]}.output")} if needs else {}
        )
    elif kind == "time":
        made["wait"] = WaitSpec(lasts=timedelta(hours=1))
    elif kind == "signal":
        made["wait"] = WaitSpec(signal=f"go-{name}", timeout=draw(st.sampled_from([None, timedelta(hours=1)])))
    else:
        made |= draw(work(name, kind, needs, limits=limits))
    return Step(needs=tuple(sorted(needs)), **made)


@st.composite
def work(draw: Any, name: str, kind: str, needs: list[str], *, limits: bool) -> dict[str, Any]:
    arguments = (
        {"from": ref(f"$steps.{draw(st.sampled_from(needs))}.output")}
        if needs and draw(st.booleans())
        else {"x": [ref("$input.flag")]}
    )
    made: dict[str, Any] = {
        "on_failure": draw(st.sampled_from(["unwind", "unwind", "park", "skip"])),
        "default": draw(st.sampled_from([None, {"id": "default"}])),
        "retry": Retry(attempts=draw(st.integers(1, 2)), on=draw(st.sampled_from([(), ("flaky",), ("other",)]))),
    }
    if draw(st.booleans()):
        made["undo"] = Action(kind="tool", name="back", arguments={"of": ref("$output.id")})
    shape = draw(st.sampled_from(["one", "one", "one", "each", "repeat", "both"]))
    if shape in {"each", "both"}:
        own = [ref("$input.list"), ({"n": 7},), (), *([ref(f"$steps.{needs[0]}.output.list")] if needs else [])]
        made["for_each"] = draw(st.sampled_from(own))
        arguments = {**arguments, "item": ref("$item")}
        if limits:
            made["max_parallel"] = draw(st.integers(0, 2))
    if shape in {"repeat", "both"}:
        made["repeat"] = Repeat(until=equal(f"steps.{name}.output.ok", draw(st.booleans())), most=draw(st.integers(1, 2)))
    if limits:
        made["estimate"] = Amount(calls=draw(st.integers(1, 2)))
        made["budget"] = Budget(calls=draw(st.sampled_from([None, None, 1, 4])))
    return {**made, "act": Action(kind=kind, name=f"do.{name}", arguments=arguments)}  # type: ignore[arg-type]


@st.composite
def workflows(draw: Any, *, limits: bool = True, signals: bool = True, most: int = 6) -> Workflow:
    made: list[Step] = []
    for index in range(draw(st.integers(1, most))):
        made.append(draw(steps(index, made, limits=limits, signals=signals)))
    return Workflow(
        name="w", version="1.0.0", tenant="acme", owner="team", run_as="bot", steps=tuple(made), digest="sha256:0",
        max_parallel=draw(st.integers(1, 3)) if limits else 0,
        budget=Budget(calls=draw(st.sampled_from([None, None, 3, 8]))) if limits else Budget(),
        returns={"last": ref(f"$steps.{made[-1].id}.output")},
    )  # fmt: skip
