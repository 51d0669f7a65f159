"""A policy bundle of one tenant: built, and taken in again only if it is whole, signed and the tenant's own.

    .manifest            revision, roots, rego_version 1, metadata {format, tenant, name, policy}
    .signatures.json     one JWT over all other files (`signature`)
    data.json            the tenant's data for the rules in Rego
    */*.rego             what Open Policy Agent evaluates
    aegis/policy.yaml    the document that a gateway compiles itself
    aegis/tenant.json    the tenant's data for it
    aegis/contracts.json digests of the tool contracts that it was compiled with
    aegis/rego/*         hand-written modules, by the names that the document uses, with `.txt` behind them

The revision is a digest over all other files: equal content has an equal revision, whoever built it and when.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from aegis.crypto.digest import sha256, sha256_raw
from aegis.crypto.es256 import PrivateKey, PublicKey
from aegis.errors import BundleError
from aegis.policy.bundle import archive, signature, structured
from aegis.policy.rego.names import identifier, root

FORMAT = "aegis.bundle/v1"
MANIFEST, DATA = ".manifest", "data.json"
POLICY, TENANT, CONTRACTS, REGO = "aegis/policy.yaml", "aegis/tenant.json", "aegis/contracts.json", "aegis/rego/"
TEXT = ".txt"
_REQUIRED = (MANIFEST, DATA, POLICY, TENANT, CONTRACTS)


class Sources(Struct, frozen=True, kw_only=True):
    """What a gateway compiles: the document, the tenant's data, contract digests by tool, hand-written modules by name."""

    policy: str
    tenant_data: dict[str, Any] = {}
    contracts: dict[str, str] = {}
    rego: dict[str, str] = {}


class Target(Struct, frozen=True, kw_only=True):
    """What Open Policy Agent evaluates: modules by path, and data. Both keep to the tenant's roots."""

    modules: dict[str, str]
    data: dict[str, Any]


class Bundle(Struct, frozen=True, kw_only=True):
    """A bundle that was verified. `sha256` is the digest of the file, `signed_by` the kid of the key that signed it."""

    tenant: str
    name: str
    revision: str
    policy_digest: str
    sha256: str
    signed_by: str
    sources: Sources
    files: dict[str, bytes]


def build(*, tenant: str, name: str, policy_digest: str, sources: Sources, target: Target, key: PrivateKey) -> bytes:
    """The signed tarball.

    Raises:
        BundleError: A path, the size or a value cannot stand in a bundle, or a root is not the tenant's.
    """
    files = _content(sources, target)
    files[MANIFEST] = structured.render(
        {
            "revision": revision(files),
            "roots": sorted(roots(tenant)),
            "rego_version": 1,
            "metadata": {"format": FORMAT, "tenant": tenant, "name": name, "policy": policy_digest},
        }
    )
    files[signature.FILE] = signature.sign(files, tenant, key)
    packed = archive.pack(files)
    load(packed, tenant=tenant, keys=(key.public,))  # what we would not take in ourselves never leaves
    return packed


def load(packed: bytes, *, tenant: str, keys: Iterable[PublicKey]) -> Bundle:
    """The bundle in `packed`, if one of `keys` has signed it for this tenant.

    Raises:
        BundleError: With the reason; nothing of it may be used.
    """
    files = archive.unpack(packed)
    signed_by = signature.verify(files, tenant, keys)
    for name in _REQUIRED:
        if name not in files:
            raise BundleError("files", f"the bundle has no `{name}`")
    manifest = structured.read(MANIFEST, files[MANIFEST], limit=archive.MAX_UNPACKED)
    metadata = _metadata(manifest, tenant)
    if manifest["revision"] != revision(files):
        raise BundleError("manifest", "the revision is not the digest of the content")
    _keep_to_roots(files, manifest["roots"], tenant)
    return Bundle(
        tenant=tenant,
        name=metadata["name"],
        revision=manifest["revision"],
        policy_digest=metadata["policy"],
        sha256=sha256(packed),
        signed_by=signed_by,
        sources=_sources(files),
        files=files,
    )


def revision_of(sources: Sources, target: Target) -> str:
    """The revision that the bundle of these has, whoever signs it."""
    return revision(_content(sources, target))


def revision(files: Mapping[str, bytes]) -> str:
    """The digest over every file but the manifest and the signature."""
    counted = {name: sha256_raw(files[name]).hex() for name in files if name not in (MANIFEST, signature.FILE)}
    return sha256(b"aegis.bundle/v1\0", structured.render(counted))


