"""The workflows of a tenant, with the contracts of data that their edges name."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from msgspec import Struct

from aegis.model.schema import Schema
from aegis.workflow.data import DataContract, fits, named
from aegis.workflow.graph import Step, Workflow


class Definitions(Struct, frozen=True, kw_only=True):
    """`newest` by name, `by_digest` every version, `data` every version of every contract of data."""

    newest: Mapping[str, Workflow] = MappingProxyType({})
    by_digest: Mapping[str, Workflow] = MappingProxyType({})
    data: tuple[DataContract, ...] = ()

    def workflow(self, name: str, version: str = "") -> Workflow | None:
        """The newest workflow of this name, of the version that is wanted (`1`, `1.2.0`, or any)."""
        fitting = [each for each in self.by_digest.values() if each.name == name and fits(version, each.version)]
        return max(fitting, key=numbers, default=None)

    def schema(self, name: str) -> Schema | None:
        """The schema of `name@major` or `name@x.y.z`; `None` when there is no such contract, or no name."""
        found = named(name, self.data) if name else None
        return found.schema if found else None

    def output_schema(self, step: Step) -> Schema | None:
        """What the step says that it gives; for one element of a `for_each`, for one turn of a `repeat`."""
        return self.schema(step.output)

    def input_schema(self, step: Step) -> Schema | None:
        """What the agent of the step wants to be given."""
        return self.schema(step.accepts)


NONE = Definitions()


def numbers(workflow: Workflow) -> tuple[int, int, int]:
    """The version of a workflow as numbers, which order."""
    major, minor, patch = map(int, workflow.version.split("."))
    return major, minor, patch


def definitions(workflows: Iterable[Workflow], data: Iterable[DataContract]) -> Definitions:
    """These, by name and by digest."""
    ordered = sorted(workflows, key=lambda each: (each.name, numbers(each)))
    return Definitions(
        newest=MappingProxyType({each.name: each for each in ordered}),
        by_digest=MappingProxyType({each.digest: each for each in ordered}),
        data=tuple(sorted(data, key=lambda each: (each.name, each.numbers))),
    )
