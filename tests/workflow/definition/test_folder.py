"""The workflows of a tenant as they lie in its folder: loaded, shown as tools, named by policies, and checked by commands."""

import json
from pathlib import Path

import msgspec
import pytest

from aegis.adapters import messages, workflows
from aegis.errors import ConfigError, DocumentError
from aegis.model.provenance import contract_of
from aegis.model.workflow_contract import WorkflowContract
from aegis.policy.language import load as load_policy
from cli.command import aegis
from workflow.definition.documents import PROCUREMENT, whole
from workflow.definition.tenant import DATA, DIRECTORY, POLICY, QUEUE, TOOLS

START = """
apiVersion: aegis.policy/v1
kind: PolicySet
metadata: {name: acme, tenant: acme, owner: team:security}
spec:
  tools:
    workflow.procurement: {contract: workflow.procurement@1}
  rules:
    - id: start
      effect: allow
      tools: [workflow.procurement]
      when: {args.article: {starts_with: "chair"}}
      reason: "chairs may be bought"
"""


def lay(home: Path, folder: str, name: str, document: object) -> Path:
    """Write a document into a folder of the tenant; JSON is YAML, too."""
    path = home / folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else msgspec.json.format(msgspec.json.encode(document)).decode())
    return path


@pytest.fixture
def home(tmp_path):
    """The folder of tenant acme in a working directory."""
    assert aegis(None, "init", str(tmp_path / "here")).returncode == 0
    found = tmp_path / "here" / "tenants" / "acme"
    for name, schema in DATA.items():
        meta = {"name": name, "version": "1.0.0", "tenant": "acme", "owner": "team:buying"}
        lay(found, "data", name, {"apiVersion": "aegis.data/v1", "kind": "Data", "metadata": meta, "spec": {"schema": schema}})
    for each in TOOLS:
        lay(found, "tools", each["metadata"]["name"], each)
    lay(found, "queues", "default", QUEUE)
    lay(found, ".", "directory", DIRECTORY)
    lay(found, ".", "policy", POLICY)
    lay(found, "workflows", "procurement", PROCUREMENT)
    return found


def test_a_workflow_is_a_tool_whose_contract_can_be_read_again_without_it(home):
    [stated] = workflows.stated(home, "acme")
    again = contract_of(stated.text, source="kept")
    assert isinstance(again, WorkflowContract)
    assert (again.name, again.version, again.digest) == ("workflow.procurement", "1.0.0", stated.contract.digest)
    assert again.definition == workflows.load(home, "acme").newest["procurement"].digest
    assert [each.path for each in again.check_input({"article": "chair", "price": 1})] == ["/price"]
    assert [each.keyword for each in again.check_input({})] == ["required"]


def test_a_policy_names_a_workflow_by_its_contract_and_reads_its_input(home):
    known = messages.registered(home, "acme").by_digest
    assert set(load_policy(START, source="policy.yaml", contracts=known).tools["workflow.procurement"].args) == {"article"}


def test_a_tenant_without_workflows_has_none(tmp_path):
    assert not workflows.load(tmp_path, "acme").by_digest


def test_a_version_that_takes_something_else_must_say_so(home):
    changed = json.loads(json.dumps(PROCUREMENT))
    changed["metadata"]["version"], changed["spec"]["input"] = "1.1.0", "score@1"
    lay(home, "workflows", "newer", changed)
    with pytest.raises(ConfigError, match=r"needs version 2\.0\.0"):
        messages.registered(home, "acme")


def test_a_version_that_gives_something_else_must_say_so(home):
    first, second = json.loads(json.dumps(PROCUREMENT)), json.loads(json.dumps(PROCUREMENT))
    for document, version, output in ((first, "1.0.0", "person@1"), (second, "1.1.0", "big@1")):
        document["metadata"] |= {"name": "giving", "version": version}
        document["spec"] |= {"output": output, "returns": {}}
        lay(home, "workflows", f"giving-{version}", document)
    with pytest.raises(ConfigError, match=r"`output.*needs version 2\.0\.0"):
        messages.registered(home, "acme")


def _data(home: Path, version: str, properties: object, required: list[str]) -> None:
    meta = {"name": "thing", "version": version, "tenant": "acme", "owner": "team:buying"}
    schema = {"type": "object", "required": required, "properties": properties}
    lay(
        home,
        "data",
        f"thing-{version}",
        {"apiVersion": "aegis.data/v1", "kind": "Data", "metadata": meta, "spec": {"schema": schema}},
    )


