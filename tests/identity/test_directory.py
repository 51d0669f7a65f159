"""Who exists in a tenant: every mistake in the document is told with its place."""

from pathlib import Path

import pytest

from aegis.adapters import directory
from aegis.errors import ConfigError, DocumentError
from aegis.identity.directory import AgentEntry, PersonEntry, RoleEntry

GOOD = """\
apiVersion: aegis.directory/v1
kind: Directory
metadata: {tenant: acme, owner: platform@acme.example}
spec:
  agents:
    agent:planner:
      roles: [planner]
      scopes: [payments.*]
      trust: 3
      owner: finance@acme.example
      may_delegate_to: [agent:buyer]
    agent:buyer: {roles: [], scopes: ["*", records.read], enabled: false}
  people:
    person:alice: {roles: [finance-lead]}
    person:bob: {roles: [], enabled: false}
"""


def write(root: Path, text: str, tenant: str = "acme") -> Path:
    path = root / tenant / "directory.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_a_directory_says_who_exists_and_what_they_may_hold(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    found = directory.load_all(tmp_path)["acme"]
    assert found.tenant == "acme"
    assert found.agents == {
        "agent:planner": AgentEntry(
            id="agent:planner", roles=("planner",), scopes=("payments.*",), trust=3, owner="finance@acme.example",
            may_delegate_to=("agent:buyer",),
        ),
        "agent:buyer": AgentEntry(id="agent:buyer", roles=(), scopes=("*", "records.read"), enabled=False),
    }  # fmt: skip
    assert found.people == {
        "person:alice": PersonEntry(id="person:alice", roles=("finance-lead",)),
        "person:bob": PersonEntry(id="person:bob", roles=(), enabled=False),
    }
    assert found.agents["agent:buyer"].may_delegate_to is None


def test_what_is_left_out_grants_least_and_an_empty_list_of_children_means_nobody(tmp_path: Path) -> None:
    without_people = GOOD[: GOOD.index("  people:")]
    write(tmp_path, without_people.replace("[agent:buyer]", "[]").replace("      trust: 3\n", ""))
    found = directory.load_all(tmp_path)["acme"]
    assert found.people == {}
    assert found.agents["agent:planner"].may_delegate_to == ()
    assert (found.agents["agent:planner"].trust, found.agents["agent:planner"].enabled) == (0, True)


def test_an_agent_may_have_to_prove_its_key_and_may_have_its_instructions_pinned(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("trust: 3", "proof: required\n      prompt: prompts/planner.v2.md"))
    found = directory.load_all(tmp_path)["acme"].agents
    assert (found["agent:planner"].proof_required, found["agent:planner"].prompt) == (True, "prompts/planner.v2.md")
    assert (found["agent:buyer"].proof_required, found["agent:buyer"].prompt) == (False, "")
    write(tmp_path, GOOD.replace("trust: 3", "proof: optional"))
    assert not directory.load_all(tmp_path)["acme"].agents["agent:planner"].proof_required


