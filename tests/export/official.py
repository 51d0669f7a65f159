"""The official schema of OCSF 1.8.0, as JSON Schema, and what JSON Schema does not say: captions beside their numbers."""

from functools import cache
from typing import Any

import jsonschema_rs
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

_SIBLINGS = {"activity_id": "activity_name", "category_uid": "category_name", "class_uid": "class_name"}


@cache
def official() -> Any:
    return get_ocsf_schema(version="1.8.0")


@cache
def _validator(class_uid: int, profiles: tuple[str, ...]) -> Any:
    schema = OcsfJsonSchemaEmbedded(official())
    return jsonschema_rs.validator_for(schema.get_class_schema(schema.lookup_class_name_from_uid(class_uid), list(profiles)))


def faults(record: dict[str, Any]) -> list[str]:
    """What the official schema has against a record."""
    validator = _validator(record["class_uid"], tuple(record["metadata"]["profiles"]))
    found = [f"{error.instance_path}: {error.message}"[:300] for error in validator.iter_errors(record)]
    return found + list(_captions(record))


def _captions(record: dict[str, Any]) -> Any:
    """A number of an enumeration and the word beside it must be the same thing; 99 has a word of the source's own."""
    (attributes,) = (each["attributes"] for each in official()["classes"].values() if each["uid"] == record["class_uid"])
    for name, attribute in attributes.items():
        if not attribute.get("enum") or name not in record:
            continue
        sibling = _SIBLINGS.get(name, name.removesuffix("_id").replace("type_uid", "type_name"))
        caption = attribute["enum"][str(record[name])]["caption"]
        if record[name] != 99 and sibling in record and record[sibling] != caption:
            yield f"{sibling}: {record[sibling]} is not {caption}"
        if record[name] == 99 and name in ("activity_id", "status_id") and not record.get(sibling):
            yield f"{sibling}: missing beside 99"
