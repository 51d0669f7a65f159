"""What may start: the steps in canonical order, each as far as its needs, its condition, the limits and the budget let it.

A step is ready when all its needs have ended. If its `when` does not hold, or it refers to the output of a step that has none, it
is skipped and says why. Elements of a `for_each` start from the lowest on. A node that must wait for its share of the budget holds
up those behind it that cost something: it is not overtaken for ever by cheaper ones. What waits for a person, a time or a signal
takes no place of a parallel limit.
"""

from datetime import UTC, datetime
from typing import Any

from aegis.workflow import budgets
from aegis.workflow.draft import OVER, UNDER_WAY, Draft, elements_of, unit_of
from aegis.workflow.failing import fail_here
from aegis.workflow.graph import MAX_ELEMENTS, Ref, Step
from aegis.workflow.run import Node, NodeState, RunState
from aegis.workflow.shape import Form, template
from aegis.workflow.values import MissingValue, base, elements, has_output, lenient, resolve, view
from aegis.workflow.values_syntax import refs

PENDING, SKIPPED, WAITING = NodeState.PENDING, NodeState.SKIPPED, NodeState.WAITING


class Pass:
    """One look over all steps. `active` are the nodes that are under way; `full` that the budget must be waited for."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.active = sum(1 for node in draft.nodes.values() if node.state in UNDER_WAY and node.dispatch)
        self.full = False

    def run(self) -> None:
        """Start what may start; end the run when all has ended."""
        draft = self.draft
        for form in draft.shape.forms.values():
            self._step(form)
            if draft.unwinding:
                return
        if all(draft.ended(step) for step in draft.definition.steps):
            draft.finish(RunState.SUCCEEDED, _output(draft))

    def _step(self, form: Form) -> None:
        entry = self.draft.nodes[form.step.id]
        if entry.state in OVER and form.step.id not in self.draft.turns:
            return
        if entry.state is PENDING and not entry.dispatch and not self._permitted(form):
            return
        if form.step.for_each is None:
            self._unit(form, form.step.id)
        else:
            self._group(form)

    def _permitted(self, form: Form) -> bool:
        """Whether all needs have ended and nothing makes the step be skipped."""
        draft, forms = self.draft, self.draft.shape.forms
        for need in form.needs:
            if not draft.ended(forms[need].step):
                return False
        gone = next((need for need in form.uses if not has_output(draft, forms[need].step)), None)
        why = f"needs {gone}, which was skipped" if gone else "" if form.each else self._unwanted(form, form.step.id)
        if why:
            draft.change(form.step.id, state=SKIPPED, why=why, outcome="skipped")
        return not why

    def _unwanted(self, form: Form, unit: str) -> str:
        """Why the condition of a step or element keeps it from being taken, or nothing."""
        if form.when is None or form.when(view(self.draft, unit, form.needs)):
            return ""
        return "its condition does not hold"

    def _group(self, form: Form) -> None:
        draft, step = self.draft, form.step
        if draft.nodes[step.id].state is PENDING:
            _expand(draft, step)
        if draft.nodes[step.id].state is not NodeState.ISSUED:
            return
        left = [unit for unit in elements_of(step.id, draft.counts[step.id]) if draft.state_of(unit) not in OVER]
        active = sum(1 for unit in left if draft.state_of(unit) in UNDER_WAY)
        for unit in left:
            if step.max_parallel and active >= step.max_parallel:
                break
            active += self._unit(form, unit)
            if draft.unwinding:
                return
        if all(draft.state_of(unit) in OVER for unit in left):
            draft.change(step.id, state=NodeState.SUCCEEDED, outcome="succeeded")

    def _unit(self, form: Form, unit: str) -> bool:
        """Go on with a step or element; whether its command was issued."""
        draft = self.draft
        name = draft.last(unit)
        node = draft.nodes[name]
        if node.state is WAITING:
            _take_signal(draft, name, form.step)
        if node.state is not PENDING:
            return False
        if form.each and name == unit and not node.dispatch and (why := self._unwanted(form, unit)):
            draft.change(name, state=SKIPPED, why=why, outcome="skipped")
            return False
        if form.step.kind == "wait":
            _wait(draft, name, form)
            return False
        return self._issue(form, name, node)

    def _issue(self, form: Form, name: str, node: Node) -> bool:
        draft, step = self.draft, form.step
        if not self._room(step, name):
            return False
        try:
            arguments = node.arguments if node.edited else _arguments(draft, form, name)
        except MissingValue as missing:
            fail_here(draft, name, "missing_value", missing.text)
            return False
        draft.fresh[name] = node
        draft.act(
            name, attempt=node.attempt + 1, arguments=arguments, reserved=budgets.reserve(draft, name, step),
            why="", text="", outcome="", until=None,
        )  # fmt: skip
        self.active += 1
        return True

    def _room(self, step: Step, name: str) -> bool:
        """Whether the limits of the run and the budget let the node start; it fails when they never will."""
        if self.draft.definition.max_parallel and self.active >= self.draft.definition.max_parallel:
            return False
        if self.full and budgets.asks(self.draft, name, step):
            return False
        of_run, of_step = budgets.room(self.draft, name, step)
        if "never" in {of_run, of_step}:
            fail_here(self.draft, name, "budget_exhausted")
        self.full = self.full or of_run == "later"
        return of_run == of_step == "now"


def proceed(draft: Draft) -> None:
    """Start what may start, and end the run when all has ended."""
    Pass(draft).run()


def _arguments(draft: Draft, form: Form, name: str) -> Any:
    """The values that a node is taken with. What a `repeat` gave last is, in its first turn, the step's default."""
    unit, step = unit_of(name), form.step
    before = draft.turns.get(unit, 1) - 1
    seen = view(draft, unit, form.reads, own=before if form.own else 0)
    if form.own and not before:
        seen["steps"][step.id] = {"outcome": "", "output": step.default}
    return resolve(template(step), seen)


