"""The group `aegis policy` and the table of its commands; a command is imported only to be run."""

from aegis.surfaces.cli.lazy import lazy_group

COMMANDS: dict[str, tuple[str, str, str]] = {
    "fmt": ("policy.fmt:fmt", "write", "lay out a policy file in the one usual way"),
    "schema": ("policy.schema:schema", "write", "print the JSON Schema of the language, for editors"),
    "lint": ("policy.lint:lint", "write", "find rules that cannot fire, overlap, or lack tests"),
    "test": ("policy.test:test", "write", "run the tests that a set carries, and generated hits and near misses"),
    "coverage": (
        "policy.coverage:coverage",
        "write",
        "show which rules and critical tools the tests exercise, and what is ungoverned",
    ),
    "diff": ("policy.diff:diff", "write", "compare two versions of a set: rules, and calls that would be decided otherwise"),
    "check-plan": ("policy.plan:check_plan", "write", "say which steps of a plan could never be allowed"),
    "simulate": ("policy.simulate:simulate", "learn", "decide recorded calls anew by a candidate and list the differences"),
    "shadow-report": ("policy.shadow:shadow_report", "learn", "tell what rules in shadow would have done, and which are ready"),
    "build": ("policy.build:build", "ship", "compile a set to a signed OPA bundle"),
    "push": ("policy.ship:push", "ship", "store a signed, immutable version of a tenant's set"),
    "promote": ("policy.ship:promote", "ship", "make a version decide, in shadow or enforced"),
    "rollback": ("policy.ship:rollback", "ship", "go back to the version that decided before, or to an older one"),
    "history": ("policy.ship:history", "ship", "list versions and activations"),
    "show": ("policy.ship:show", "ship", "show one version: manifest, rules, signatures"),
}

policy = lazy_group("policy", COMMANDS, "Write, test, ship and look after policy sets.")
