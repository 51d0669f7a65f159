"""Approvals that nobody could give, or only the one person who may not."""

from collections.abc import Iterator

from aegis.identity.directory import Directory
from aegis.model.node import nearest
from aegis.workflow.checks.finding import Finding, View, of_step
from aegis.workflow.graph import ApprovalSpec, Step, Workflow


def people(workflow: Workflow, view: View) -> Iterator[Finding]:
    """Every approval step, against the people of the directory."""
    for step in workflow.steps:
        if step.approval is not None:
            yield from _names(step, step.approval, view.directory)
            yield from _enough(step, step.approval, view.directory)


def _names(step: Step, spec: ApprovalSpec, directory: Directory) -> Iterator[Finding]:
    groups = [*spec.approver_sets, *((spec.escalate.approvers,) if spec.escalate else ())]
    roles = set(directory.roles or ()) | {role for person in directory.people.values() for role in person.roles}
    for name in sorted({name for group in groups for name in group}):
        kind, _, rest = name.partition(":")
        if kind == "role" and rest not in roles:
            yield of_step(step, "unknown_role", f"nobody in the directory has role `{rest}`{nearest(rest, roles)}")
        elif kind == "person" and name not in directory.people:
            yield of_step(step, "unknown_person", f"the directory has no `{name}`{nearest(name, directory.people)}")


def _enough(step: Step, spec: ApprovalSpec, directory: Directory) -> Iterator[Finding]:
    """Whether every set has somebody, and all together are as many as must agree, whoever it was that started the run."""
    sets = [_members(group, directory) for group in spec.approver_sets]
    everybody = frozenset[str]().union(*sets)
    for group, members in zip(spec.approver_sets, sets, strict=True):
        if not members:
            yield of_step(step, "nobody_approves", f"nobody of {', '.join(f'`{each}`' for each in group)} could agree")
    if all(sets) and len(everybody) < spec.quorum:
        yield of_step(step, "nobody_approves", f"{spec.quorum} must agree, and only {len(everybody)} could")
    elif all(sets) and spec.not_requester and (alone := _needed(sets, everybody, spec.quorum)):
        text = f"no run that `{alone}` starts can be approved: without whoever asks there are too few; name more people"
        yield of_step(step, "only_requester", text, "warning")


def _needed(sets: list[frozenset[str]], everybody: frozenset[str], quorum: int) -> str:
    """Somebody without whom nothing can be approved."""
    return next(
        (each for each in sorted(everybody) if len(everybody) - 1 < quorum or any(not group - {each} for group in sets)), ""
    )


def _members(group: tuple[str, ...], directory: Directory) -> frozenset[str]:
    wanted = set(group)
    return frozenset(
        person.id
        for person in directory.people.values()
        if person.enabled and (person.id in wanted or wanted & {f"role:{role}" for role in person.roles})
    )
