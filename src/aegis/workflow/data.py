"""Contracts of data: what goes over an edge of a workflow, into a run, and out of it.

`aegis.data/v1` documents are written by the owner of the data:

    metadata   name, version, tenant, owner
    spec       description, schema

A step names one as `offer@1`, which is the newest version of that major one, or as `offer@1.2.0`.
"""

import re
from collections.abc import Iterable

from msgspec import Struct

from aegis.crypto.canonical import canon_numbers
from aegis.crypto.digest import sha256
from aegis.model.contract import NAME, VERSION
from aegis.model.document import Document
from aegis.model.evolution import misfits
from aegis.model.node import Node
from aegis.model.schema import Schema, SchemaError

API_VERSION = "aegis.data/v1"


class DataContract(Struct, frozen=True, kw_only=True):
    """One version of a contract of data. `digest` is over its meaning."""

    name: str
    version: str
    tenant: str
    owner: str
    schema: Schema
    digest: str
    description: str = ""
    source: str = ""

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The version as numbers, which order."""
        major, minor, patch = map(int, self.version.split("."))
        return major, minor, patch


def data_contract(document: Document) -> DataContract:
    """The contract that a document states.

    Raises:
        DocumentError: With file, line and column, what was found and what was expected.
    """
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("Data",))
    words = ("name", "version", "tenant", "owner")
    meta = top["metadata"].fields(words, words)
    spec = top["spec"].fields(("description", "schema"), ("schema",))
    name = _match(meta["name"], NAME, "a name such as `offer`")
    version = _match(meta["version"], VERSION, "X.Y.Z")
    meaning = {"metadata": {"name": name, "version": version}, "schema": spec["schema"].value}
    return DataContract(
        name=name, version=version, tenant=meta["tenant"].text(), owner=meta["owner"].text(), schema=_schema(spec["schema"]),
        digest=sha256(canon_numbers(meaning)), source=document.source,
        description=spec["description"].text() if "description" in spec else "",
    )  # fmt: skip


def named(wanted: str, known: Iterable[DataContract]) -> DataContract | None:
    """What `name@major` or `name@x.y.z` means among these: the newest that fits; `None` when there is none."""
    name, _, version = wanted.partition("@")
    fitting = [each for each in known if each.name == name and fits(version, each.version)]
    return max(fitting, key=lambda each: each.numbers, default=None)


def fits(wanted: str, version: str) -> bool:
    """Whether a version is the one that is wanted: exactly, of this major version, or any when nothing is said."""
    return not wanted or version == wanted or version.partition(".")[0] == wanted


def complaint(older: DataContract, newer: DataContract) -> str:
    """What is wrong with the version of `newer`, which comes after `older`; empty when whoever reads or gives either copes."""
    if older.numbers[0] != newer.numbers[0]:
        return ""
    before, after = older.schema.source, newer.schema.source
    found = [*misfits("schema", after, before), *misfits("schema", before, after)]
    if not found:
        return ""
    place, text = found[0]
    return f"`{place}`: not everybody who knows {older.version} copes ({text}); that needs version {newer.numbers[0] + 1}.0.0"


def _schema(node: Node) -> Schema:
    try:
        return Schema(node.value)
    except SchemaError as error:
        raise node.document.error((*node.path, *error.path), str(error)) from None


def _match(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    if not pattern.fullmatch(node.text()):
        raise node.fail(f"expected {expected}")
    return node.text()