def test_a_version_of_data_may_add_and_not_break(home):
    _data(home, "1.0.0", {"a": {"type": "string"}}, ["a"])
    _data(home, "1.1.0", {"a": {"type": "string"}, "b": {"type": "integer"}}, ["a"])
    _data(home, "2.0.0", {"b": {"type": "integer"}}, ["b"])
    assert len(workflows.load(home, "acme").data) == len(DATA) + 3
    _data(home, "1.2.0", {"a": {"type": "string"}, "b": {"type": "integer"}}, ["a", "b"])
    with pytest.raises(ConfigError, match=r"that needs version 2\.0\.0"):
        workflows.load(home, "acme")
    assert "data_version" in aegis(home.parent.parent, "workflow", "validate").stdout


@pytest.mark.parametrize(
    ("folder", "name", "document", "said"),
    [
        ("workflows", "again", PROCUREMENT, "stands already in"),
        ("workflows", "other", {**PROCUREMENT, "metadata": {**PROCUREMENT["metadata"], "tenant": "globex"}}, "tenant `globex`"),
        ("workflows", "odd", {**PROCUREMENT, "metadata": {**PROCUREMENT["metadata"], "name": "odd"},
                              "spec": {**PROCUREMENT["spec"], "input": "nothing@1"}}, "no contract of data `nothing@1`"),
        ("tools", "thief", {**TOOLS[3], "metadata": {**TOOLS[3]["metadata"], "name": "workflow.x"}}, "names below `workflow.`"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_apart_or_leads_nowhere_is_refused(home, folder, name, document, said):
    lay(home, folder, name, document)
    with pytest.raises((ConfigError, DocumentError), match=said):
        messages.registered(home, "acme")


def test_the_command_tells_every_fault_of_every_file_within_80_columns(home):
    root = home.parent.parent
    done = aegis(root, "workflow", "validate", env={"COLUMNS": "80"})
    assert (done.returncode, done.stdout) == (0, "1 workflow: 0 errors, 0 warnings\n")
    lay(home, "workflows", "wrong", "kind: [")
    lay(home, "workflows", "second", {**whole(pay={"tool": "no.such", "args": {}}),
                                      "metadata": {**PROCUREMENT["metadata"], "name": "second", "version": "1.0.0"}})  # fmt: skip
    lay(home, "data", "broken", {"apiVersion": "aegis.data/v1"})
    done = aegis(root, "workflow", "validate", env={"COLUMNS": "80"})
    assert done.returncode == 1
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("error format at"))
    for said in ("tenants/acme/workflows/wrong.yaml:1:", "error unknown_tool at tenants/acme/workflows/second.yaml",
                 "tenants/acme/data/broken.yaml:1:1", "3 workflows: 3 errors, 0 warnings"):  # fmt: skip
        assert said in done.stdout
    told = json.loads(aegis(root, "--json", "workflow", "validate").stdout)
    assert (told["ok"], [each["ok"] for each in told["workflows"]]) == (False, [True, False, False])


def test_the_check_of_everything_looks_at_workflows_too(home):
    root = home.parent.parent
    assert "workflows: 1" in aegis(root, "check").stdout
    lay(home, "workflows", "procurement", whole(pay={"tool": "no.such", "args": {}}))
    done = aegis(root, "check", env={"COLUMNS": "200"})
    assert done.returncode == 1
    assert "unknown_tool" in done.stdout


def test_a_workflow_is_drawn_by_its_name_and_from_its_file(home, tmp_path):
    root, page = home.parent.parent, tmp_path / "page.svg"
    by_name = aegis(root, "workflow", "graph", "procurement")
    by_file = aegis(None, "workflow", "graph", str(home / "workflows" / "procurement.yaml"))
    assert by_name.stdout == by_file.stdout
    assert "╔═" in by_name.stdout
    states = lay(tmp_path, ".", "states", {"nodes": {"pay": {"state": "parked"}}})
    assert "! parked" in aegis(root, "workflow", "graph", "procurement", "--run", str(states)).stdout
    assert aegis(root, "workflow", "graph", "procurement", "--svg", str(page)).returncode == 0
    assert page.read_text().startswith("<svg")
    told = json.loads(aegis(root, "--json", "workflow", "graph", "procurement").stdout)
    assert {"from": "gather", "to": "score", "contract": "offers@1"} in told["edges"]
    missing = aegis(root, "workflow", "graph", "procurment")
    assert missing.returncode == 2
    assert "did you mean `procurement`?" in missing.stderr
