"""The one usual layout of a policy file.

The outline stands in blocks, one entry a line; an entry that fits into 132 characters is written as one line, others are opened
as far as needed. Keys that the language knows stand in its order; what an author ordered (conditions, lists) stays. Text is plain
where it cannot be read as anything else, and in double quotes otherwise. Comments stay beside what they stood beside, single blank
lines stay between entries. What the document says never changes: it is read again and compared before it is given out.

    comments   which remark belongs to which entry
    scalars    how one value is written
    layout     how the document is written
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aegis.errors import DocumentError
from aegis.model import document
from aegis.policy.fmt.comments import Remarks, remarks
from aegis.policy.fmt.layout import lay_out

__all__ = ["Remarks", "fmt", "with_tests"]


def fmt(text: str, *, source: str) -> str:
    """`text` in the usual layout.

    Raises:
        DocumentError: It is not a document, or has something that the layout could not keep.
    """
    return _written(text, [], source)


def with_tests(text: str, cases: Sequence[Mapping[str, Any]], *, source: str) -> str:
    """`text` in the usual layout, with these tests behind its own."""
    return _written(text, list(cases), source)


def _written(text: str, cases: list[Mapping[str, Any]], source: str) -> str:
    found = document.parse(text, source=source)
    value = found.value
    said = remarks(text, found)
    if cases and isinstance(value, dict) and isinstance(value.get("spec"), dict):
        spec = value["spec"]
        value = {**value, "spec": {**spec, "tests": [*(spec.get("tests") or []), *cases]}}
    written = lay_out(value, said)
    if _typed(document.parse(written, source=source).value) != _typed(value):
        raise DocumentError(f"{source}:1:1: the layout could not keep what this document says; nothing was changed")
    return written


def _typed(value: Any) -> Any:
    """The value such that `1`, `1.0` and `true` differ; the order of keys does not count."""
    if isinstance(value, Mapping):
        return {key: _typed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_typed(inner) for inner in value]
    return type(value).__name__, value