def _content(sources: Sources, target: Target) -> dict[str, bytes]:
    """Every file but the manifest and the signature."""
    modules = {_short(path): text.encode() for path, text in target.modules.items()}
    return _source_files(sources) | modules | {DATA: structured.render(target.data)}


def _short(path: str) -> str:
    """The path of a module, or one with a digest for its name where that is too long; to OPA the package counts, not the path."""
    folder, _, name = path.rpartition("/")
    return path if len(path) <= archive.MAX_NAME else f"{folder}/{sha256(name.encode()).removeprefix('sha256:')[:32]}.rego"


def roots(tenant: str) -> tuple[str, str]:
    """The roots that a bundle of this tenant owns: its packages and its data."""
    return root(tenant), f"aegisdata/{identifier(tenant)}"


def _metadata(manifest: dict[str, Any], tenant: str) -> dict[str, str]:
    if manifest.keys() != {"revision", "roots", "rego_version", "metadata"} or manifest["rego_version"] != 1:
        raise BundleError("manifest", "the manifest holds `revision`, `roots`, `rego_version` 1 and `metadata`, nothing else")
    found = manifest["metadata"]
    if not isinstance(found, dict) or found.keys() != {"format", "tenant", "name", "policy"}:
        raise BundleError("manifest", "the metadata holds `format`, `tenant`, `name` and `policy`, nothing else")
    if not all(isinstance(value, str) for value in found.values()) or found["format"] != FORMAT:
        raise BundleError("manifest", f"expected metadata of format `{FORMAT}`")
    if found["tenant"] != tenant:
        raise BundleError("tenant", f"the bundle is not of tenant `{tenant}`")
    return found


def _keep_to_roots(files: Mapping[str, bytes], stated: Any, tenant: str) -> None:
    if stated != sorted(roots(tenant)):
        raise BundleError("root", f"the roots of a bundle of tenant `{tenant}` are {' and '.join(roots(tenant))}")
    data = structured.read(DATA, files[DATA], limit=archive.MAX_UNPACKED)
    below = data.get("aegisdata", {})
    if data.keys() - {"aegisdata"} or not isinstance(below, dict) or below.keys() - {identifier(tenant)}:
        raise BundleError("root", f"`{DATA}` holds data outside `aegisdata/{identifier(tenant)}`")
    for name, content in files.items():
        if name.endswith(".rego"):
            _keep_to_package(name, content, root(tenant))
        elif name not in (*_REQUIRED, signature.FILE) and not name.startswith(REGO):
            raise BundleError("files", f"`{name}` has no place in a bundle")


def _keep_to_package(name: str, content: bytes, package: str) -> None:
    """The first line of a module that is not empty or a comment must be its package; OPA itself checks the rest of its text."""
    lines = (line.strip() for line in content.decode("utf-8", "replace").split("\n"))  # as OPA reads lines
    first = next((line for line in lines if line and not line.startswith("#")), "")
    stated = first.removeprefix("package ").strip()
    if not first.startswith("package ") or not f"{stated}.".startswith(f"{package}."):
        raise BundleError("root", f"`{name}`: expected a package below `{package}`")


def _source_files(sources: Sources) -> dict[str, bytes]:
    return {
        POLICY: sources.policy.encode(),
        TENANT: structured.render(sources.tenant_data),
        CONTRACTS: structured.render(sources.contracts),
        **{f"{REGO}{name}{TEXT}": text.encode() for name, text in sources.rego.items()},
    }


def _sources(files: Mapping[str, bytes]) -> Sources:
    contracts = structured.read(CONTRACTS, files[CONTRACTS], limit=archive.MAX_UNPACKED)
    if not all(isinstance(digest, str) for digest in contracts.values()):
        raise BundleError("json", f"`{CONTRACTS}` maps tools to digests")
    return Sources(
        policy=_text(POLICY, files[POLICY]),
        tenant_data=structured.read(TENANT, files[TENANT], limit=archive.MAX_UNPACKED),
        contracts=contracts,
        rego={
            name.removeprefix(REGO).removesuffix(TEXT): _text(name, content)
            for name, content in files.items()
            if name.startswith(REGO)
        },
    )


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise BundleError("files", f"`{name}` is not UTF-8") from None
