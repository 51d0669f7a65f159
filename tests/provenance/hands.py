"""What tests of provenance do to a world: edit contracts, demand things, sign, approve, and look at the journal."""

import time

from aegis.adapters import keyfiles
from aegis.adapters.trust import beside
from aegis.model.event import SYSTEM_TENANT
from aegis.surfaces.cli.main import cli


def within(seconds, holds):
    """Wait for something that must come about."""
    started = time.monotonic()
    while not (found := holds()):
        assert time.monotonic() - started < seconds, "it did not come about"
        time.sleep(0.02)
    return found


def file_of(w, tool="records.read", tenant="acme"):
    return w.root / "tenants" / tenant / "tools" / f"{tool}.yaml"


def write(path, content):
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(content)
    temporary.replace(path)


def edit(w, old, new, tool="records.read", tenant="acme"):
    """Change the contract of a tool while the gateway serves; what stood there before."""
    path = file_of(w, tool, tenant)
    before = path.read_text()
    assert old in before
    write(path, before.replace(old, new))
    return before


def demand(w, spec, tenant="acme"):
    document = f"apiVersion: aegis.trust/v1\nkind: Trust\nmetadata: {{tenant: {tenant}}}\nspec: {spec}\n"
    write(w.root / "tenants" / tenant / "trust.yaml", document)


def read(w, tenant="acme", tool="records.read"):
    return w.call(tool, {"id": "r1"}, token=w.token("agent:reader", tenant))


def denied(w, rule, tenant="acme", tool="records.read"):
    """Whether a call of the tool is denied by this rule now."""
    told = read(w, tenant, tool)
    return told.status_code == 403 and told.json()["rule"] == rule and told.json()


def told(w, kind, tenant="acme"):
    """The events of a kind about a tenant."""
    return [event for event in w.events(tenant=SYSTEM_TENANT) if event["type"] == kind and event.get("on_tenant") == tenant]


def digest(w, tool="records.read", tenant="acme"):
    """The digest of the contract as it lies in the file."""
    from aegis.adapters import catalogue

    return catalogue.parsed(file_of(w, tool, tenant)).contract.digest


def publisher(w, person, tenant="acme"):
    """Make the publisher key of a person."""
    keyfiles.create(w.keys, "publisher", tenant, person, now=w.hand())


def aegis(w, *args, code=0):
    """Run the command on the world's directory; its output."""
    from click.testing import CliRunner

    from aegis.surfaces.cli import main

    (w.root / "aegis.toml").write_text(f'[store]\nurl = "{w.settings.store.url}"\n')
    result = CliRunner().invoke(cli, ["--dir", str(w.root), *args], obj=None, standalone_mode=False)
    ending = main._failed(result.exception) if result.exception else result.return_value or 0
    assert ending == code, (ending, result.output, result.exception)
    return result.output


def unsign(w, tool="records.read", tenant="acme"):
    beside(file_of(w, tool, tenant)).unlink()
