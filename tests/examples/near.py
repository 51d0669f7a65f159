"""The examples that run, as the tests start them: their services and agents are processes, commands run in here."""

import sys
from importlib import util
from pathlib import Path
from types import ModuleType

from click.testing import CliRunner

from aegis.surfaces.cli.main import cli

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNNER = EXAMPLES / "runner"
if str(RUNNER) not in sys.path:
    sys.path.append(str(RUNNER))

from stage import Stage, staged  # noqa: E402 - it lies beside the examples

__all__ = ["EXAMPLES", "Near", "program", "staged"]


class Near(Stage):
    """A stage whose commands need no process of their own, which would take a second each."""

    def aegis(self, *words: str) -> str:
        """What a command prints."""
        ran = CliRunner().invoke(cli, ["--dir", str(self.home), *words], standalone_mode=False)
        assert ran.exception is None, (words, ran.output, ran.exception)
        return ran.stdout.strip()


def program(path: str) -> ModuleType:
    """A program of the examples as a module."""
    spec = util.spec_from_file_location(path.replace("/", "_"), EXAMPLES / f"{path}.py")
    assert spec is not None
    assert spec.loader is not None
    found = util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
