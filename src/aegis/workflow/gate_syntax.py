"""Steps that wait, from their document: for people, for a time, for a signal.

approval: {approvers, quorum, not_requester, expires, escalate: {after, approvers}, shows, of}
wait:     2h, or {for}, {until}, {signal, timeout}
"""

from datetime import datetime

from aegis.model.node import Node
from aegis.policy.duration import duration
from aegis.workflow.graph import ApprovalSpec, Escalation, Ref, WaitSpec
from aegis.workflow.values_syntax import Place, reference, template

MAX_QUORUM = 10
_SIGNAL = 128


def approval(node: Node, place: Place) -> ApprovalSpec:
    """Who must agree. `approvers` are one set, or several of which each must have a member among those who agree."""
    fields = node.fields(("approvers", "quorum", "not_requester", "expires", "escalate", "shows", "of"), ("approvers",))
    sets = _sets(fields["approvers"])
    plain = ApprovalSpec(approver_sets=sets)
    made = ApprovalSpec(
        approver_sets=sets,
        quorum=fields["quorum"].integer(1, MAX_QUORUM) if "quorum" in fields else plain.quorum,
        not_requester=fields["not_requester"].flag() if "not_requester" in fields else plain.not_requester,
        expires=duration(fields["expires"]) if "expires" in fields else plain.expires,
        escalate=_escalate(fields["escalate"]) if "escalate" in fields else None,
        shows={key: template(child, place) for key, child in fields["shows"].members().items()} if "shows" in fields else {},
        of=fields["of"].word(("step", "plan")) if "of" in fields else "step",  # type: ignore[arg-type]  # one of the literals
    )
    named = {name for group in sets for name in group}
    if all(name.startswith("person:") for name in named) and made.quorum > len(named):
        raise fields["quorum"].fail(f"quorum {made.quorum} can never be met by {len(named)} named people")
    if made.escalate and made.escalate.after >= made.expires:
        raise fields["escalate"].fail("`after` comes no sooner than the approval expires, so nobody would ever be asked")
    return made


def wait(node: Node, place: Place) -> WaitSpec:
    """What is waited for: a time that passes, an instant, or a signal."""
    if not isinstance(node.value, dict):
        return WaitSpec(lasts=duration(node))
    fields = node.fields(("for", "until", "signal", "timeout"))
    found = [key for key in ("for", "until", "signal") if key in fields]
    if len(found) != 1:
        raise node.fail("expected one of `for`, `until` and `signal`")
    if ("signal" in fields) != ("timeout" in fields):
        raise node.fail("a `signal` needs a `timeout`, or a run could wait for ever; nothing else has one")
    return WaitSpec(
        lasts=duration(fields["for"]) if "for" in fields else None,
        until=_until(fields["until"], place) if "until" in fields else None,
        signal=_signal(fields["signal"]) if "signal" in fields else "",
        timeout=duration(fields["timeout"]) if "timeout" in fields else None,
    )


def _sets(node: Node) -> tuple[tuple[str, ...], ...]:
    items = node.items()
    nested = [item for item in items if isinstance(item.value, list)]
    if not nested:
        return (_group(node),)
    if len(nested) != len(items):
        raise node.fail("expected either names, or lists of names of which each must agree")
    return tuple(sorted({_group(item) for item in items}))


def _group(node: Node) -> tuple[str, ...]:
    return tuple(sorted({_approver(item) for item in node.items()}))


def _approver(node: Node) -> str:
    text = node.text()
    kind, _, name = text.partition(":")
    if kind not in ("role", "person") or not name or name != name.strip():
        raise node.fail(f"`{text}` names nobody; expected `role:<name>` or `person:<name>`")
    return text


def _escalate(node: Node) -> Escalation:
    fields = node.fields(("after", "approvers"), ("after", "approvers"))
    return Escalation(after=duration(fields["after"]), approvers=_group(fields["approvers"]))


def _until(node: Node, place: Place) -> datetime | Ref:
    text = node.text()
    if text.startswith("$"):
        return reference(node, place)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise node.fail("expected an instant with its offset such as `2030-01-31T09:00:00Z`, or a reference to one")
    return found


def _signal(node: Node) -> str:
    text = node.text()
    if len(text) > _SIGNAL or text != text.strip():
        raise node.fail(f"expected the name of a signal, at most {_SIGNAL} characters")
    return text
