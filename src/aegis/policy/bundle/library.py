"""The bundle that all tenants of an Open Policy Agent share: comparisons and the verdict, in Rego.

A tenant's bundle calls these functions and does not hold them, because the roots of two bundles in one OPA must not overlap. It is
signed like any other, under the scope that the OPA in question verifies.
"""

from collections.abc import Mapping

from aegis.crypto.es256 import PrivateKey
from aegis.policy.bundle import archive, signature, structured
from aegis.policy.bundle.bundle import MANIFEST, revision

FORMAT = "aegis.library/v1"
ROOTS = ("aegis/fold", "aegis/lib")


def build_library(modules: Mapping[str, str], *, scope: str, key: PrivateKey) -> bytes:
    """The signed tarball of the shared modules."""
    files = {path: text.encode() for path, text in modules.items()}
    manifest = {"revision": revision(files), "roots": list(ROOTS), "rego_version": 1, "metadata": {"format": FORMAT}}
    files[MANIFEST] = structured.render(manifest)
    files[signature.FILE] = signature.sign(files, scope, key)
    return archive.pack(files)
