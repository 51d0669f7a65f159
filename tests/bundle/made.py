"""Bundles for tests, and tarballs that `pack` would never write."""

import zlib

from aegis.crypto import es256
from aegis.policy.bundle import archive, bundle, signature, structured

KEY = es256.private_key(b"\x07" * 32)
OTHER = es256.private_key(b"\x09" * 32)
MODULE = 'package aegis_acme.main\n\ndecision := {"outcome": "deny", "limit": data.aegisdata.acme.tenant.limit}\n'
SOURCES = bundle.Sources(
    policy="apiVersion: aegis.policy/v1\n",
    tenant_data={"limit": 5, "odd": '<a&b>\u2028\u2029é\x7f\x01\b"\\', "half": 0.5, "small": -1e-05, "wide": 2.0},
    contracts={"pay": "sha256:00"},
    rego={"custom/fx.rego": "package aegis_acme.custom.fx\n"},
)
TARGET = bundle.Target(modules={"aegis_acme/main.rego": MODULE}, data={"aegisdata": {"acme": {"tenant": SOURCES.tenant_data}}})


def build(**changed):
    given = {"tenant": "acme", "name": "core", "policy_digest": "sha256:11", "sources": SOURCES, "target": TARGET, "key": KEY}
    return bundle.build(**{**given, **changed})


def load(packed, tenant="acme", keys=(KEY.public,)):
    return bundle.load(packed, tenant=tenant, keys=keys)


def tar(entries):
    """A tar of (name, content) in the given order; what `pack` refuses is written all the same."""
    parts = []
    for name, content in entries:
        parts += [archive._header(name, len(content)), content, bytes(-len(content) % 512)]
    return b"".join([*parts, bytes(1024)])


def gzipped(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(data) + packer.flush()
    return archive._GZIP + body + zlib.crc32(data).to_bytes(4, "little") + (len(data) % 2**32).to_bytes(4, "little")


def checksummed(header):
    """The header with its check sum put right after a change."""
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


def signed(files, key=KEY, scope="acme", **changed):
    """A bundle of any files, signed as if they were good; `changed` replaces parts of the manifest."""
    files = {name: content for name, content in files.items() if name != signature.FILE}
    if changed:
        manifest = structured.read(bundle.MANIFEST, files[bundle.MANIFEST], limit=10**6) | changed
        files[bundle.MANIFEST] = structured.render(manifest)
    files[signature.FILE] = signature.sign(files, scope, key)
    return gzipped(tar(sorted(files.items())))


def consistent(files, **changed):
    """As `signed`, with the revision that the files have."""
    return signed(files, revision=bundle.revision(files), **changed)
