"""Directories: what they grant, and what is said, with its place, about one that is wrong."""

from pathlib import Path

import pytest

from aegis.adapters import directory
from aegis.errors import ConfigError, DocumentError
from aegis.identity.directory import AgentEntry, PersonEntry, parse_directory
from aegis.model.document import parse

GOOD = """\
apiVersion: aegis.directory/v1
kind: Directory
metadata: {tenant: acme}
spec:
  agents:
    agent:planner:
      roles: [planner]
      scopes: [payments.*, records.read]
      trust: 3
      owner: finance@acme.example
      may_delegate_to: [agent:clerk]
    agent:clerk:
      roles: []
      scopes: []
      enabled: false
  people:
    person:alice:
      roles: [finance-lead]
    person:bob:
      roles: [oncall]
      enabled: false
"""


def read(text: str):
    return parse_directory(parse(text, source="directory.yaml"))


def test_a_directory_states_agents_and_people():
    found = read(GOOD)
    assert found.tenant == "acme"
    assert found.agents["agent:planner"] == AgentEntry(
        id="agent:planner",
        roles=("planner",),
        scopes=("payments.*", "records.read"),
        trust=3,
        owner="finance@acme.example",
        may_delegate_to=("agent:clerk",),
    )
    assert found.people == {
        "person:alice": PersonEntry(id="person:alice", roles=("finance-lead",)),
        "person:bob": PersonEntry(id="person:bob", roles=("oncall",), enabled=False),
    }


def test_what_is_left_out_grants_least_trust_and_leaves_delegation_unlimited():
    clerk = read(GOOD).agents["agent:clerk"]
    assert (clerk.trust, clerk.enabled, clerk.may_delegate_to) == (0, False, None)


def test_an_empty_list_of_children_lets_an_agent_hand_tasks_to_nobody():
    assert read(GOOD.replace("[agent:clerk]", "[]")).agents["agent:planner"].may_delegate_to == ()


def test_people_may_be_left_out():
    assert read(GOOD[: GOOD.index("  people:")]).people == {}


WRONG = {
    "another version": ("aegis.directory/v1", "aegis.directory/v2", 1, "`aegis.directory/v1`"),
    "another kind": ("kind: Directory", "kind: Policy", 2, "`Directory`"),
    "no tenant": ("metadata: {tenant: acme}", "metadata: {owner: x}", 3, "`tenant` is missing"),
    "tenant as a path": ("tenant: acme", "tenant: ../acme", 3, "a tenant name"),
    "tenant in capitals": ("tenant: acme", "tenant: Acme", 3, "a tenant name"),
    "no agents": ("  agents:", "  agent:", 5, "unknown key `agent`; expected one of `agents`, `people`; did you mean `agents`?"),
    "agent without its prefix": ("    agent:planner:\n", "    planner:\n", 6, "expected an id such as `agent:planner`"),
    "agent id with a space": ("    agent:planner:\n", '    "agent:plan ner":\n', 6, "expected an id such as"),
    "agent twice": ("    agent:clerk:\n", "    agent:planner:\n", 12, "`agent:planner` stands here twice"),
    "roles not a list": ("roles: [planner]", "roles: planner", 7, "expected a list"),
    "roles missing": ("      roles: [planner]\n", "", 6, "`roles` is missing"),
    "role with a space": ("[planner]", "[the planner]", 7, "expected a role"),
    "role as a number": ("[planner]", "[7]", 7, "expected a string, found an integer"),
    "scope with a star inside": ("payments.*,", "pay*ments,", 8, "expected a tool, `prefix.*` or `*`"),
    "scope that starts with a star": ("payments.*,", '"*.read",', 8, "expected a tool, `prefix.*` or `*`"),
    "trust above five": ("trust: 3", "trust: 6", 9, "from 0 to 5"),
    "trust below zero": ("trust: 3", "trust: -1", 9, "from 0 to 5"),
    "trust as a boolean": ("trust: 3", "trust: true", 9, "from 0 to 5"),
    "trust as text": ("trust: 3", 'trust: "3"', 9, "from 0 to 5"),
    "child that is nobody": ("[agent:clerk]", "[agent:clark]", 11, "`agent:clark` is not an agent of this directory"),
    "child that is a person": ("[agent:clerk]", "[person:alice]", 11, "expected an agent id"),
    "enabled as a word": ("      enabled: false\n  people", "      enabled: off\n  people", 15, "expected true or false"),
    "unknown key of an agent": ("trust: 3", "trusted: 3", 9, "did you mean `trust`?"),
    "person without its prefix": ("    person:alice:", "    alice:", 17, "expected an id such as `person:alice`"),
    "unknown key of a person": ("roles: [finance-lead]", "roles: []\n      trust: 5", 19, "unknown key `trust`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_directory_is_refused_at_its_place(case):
    old, new, line, says = WRONG[case]
    assert GOOD.count(old) == 1, "the case changes one place"
    with pytest.raises(DocumentError) as caught:
        read(GOOD.replace(old, new))
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"directory.yaml:{line}:"), caught.value


def tenant(root: Path, name: str, text: str = GOOD) -> Path:
    home = root / name
    home.mkdir()
    (home / "directory.yaml").write_text(text)
    return home


def test_every_tenant_below_the_root_is_read(tmp_path):
    tenant(tmp_path, "acme")
    tenant(tmp_path, "globex", GOOD.replace("acme}", "globex}"))
    (tmp_path / "README.md").write_text("not a tenant")
    assert {name: found.tenant for name, found in directory.load_all(tmp_path).items()} == {"acme": "acme", "globex": "globex"}


def test_no_tenants_is_no_error(tmp_path):
    assert directory.load_all(tmp_path / "none") == {}


def test_a_directory_of_another_tenant_is_refused(tmp_path):
    tenant(tmp_path, "globex")
    with pytest.raises(ConfigError, match="is of tenant `acme`, but lies below tenant `globex`"):
        directory.load_all(tmp_path)


def test_a_folder_without_a_directory_is_refused(tmp_path):
    (tmp_path / "acme").mkdir()
    with pytest.raises(ConfigError, match=r"acme/directory\.yaml: not found"):
        directory.load_all(tmp_path)


def test_a_folder_that_cannot_be_a_tenant_is_refused(tmp_path):
    tenant(tmp_path, "Acme Corp")
    with pytest.raises(ConfigError, match="expected a tenant name"):
        directory.load_all(tmp_path)


def test_what_is_wrong_in_a_file_names_the_file(tmp_path):
    home = tenant(tmp_path, "acme", GOOD.replace("trust: 3", "trust: 9"))
    with pytest.raises(DocumentError) as caught:
        directory.load_all(tmp_path)
    assert str(caught.value).startswith(f"{home / 'directory.yaml'}:9:")
