"""Tenants to look at: the examples, and small ones made for a test."""

import shutil
from pathlib import Path

from aegis.adapters import directory
from aegis.app import load_tenant
from aegis.settings import Settings
from aegis.surfaces.cli.setup import make_keys

HERE = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(home.name for home in HERE.iterdir() if (home / "policy.yaml").is_file())

DIRECTORY = """\
apiVersion: aegis.directory/v1
kind: Directory
metadata: {tenant: acme}
spec:
  agents:
    agent:payer: {roles: [treasury], scopes: [pay.*], trust: 4}
    agent:clerk: {roles: [clerk], scopes: [files.*], trust: 2}
    agent:off: {roles: [clerk], scopes: [files.*], enabled: false}
  people:
    person:lea: {roles: [lead]}
    person:max: {roles: []}
  roles:
    treasury: {tools: [pay.*, files.read]}
    clerk: {tools: [files.*]}
    lead: {approves: [pay.send]}
"""
POLICY = """\
apiVersion: aegis.policy/v1
kind: PolicySet
metadata: {name: small, tenant: acme, owner: tests@acme.example}
spec:
  tools:
    pay.send: {args: {amount: integer, to: string, note: "string?"}}
    files.read: {args: {path: string}}
    files.drop: {args: {path: string}}
  rules:
    - {id: pay.allow, effect: allow, tools: [pay.send], when: {agent.roles: {contains: treasury}}}
    - {id: pay.cap, effect: deny, tools: [pay.send], when: {args.amount: {gt: 500}}, reason: too much}
    - id: pay.look
      effect: approval_needed
      tools: [pay.send]
      when: {args.amount: {gte: 100}}
      approval: {approvers: ["role:lead"]}
      reason: a lead must look
    - {id: files.read, effect: allow, tools: [files.read]}
    - {id: files.drop, effect: allow, tools: [files.drop], when: {agent.roles: {contains: clerk}}}
  tests:
    - {name: small amounts pass, input: {tool: pay.send, args.amount: 5, agent.roles: [treasury]}, expect: {outcome: allow}}
"""
TOOL = """\
apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: {name}, version: 1.0.0, tenant: acme, owner: tests@acme.example}}
spec:
  description: Does it.
  effect: {effect}
{more}  upstream: {{url: "http://127.0.0.1:1", timeout_seconds: 1}}
  operations: {{call: {{method: POST, path: /{name}, body: all}}}}
  input: {input}
"""
WRITES = "  resource: all\n  interrupt: neither\n"
PAY = (
    "{type: object, required: [amount, to], properties: {amount: {type: integer, minimum: 1, maximum: 100000}, "
    'to: {type: string, pattern: "^acct_[0-9]{4}$"}, note: {type: string, maxLength: 20}}}'
)
FILE = "{type: object, required: [path], properties: {path: {type: string, minLength: 3}}}"


def example(name, root):
    """An example as a tenant of a working directory below `root`."""
    shutil.copytree(HERE / name, root / "tenants" / name)
    return opened(root, name)


def small(root, *, of_directory=(), of_policy=()):
    """The small tenant, with these words replaced."""
    home = root / "tenants" / "acme"
    (home / "tools").mkdir(parents=True, exist_ok=True)
    (home / "directory.yaml").write_text(replaced(DIRECTORY, of_directory))
    (home / "policy.yaml").write_text(replaced(POLICY, of_policy))
    for tool, effect, more, arguments in (
        ("pay.send", "write", WRITES, PAY),
        ("files.read", "read", "", FILE),
        ("files.drop", "dangerous", WRITES, FILE),
    ):
        (home / "tools" / f"{tool}.yaml").write_text(TOOL.format(name=tool, effect=effect, more=more, input=arguments))
    return opened(root, "acme")


def replaced(text, pairs):
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def opened(root, name):
    """A tenant of a working directory, as a gateway would load it."""
    found = Settings(root=root)
    if not (found.keys / "public.json").exists():
        make_keys(found.keys, name, ())
    (root / "aegis.toml").write_text('[store]\nurl = "sqlite:data/aegis.db"\n')
    return load_tenant(found, name, directory.load(found.tenants, name))
