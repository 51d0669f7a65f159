"""Values as Rego terms.

Rego's scalars, arrays and objects are written as in JSON, so whatever the author of a policy wrote goes through a JSON encoder and
comes out as one term. Only ASCII is written, so that no reader of the file can disagree about characters.
"""

import json
from collections.abc import Iterable
from typing import Any


def term(value: Any) -> str:
    """A JSON value as a term; NaN and infinity have none."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True)


def set_of(values: Iterable[Any]) -> str:
    """A set of scalars, sorted; the empty one needs its own word because `{}` is an object."""
    found = sorted({term(value) for value in values})
    return "{" + ", ".join(found) + "}" if found else "set()"


def get(document: str, parts: Iterable[str]) -> str:
    """The value at a place, null when there is none. `document` is a name that always stands for an object."""
    return f"object.get({document}, {term(list(parts))}, null)"
