"""Which remark belongs to which entry.

A remark on a line of its own belongs to the next entry that begins below it; a remark behind something belongs to the first entry
that begins on that line. An entry is a key of a mapping or an element of a list.
"""

from msgspec import Struct
from ruamel.yaml import YAML

from aegis.model.document import Document, Path


class Remarks(Struct, frozen=True, kw_only=True):
    """Remarks by the path of their entry: lines above it, the text behind it, those at the end, and entries after a blank line."""

    above: dict[Path, list[str]]
    behind: dict[Path, str]
    end: list[str]
    blank: set[Path]

    def inside(self, path: Path) -> bool:
        """Whether something below `path` has a remark."""
        return any(len(each) > len(path) and each[: len(path)] == path for each in (*self.above, *self.behind))


def remarks(text: str, found: Document) -> Remarks:
    """The remarks of a document."""
    lines = text.splitlines()
    marks = _marks(text)
    starts = sorted((place, len(path), path) for path, place in _entries(found).items())
    said = Remarks(above={}, behind={}, end=[], blank=set(_after_blank(lines, starts)))
    for row, column in marks:
        remark = lines[row - 1][column - 1 :].rstrip()
        alone = not lines[row - 1][: column - 1].strip()
        here = next((path for (line, _), _, path in starts if line == row), None)
        if not alone and here is not None and here not in said.behind:
            said.behind[here] = remark
            continue
        below = next((path for (line, _), _, path in starts if line > row), None)
        said.end.append(remark) if below is None else said.above.setdefault(below, []).append(remark)
    return said


def _entries(found: Document) -> dict[Path, tuple[int, int]]:
    """Where every entry begins."""
    places: dict[Path, tuple[int, int]] = {}
    stack: list[tuple[Path, object]] = [((), found.value)]
    while stack:
        path, value = stack.pop()
        if path:
            places[path] = found.place(path)
        if isinstance(value, dict):
            stack += [((*path, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            stack += [((*path, index), inner) for index, inner in enumerate(value)]
    return places


def _after_blank(lines: list[str], starts: list[tuple[tuple[int, int], int, Path]]) -> list[Path]:
    """Entries that a blank line stands before, with only remarks between."""
    found, seen = [], set()
    for (line, _), _, path in starts:
        if line in seen:
            continue
        seen.add(line)
        row = line - 1
        while row > 0 and lines[row - 1].lstrip().startswith("#"):
            row -= 1
        if row > 0 and not lines[row - 1].strip():
            found.append(path)
    return found


def _marks(text: str) -> list[tuple[int, int]]:
    """(line, column) of every remark: a `#` behind white space, outside every scalar."""
    inside = [
        (token.start_mark.index, token.end_mark.index)
        for token in YAML(typ="safe", pure=True).scan(text)
        if type(token).__name__ == "ScalarToken"
    ]
    found, offset = [], 0
    for row, line in enumerate(text.splitlines(keepends=True), start=1):
        column = line.find("#")
        while column >= 0:
            free = column == 0 or line[column - 1] in " \t"
            if free and not any(start <= offset + column < end for start, end in inside):
                found.append((row, column + 1))
                break
            column = line.find("#", column + 1)
        offset += len(line)
    return found
