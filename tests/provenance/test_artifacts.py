"""Prompts and workflows: pinned by digest, signed where the tenant demands it."""

import json
from datetime import UTC, datetime

import pytest

from aegis.adapters import keyfiles, trust
from aegis.crypto.digest import sha256
from aegis.errors import ConfigError, IdentityError
from aegis.identity.directory import AgentEntry
from provenance.hands import aegis, demand, publisher

AGENT = AgentEntry(id="agent:planner", roles=(), scopes=(), prompt="prompts/planner.md")
PROMPT = b"Plan, and never pay.\n"


@pytest.fixture
def quiet(on_sqlite):
    """A world whose gateway does not matter, with a prompt."""
    w = on_sqlite
    w.stop()
    home = w.root / "tenants/acme"
    (home / "prompts").mkdir()
    (home / AGENT.prompt).write_bytes(PROMPT)
    return w, home


def refused(home, w=None):
    keys = keyfiles.load_public(w.keys) if w else None
    with pytest.raises(IdentityError) as caught:
        trust.prompt_digest(home, AGENT, keys, datetime.now(UTC))
    return caught.value.reason


def test_an_agent_without_a_prompt_has_no_digest(quiet):
    _, home = quiet
    assert trust.prompt_digest(home, AgentEntry(id="agent:x", roles=(), scopes=())) == ""
    assert trust.prompt_digest(home, AGENT) == sha256(PROMPT)


def test_a_prompt_that_is_not_the_pinned_one_is_refused(quiet):
    w, home = quiet
    demand(w, f'{{artifacts: [{{file: {AGENT.prompt}, kind: prompt, digest: "{sha256(PROMPT)}"}}]}}')
    assert trust.prompt_digest(home, AGENT) == sha256(PROMPT)
    assert json.loads(aegis(w, "--json", "tools", "verify", "--tenant", "acme"))["ok"]
    (home / AGENT.prompt).write_bytes(PROMPT + b"Or do.\n")
    assert refused(home) == "artifact_digest_mismatch"
    assert "artifact_digest_mismatch" in aegis(w, "artifacts", "verify", str(home / AGENT.prompt), "--tenant", "acme", code=1)
    assert "artifact_digest_mismatch" in aegis(w, "tools", "verify", "--tenant", "acme", code=1)


def test_a_prompt_that_too_few_have_signed_is_refused(quiet):
    w, home = quiet
    path = str(home / AGENT.prompt)
    demand(w, f"{{artifacts: [{{file: {AGENT.prompt}, kind: prompt, signatures: 2}}]}}")
    publisher(w, "person:alice")
    publisher(w, "person:bob")
    assert refused(home, w) == "artifact_unsigned"
    aegis(w, "artifacts", "sign", path, "--as", "person:alice", "--tenant", "acme")
    assert refused(home, w) == "artifact_unsigned"
    aegis(w, "artifacts", "sign", path, "--as", "person:bob", "--tenant", "acme")
    assert trust.prompt_digest(home, AGENT, keyfiles.load_public(w.keys), datetime.now(UTC)) == sha256(PROMPT)
    assert refused(home) == "artifact_unsigned", "without keys nobody has signed"
    assert "2 of 2" in aegis(w, "artifacts", "verify", path, "--tenant", "acme")
    (home / AGENT.prompt).write_bytes(PROMPT + b" ")
    assert refused(home, w) == "artifact_unsigned"


def test_a_signature_of_a_prompt_is_none_of_a_workflow_or_of_another_file(quiet):
    w, home = quiet
    publisher(w, "person:alice")
    aegis(w, "artifacts", "sign", str(home / AGENT.prompt), "--as", "person:alice", "--tenant", "acme")
    demand(
        w,
        f"{{artifacts: [{{file: {AGENT.prompt}, kind: workflow, signatures: 1}}, {{file: other.md, kind: prompt, signatures: 1}}]}}",
    )
    (home / "other.md").write_bytes(PROMPT)
    trust.beside(home / "other.md").write_bytes(trust.beside(home / AGENT.prompt).read_bytes())
    shown = aegis(w, "tools", "verify", "--tenant", "acme", code=1)
    assert "wrong_predicate" in shown
    assert "wrong_subject" in shown
    aegis(w, "artifacts", "sign", str(home / AGENT.prompt), "--kind", "prompt", "--as", "person:alice", "--tenant", "acme", code=2)


@pytest.mark.parametrize("where", ["../globex/directory.yaml", "missing.md", "prompts", "/etc/hostname"])
def test_a_prompt_lies_in_the_tenants_folder(quiet, where):
    _, home = quiet
    with pytest.raises(ConfigError):
        trust.prompt_digest(home, AgentEntry(id="agent:x", roles=(), scopes=(), prompt=where))


def test_a_link_out_of_the_folder_is_refused(quiet):
    w, home = quiet
    (home / "prompts/link.md").symlink_to(w.root / "tool.secret")
    with pytest.raises(ConfigError, match="expected a file in the tenant's folder"):
        trust.prompt_digest(home, AgentEntry(id="agent:x", roles=(), scopes=(), prompt="prompts/link.md"))
    aegis(w, "artifacts", "sign", str(w.root / "tool.secret"), "--as", "person:alice", "--tenant", "acme", code=2)
