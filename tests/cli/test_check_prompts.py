"""`aegis check` tells of agents whose prompt keeps them from getting tokens."""

from cli.command import aegis


def test_an_agent_whose_prompt_is_not_there_or_is_another_than_pinned_fails_the_check(tmp_path):
    home = tmp_path / "home"
    assert aegis(None, "init", str(home)).returncode == 0
    tenant = home / "tenants" / "acme"
    directory = tenant / "directory.yaml"
    directory.write_text(
        directory.read_text("utf-8").replace("      trust: 3", "      prompt: prompts/a.md\n      trust: 3"), "utf-8"
    )
    told = aegis(home, "check")
    assert (told.returncode, "`agent:assistant` gets no token" in told.stdout) == (1, True), told.stdout
    (tenant / "prompts").mkdir()
    (tenant / "prompts" / "a.md").write_text("be kind", "utf-8")
    assert aegis(home, "check").returncode == 0
    (tenant / "trust.yaml").write_text(
        "apiVersion: aegis.trust/v1\nkind: Trust\nmetadata: {tenant: acme}\nspec:\n  artifacts:\n"
        f"    - {{file: prompts/a.md, kind: prompt, digest: 'sha256:{'0' * 64}'}}\n",
        "utf-8",
    )
    told = aegis(home, "check")
    assert (told.returncode, "gets no token" in told.stdout) == (1, True), told.stdout
