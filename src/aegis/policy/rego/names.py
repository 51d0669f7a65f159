"""Names of tenants and tools as names of Rego packages and roots of data.

Letters and digits stay; every other character becomes `_` and its two hexadecimal digits: `acme-eu` is `acme_2deu`. As `_` itself
is written `_5f`, two different names never meet. Prefixes keep keywords and builtins out of the way.
"""

import string

_KEPT = frozenset(string.ascii_letters + string.digits)


def identifier(name: str) -> str:
    """`name` in letters, digits and `_`, one to one; names are ASCII."""
    return "".join(char if char in _KEPT else f"_{ord(char):02x}" for char in name)


def root(tenant: str) -> str:
    """The package below which everything of a tenant stands."""
    return f"aegis_{identifier(tenant)}"


def entry_point(tenant: str) -> str:
    """The document that answers, as a reference below `data`."""
    return f"{root(tenant)}.main.decision"


def tool_package(tenant: str, tool: str) -> str:
    """The package of one tool."""
    return f"{root(tenant)}.tools.t_{identifier(tool)}"


def file_of(package: str) -> str:
    """Where a module of a package stands in a bundle."""
    return package.replace(".", "/") + ".rego"