# What is replaced, by what, where the complaint points to, and a word of it.
WRONG = [
    ("aegis.directory/v1", "aegis.directory/v2", "1:1", "aegis.directory/v1"),
    ("kind: Directory", "kind: Policy", "2:1", "`Directory`"),
    ("kind: Directory\n", "", "1:1", "`kind` is missing"),
    ("kind: Directory", "kind: Directory\nextra: 1", "3:1", "unknown key `extra`"),
    ("tenant: acme", "tenant: Acme", "3:12", "a tenant name such as `acme`"),
    ("tenant: acme", "tenant: 7", "3:12", "expected a string, found an integer"),
    ("tenant: acme, ", "", "3:1", "`tenant` is missing"),
    ("tenant: acme", "tenant: ../acme", "3:12", "a tenant name such as `acme`"),
    ("tenant: acme", 'tenant: "acme\\n"', "3:12", "a tenant name such as `acme`"),
    ("  agents:", "  agenst:", "5:3", "did you mean `agents`"),
    ("    agent:planner:", "    planner:", "6:5", "an id such as `agent:planner`"),
    ("    agent:planner:", "    agent:Planner:", "6:5", "an id such as `agent:planner`"),
    ("    agent:planner:", "    agent:.planner:", "6:5", "an id such as `agent:planner`"),
    ("    agent:planner:", f"    agent:{'p' * 64}:", "6:5", "an id such as `agent:planner`"),
    ("    agent:planner:", "    person:planner:", "6:5", "an id such as `agent:planner`"),
    ("      roles: [planner]\n", "", "6:5", "`roles` is missing"),
    ("      scopes: [payments.*]\n", "", "6:5", "`scopes` is missing"),
    ("roles: [planner]", "roles: planner", "7:7", "expected a list, found a string"),
    ("roles: [planner]", "roles: [Planner]", "7:15", "a role such as `treasury`"),
    ("roles: [planner]", "roles: [7]", "7:15", "found an integer (put it in quotes)"),
    ("roles: [planner]", "roles: [planner, ~]", "7:24", "found nothing"),
    ("roles: [planner]", 'roles: [""]', "7:15", "found an empty one"),
    ("[payments.*]", "[payments*]", "8:16", "a tool, `prefix.*` or `*`"),
    ("[payments.*]", '["*.transfer"]', "8:16", "a tool, `prefix.*` or `*`"),
    ("[payments.*]", '["payments transfer"]', "8:16", "a tool, `prefix.*` or `*`"),
    ("[payments.*]", '["payments..x"]', "8:16", "a tool, `prefix.*` or `*`"),
    ("[payments.*]", '["**"]', "8:16", "a tool, `prefix.*` or `*`"),
    ("trust: 3", "trust: 6", "9:7", "an integer from 0 to 5"),
    ("trust: 3", "trust: -1", "9:7", "an integer from 0 to 5"),
    ("trust: 3", "trust: 3.0", "9:7", "found a number"),
    ("trust: 3", "trust: true", "9:7", "found a boolean"),
    ("trust: 3", 'trust: "3"', "9:7", "found a string"),
    ("trust: 3", "proof: true", "9:7", "found a boolean"),
    ("trust: 3", "proof: requierd", "9:7", "did you mean `required`"),
    ("trust: 3", "prompt: 5", "9:7", "found an integer"),
    ("trust: 3", "prompt: ../planner.md", "9:7", "a file in this folder"),
    ("trust: 3", "prompt: prompts/../../planner.md", "9:7", "a file in this folder"),
    ("trust: 3", "prompt: /etc/passwd", "9:7", "a file in this folder"),
    ("trust: 3", "prompt: ~/planner.md", "9:7", "a file in this folder"),
    ("trust: 3", 'prompt: "prompts\\\\planner.md"', "9:7", "a file in this folder"),
    ("owner: finance@acme.example", "owner: 5", "10:7", "expected a string, found an integer"),
    ("[agent:buyer]", "[agent:bayer]", "11:7", "`agent:bayer` is not an agent of this directory"),
    ("[agent:buyer]", "[person:alice]", "11:25", "an agent id"),
    ("enabled: false}\n  people", "enabled: no}\n  people", "12:59", "expected true or false, found a string"),
    ("enabled: false}\n  people", "enabled: 0}\n  people", "12:59", "found an integer"),
    ("    person:alice:", "    alice:", "14:5", "an id such as `person:alice`"),
    ("    person:alice:", "    agent:planner:", "14:5", "an id such as `person:alice`"),
    ("[finance-lead]", "[finance lead]", "14:28", "a role such as `oncall`"),
    ("{roles: [finance-lead]}", "{roles: [a], scopes: [b]}", "14:32", "unknown key `scopes`"),
    ("{roles: [finance-lead]}", "{}", "14:5", "`roles` is missing"),
    ("    person:bob:", "    person:alice:", "15:5", "stands here twice"),
    ("    agent:buyer:", "    agent:planner:", "12:5", "stands here twice"),
    ("  people:", "  people: ~\n  others:", "14:3", "unknown key `others`"),
]