def _expand(draft: Draft, step: Step) -> None:
    """Make the nodes of the elements, now that the list is known."""
    try:
        found = elements(draft, step)
    except MissingValue as missing:
        fail_here(draft, step.id, "missing_value", missing.text)
        return
    if not isinstance(found, list | tuple):
        fail_here(draft, step.id, "invalid_value", "`for_each` expects a list")
        return
    limit = step.max_elements or MAX_ELEMENTS
    if len(found) > limit:
        fail_here(draft, step.id, "too_many", f"`for_each` has {len(found)} elements; expected at most {limit}")
        return
    draft.counts[step.id] = len(found)
    draft.nodes.update(dict.fromkeys(elements_of(step.id, len(found)), Node()))
    draft.change(step.id, state=NodeState.ISSUED)


def _wait(draft: Draft, name: str, form: Form) -> None:
    """Begin to wait; a signal that is there already is taken at once."""
    spec = form.step.wait
    assert spec is not None
    if spec.signal:
        draft.change(name, state=WAITING, attempt=1)
        if not _take_signal(draft, name, form.step) and spec.timeout is not None:
            draft.sleep(name, draft.at + spec.timeout)
        return
    try:
        until = draft.at + spec.lasts if spec.lasts is not None else _instant(draft, name, form, spec.until)
    except MissingValue as missing:
        fail_here(draft, name, "missing_value", missing.text)
        return
    if until is None:
        fail_here(draft, name, "invalid_value", "`wait.until` expects an instant with its offset, as in RFC 3339")
        return
    draft.sleep(name, until, state=WAITING, attempt=1)


def _instant(draft: Draft, name: str, form: Form, until: datetime | Ref | None) -> datetime | None:
    if not isinstance(until, Ref):
        return until
    found = resolve(until, view(draft, name, form.reads))
    try:
        made = datetime.fromisoformat(found) if isinstance(found, str) else None
        return made.astimezone(UTC) if made is not None and made.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _take_signal(draft: Draft, name: str, step: Step) -> bool:
    """Give the oldest fitting signal to a node that waits for it."""
    wanted = step.wait.signal if step.wait is not None else ""
    index = next((at for at, signal in enumerate(draft.signals) if signal[0] == wanted), None) if wanted else None
    if index is None:
        return False
    payload = draft.signals[index][2]
    draft.signals = draft.signals[:index] + draft.signals[index + 1 :]
    draft.withdraw(name)
    draft.complete(name, state=NodeState.SUCCEEDED, output=payload, outcome="succeeded", until=None)
    return True


def _output(draft: Draft) -> Any:
    """What the run gives; null where its definition refers to something that is not there."""
    returns = draft.definition.returns
    return lenient(returns, base(draft, {ref.path[1] for ref in refs(returns) if ref.path[0] == "steps"}))
