"""The contracts of a tenant, read from its directory."""

import pytest

from aegis.adapters.catalogue import load
from aegis.errors import ConfigError, DocumentError


def written(name="notes.list", version="1.0.0", tenant="acme", more=""):
    return f"""apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: {name}, version: {version}, tenant: {tenant}, owner: o@acme.example}}
spec:
  description: List notes.{more}
  effect: read
  upstream: {{url: "http://127.0.0.1:1"}}
  operations: {{call: {{method: GET, path: /notes}}}}
  input: {{type: object, properties: {{}}}}
"""


def test_every_version_is_found_and_the_newest_is_the_newest_by_number(tmp_path):
    (tmp_path / "old").mkdir()
    for file, version in (("a.yaml", "1.10.0"), ("old/b.yaml", "1.9.9"), ("c.yaml", "1.2.30")):
        (tmp_path / file).write_text(written(version=version))
    found = load(tmp_path, "acme")
    assert found.newest["notes.list"].version == "1.10.0"
    assert {stated.version for stated in found.by_digest.values()} == {"1.10.0", "1.9.9", "1.2.30"}
    assert all(digest == stated.digest for digest, stated in found.by_digest.items())


def test_a_directory_that_is_not_there_has_no_tools(tmp_path):
    assert not load(tmp_path / "missing", "acme").newest


def test_a_contract_of_another_tenant_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(written(tenant="other"))
    with pytest.raises(ConfigError, match=r"a\.yaml: is of tenant `other`, but lies below tenant `acme`"):
        load(tmp_path, "acme")


def test_one_version_stated_twice_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(written())
    (tmp_path / "b.yaml").write_text(written(more=" Differently."))
    with pytest.raises(ConfigError, match=r"b\.yaml: version 1\.0\.0 of `notes\.list` stands already in .*a\.yaml"):
        load(tmp_path, "acme")


def test_one_wrong_file_stops_the_whole_directory(tmp_path):
    (tmp_path / "a.yaml").write_text(written())
    (tmp_path / "b.yaml").write_text(written(name="notes.more").replace("effect: read", "effect: rad"))
    with pytest.raises(DocumentError, match=r"b\.yaml:6:3: found `rad`"):
        load(tmp_path, "acme")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"a\.yaml: cannot be read as UTF-8 text"):
        load(tmp_path, "acme")


def test_a_file_with_the_other_ending_is_refused_and_not_passed_over(tmp_path):
    (tmp_path / "a.yml").write_text(written())
    with pytest.raises(ConfigError, match=r"a\.yml: expected a name that ends in `\.yaml`"):
        load(tmp_path, "acme")


def test_the_digest_changes_with_what_the_contract_says_and_not_with_how(tmp_path):
    digests = []
    for text in (
        written(),
        "# a comment\n" + written(),
        written().replace("{method: GET, path: /notes}", "{path: /notes, method: GET}"),
        written().replace("o@acme.example", "p@acme.example"),
        written().replace("path: /notes", "path: /notes2"),
        written(version="1.0.1"),
        written().replace("properties: {}", "additionalProperties: false, properties: {}"),
    ):
        (tmp_path / "a.yaml").write_text(text)
        digests += load(tmp_path, "acme").by_digest
    assert digests[0] == digests[1] == digests[2] == digests[3] == digests[6]
    assert len({digests[0], digests[4], digests[5]}) == 3