@pytest.mark.parametrize(("old", "new", "place", "words"), WRONG)
def test_each_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, place: str, words: str) -> None:
    assert GOOD.count(old) == 1
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(DocumentError) as refused:
        directory.load_all(tmp_path)
    message = str(refused.value)
    assert message.startswith(f"{path}:{place}: ")
    assert words in message


@pytest.mark.parametrize("text", ["", "[]", "agents", "a: &x 1\nb: *x\n", "--- 1\n--- 2\n"])
def test_what_is_no_directory_at_all_is_told_too(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DocumentError) as refused:
        directory.load_all(tmp_path)
    assert str(refused.value).startswith(f"{path}:")


def test_each_folder_below_is_one_tenant(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    write(tmp_path, GOOD.replace("tenant: acme", "tenant: globex"), "globex")
    (tmp_path / "README.txt").write_text("a file is no tenant")
    assert list(directory.load_all(tmp_path)) == ["acme", "globex"]
    assert directory.load_all(tmp_path / "nowhere") == {}


def test_a_directory_in_the_folder_of_another_tenant_is_refused(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "globex")
    with pytest.raises(ConfigError, match="is of tenant `acme`, but lies below tenant `globex`"):
        directory.load_all(tmp_path)


def test_a_folder_without_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    with pytest.raises(ConfigError, match=r"directory\.yaml: not found"):
        directory.load_all(tmp_path)


@pytest.mark.parametrize("name", ["Acme", "a_b", ".git", "7up", "a" * 64])
def test_a_folder_whose_name_is_no_tenant_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="expected a tenant name such as `acme`"):
        directory.load_all(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write(tmp_path, GOOD).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"directory\.yaml"):
        directory.load_all(tmp_path)


ROLES = (
    GOOD
    + """\
  roles:
    planner: {description: makes plans, tools: [payments.*, records.read]}
    finance-lead: {approves: [payments.transfer]}
"""
)


def test_a_directory_may_say_what_its_roles_are_for(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    assert directory.load_all(tmp_path)["acme"].roles is None
    write(tmp_path, ROLES)
    assert directory.load_all(tmp_path)["acme"].roles == {
        "planner": RoleEntry(name="planner", tools=("payments.*", "records.read"), description="makes plans"),
        "finance-lead": RoleEntry(name="finance-lead", approves=("payments.transfer",)),
    }


def test_nobody_may_hold_a_role_where_the_section_stands_and_defines_none(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "  roles: {}\n")
    with pytest.raises(DocumentError, match=r":7:15: role `planner` is not defined under `spec.roles`"):
        directory.load_all(tmp_path)


WRONG_ROLES = [
    ("roles: [planner]", "roles: [planer]", "7:15", "role `planer` is not defined under `spec.roles`; did you mean `planner`"),
    ("roles: [finance-lead]", "roles: [finance]", "14:28", "role `finance` is not defined"),
    ("roles: [finance-lead]", "roles: [5]", "14:28", "found an integer"),
    ("roles: [finance-lead]", "roles: finance-lead", "14:20", "expected a list"),
    ("roles: [finance-lead]", "roles: [{a: 1}]", "14:28", "found a mapping"),
    ("    planner: {d", "    Planner: {d", "17:5", "a role such as `treasury`"),
    ("tools: [payments.*,", "tools: [payments*,", "17:49", "a tool, `prefix.*` or `*`"),
    ("approves:", "aproves:", "18:20", "did you mean `approves`"),
    ("description: makes plans", "description: 5", "17:15", "expected a string"),
    ("approves: [payments.transfer]", "approves: payments.transfer", "18:20", "expected a list"),
]


@pytest.mark.parametrize(("old", "new", "place", "words"), WRONG_ROLES)
def test_each_mistake_about_roles_is_told_with_its_place(tmp_path: Path, old: str, new: str, place: str, words: str) -> None:
    assert ROLES.count(old) == 1
    path = write(tmp_path, ROLES.replace(old, new))
    with pytest.raises(DocumentError) as refused:
        directory.load_all(tmp_path)
    message = str(refused.value)
    assert message.startswith(f"{path}:{place}: ")
    assert words in message
