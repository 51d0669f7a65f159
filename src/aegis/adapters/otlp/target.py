"""Where telemetry goes: our settings first, then the variables that every OpenTelemetry process knows.

`OTEL_EXPORTER_OTLP_HEADERS` may hold a credential: it is never in a setting, a log or a message.

Source: OpenTelemetry specification, "Environment Variable Specification" and "OpenTelemetry Protocol Exporter".
"""

import importlib.metadata
import logging
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from aegis.errors import ConfigError
from aegis.model import conventions as names

log = logging.getLogger("aegis.telemetry")
_MAX_VALUE = 512


class Target(Struct, frozen=True, kw_only=True):
    """A collector, and what is said of this process. `url` is the base: `/v1/traces` and `/v1/metrics` follow it."""

    url: str
    headers: dict[str, str]
    resource: dict[str, str]

    def __repr__(self) -> str:
        return f"Target(url={self.url!r})"


def target(otlp_url: str, environ: Mapping[str, str], instance: str) -> Target | None:
    """The collector of the setting `telemetry.otlp_url`, else that of the environment; `None` when there is none.

    Raises:
        ConfigError: The setting is no URL that could be meant.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    url = otlp_url or _by_environment(environ)
    if not url:
        return None
    if trouble := _trouble(url):
        if otlp_url:
            raise ConfigError(f"`telemetry.otlp_url`: {trouble}")
        log.error("no telemetry is sent: OTEL_EXPORTER_OTLP_ENDPOINT: %s", trouble)
        return None
    return Target(
        url=url.rstrip("/"), headers=_pairs(environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")), resource=_resource(environ, instance)
    )


def _by_environment(environ: Mapping[str, str]) -> str:
    url = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    if url and environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip().lower() == "grpc":
        # Such variables are often set for a whole cluster: they must not keep a gateway from starting.
        log.error("no telemetry is sent: OTEL_EXPORTER_OTLP_PROTOCOL is grpc; set `telemetry.otlp_url` to the port for HTTP")
        return ""
    return url


def _trouble(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "expected a URL such as http://127.0.0.1:4318"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "expected a URL such as http://127.0.0.1:4318"
    if parts.username or parts.password:
        return "expected no credential in it: set OTEL_EXPORTER_OTLP_HEADERS"
    if parts.query or parts.fragment:
        return "expected nothing after its path"
    return ""


def _resource(environ: Mapping[str, str], instance: str) -> dict[str, str]:
    """What the variables say of this process; `OTEL_SERVICE_NAME` goes before `OTEL_RESOURCE_ATTRIBUTES`."""
    stated = _pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    own = {names.SERVICE_NAME: "aegis", names.SERVICE_VERSION: _version(), names.SERVICE_INSTANCE: instance}
    service = environ.get("OTEL_SERVICE_NAME", "").strip()
    return own | stated | ({names.SERVICE_NAME: service} if service else {})


def _version() -> str:
    try:
        return importlib.metadata.version("aegis-runtime")
    except importlib.metadata.PackageNotFoundError:  # run from its sources
        return "unknown"


def _pairs(text: str) -> dict[str, str]:
    """`name=value,name=value`, with percent-encoding; what is not of this form is left out."""
    found = {}
    for each in text.split(","):
        name, equals, value = each.partition("=")
        name, value = unquote(name.strip()), unquote(value.strip())
        if equals and name and len(value) <= _MAX_VALUE and (name + value).isascii() and (name + value).isprintable():
            found[name] = value
    return found
