"""Recorded histories: every later version must take the same events to the same commands and the same state.

A file holds `> ` events, the commands that followed each, indented, and the last state after `= `. A file is never written anew: a
change that breaks one breaks runs that are under way, and needs another `TRANSITION_VERSION`.
"""

from pathlib import Path

import msgspec
import pytest

from aegis.model.document import parse
from aegis.workflow.reading import workflow
from aegis.workflow.run import Command, RunEvent, State
from aegis.workflow.transition import begin, transition

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.txt")))
def test_a_recorded_history_leads_to_the_same_commands_and_the_same_state(name: str) -> None:
    document = GOLDEN / f"{name.partition('-')[0]}.yaml"
    definition = workflow(parse(document.read_text(), source=document.name))
    lines = (GOLDEN / f"{name}.txt").read_text().splitlines()
    state, followed = begin("run_1"), []
    for line in lines[:-1]:
        if line.startswith("> "):
            assert followed == []
            state, commands = transition(definition, state, msgspec.json.decode(line[2:], type=RunEvent))
            followed = list(commands)
        else:
            assert followed.pop(0) == msgspec.json.decode(line, type=Command)
    assert followed == []
    assert state == msgspec.json.decode(lines[-1].removeprefix("= "), type=State)


def test_there_are_recorded_histories() -> None:
    assert len(list(GOLDEN.glob("*.txt"))) >= 3
