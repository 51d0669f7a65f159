"""Settings: one `aegis.toml`, overridden by environment variables, checked before anything starts.

A setting `key` of section `[section]` is overridden by `AEGIS_SECTION_KEY`. Secrets are never settings: keys are files, and a
tool's credential names the environment variable or file that holds it.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from aegis.crypto.note import COSIGNATURE, Verifier, parse_vkey
from aegis.errors import ConfigError, NoteError

FILE = "aegis.toml"


class GatewaySettings(Struct, frozen=True, kw_only=True):
    """Where the gateway listens and what it takes. `url` is where callers reach it, if that is not where it listens."""

    host: str = "127.0.0.1"
    port: int = 8420
    environment: str = "dev"
    audience: str = "aegis-gw"
    url: str = ""
    max_in_flight: int = 512
    max_body_bytes: int = 1_048_576
    max_depth: int = 32
    body_timeout_seconds: int = 15
    drain_seconds: int = 20


class StoreSettings(Struct, frozen=True, kw_only=True):
    """`sqlite:PATH` (relative to the file of the settings) or `postgresql://...`."""

    url: str = "sqlite:data/aegis.db"


class PathSettings(Struct, frozen=True, kw_only=True):
    """Directories, relative to the file of the settings."""

    tenants: str = "tenants"
    keys: str = "keys"


class PolicySettings(Struct, frozen=True, kw_only=True):
    """Who evaluates policies: `native` (this process), or `opa`, an Open Policy Agent at `opa_url` that holds the tenants' bundles.

    With `native`, an OPA at `opa_url` still decides about tools that hand-written Rego is about.
    """

    engine: str = "native"
    opa_url: str = ""
    opa_timeout_ms: int = 500


class EvidenceSettings(Struct, frozen=True, kw_only=True):
    """Where checkpoints are kept outside the database, and which witnesses cosign them.

    `witness_url` and `witness_key` name one witness, or several in the same order with commas between them; `quorum` says how many
    of them a checkpoint needs, 0 all of them. A checkpoint that is older than `max_age_seconds` is told as an alarm.
    """

    anchor: str = "anchor"
    witness_url: str = ""
    witness_key: str = ""
    quorum: int = 0
    max_age_seconds: int = 5

    @property
    def witnesses(self) -> tuple[tuple[str, Verifier], ...]:
        """URL and key of each witness.

        Raises:
            ConfigError: They are not as many URLs as keys, not addresses, not keys of witnesses, or one key stands there twice.
        """
        urls, texts = _listed(self.witness_url), _listed(self.witness_key)
        if len(urls) != len(texts):
            raise ConfigError(
                f"expected a URL and a key for each witness, found {len(urls)} of `witness_url` and {len(texts)} keys"
            )
        if not all(url.startswith(("http://", "https://")) for url in urls):
            raise ConfigError("`witness_url`: expected URLs that start with http:// or https://")
        keys = [_witness_key(text) for text in texts]
        if len({key.key for key in keys}) != len(keys):
            raise ConfigError("`witness_key`: one key stands there twice, and would count twice")
        return tuple(zip([url.rstrip("/") for url in urls], keys, strict=True))

    @property
    def needed(self) -> int:
        """How many witnesses must have cosigned a checkpoint."""
        return self.quorum or len(self.witnesses)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def _witness_key(text: str) -> Verifier:
    try:
        key = parse_vkey(text)
    except NoteError as error:
        raise ConfigError(f"`witness_key`: {error}; `aegis witness show` prints the key of a witness") from None
    if key.algorithm != COSIGNATURE:
        raise ConfigError("`witness_key`: this is the key of a log; expected that of a witness, as `aegis witness show` prints it")
    return key


class ExportSettings(Struct, frozen=True, kw_only=True):
    """Where events are sent: `url` (empty: nowhere), in `format`, `batch` at once, with the bearer token in `token_file`.

    `tenants` are names with commas between them, `_system` among them; none means all. `by` is `gateway`, or `command`, when only
    `aegis audit push` sends them.
    """

    url: str = ""
    format: str = "jsonl"
    batch: int = 500
    token_file: str = ""
    tenants: str = ""
    by: str = "gateway"

    @property
    def named(self) -> tuple[str, ...]:
        """The tenants whose events are sent; none means all."""
        return tuple(name.strip() for name in self.tenants.split(",") if name.strip())


class TelemetrySettings(Struct, frozen=True, kw_only=True):
    """The OpenTelemetry collector that gets spans and metrics, and how often it gets metrics.

    `otlp_url` is where it takes OTLP over HTTP; when it is empty, the variable `OTEL_EXPORTER_OTLP_ENDPOINT` says where, if it is
    set.
    """

    otlp_url: str = ""
    metrics_seconds: int = 60


class WorkflowSettings(Struct, frozen=True, kw_only=True):
    """Runs of workflows in this process. `agents` are the modules, with commas between them, whose functions queues may name.

    Nothing is imported for a queue that names another one. `engine` says who dispatches tasks: `local` (each process its own),
    `dbos` (a database that all processes share), or `auto`: `local` with a store in SQLite, `dbos` with one in PostgreSQL.
    `database` is where `dbos` keeps its queues, in the form of `store.url`; empty: beside the store. A queue in which nothing
    happens is looked into every `poll_ms`; a process without a sign of life for `lease_seconds` counts as gone; `in_flight` is how
    many tasks one process serves at once.
    """

    agents: str = ""
    engine: str = "auto"
    database: str = ""
    poll_ms: int = 250
    lease_seconds: int = 4
    in_flight: int = 64

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that may be imported."""
        return tuple(_listed(self.agents))


class LogSettings(Struct, frozen=True, kw_only=True):
    """`level` is debug, info, warning or error; `format` is json or text."""

    level: str = "info"
    format: str = "json"


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that is set. `root` is the directory that relative paths start from."""

    root: Path
    gateway: GatewaySettings = GatewaySettings()
    store: StoreSettings = StoreSettings()
    paths: PathSettings = PathSettings()
    policy: PolicySettings = PolicySettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    log: LogSettings = LogSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    export: ExportSettings = ExportSettings()
    workflows: WorkflowSettings = WorkflowSettings()

    @property
    def url(self) -> str:
        """Where callers reach this gateway."""
        return self.gateway.url or f"http://{self.gateway.host}:{self.gateway.port}"

    @property
    def tenants(self) -> Path:
        """Where the tenants' documents lie."""
        return self.root / self.paths.tenants

    @property
    def keys(self) -> Path:
        """Where the keys lie."""
        return self.root / self.paths.keys

    @property
    def anchor(self) -> Path:
        """Where the newest checkpoints are kept outside the database."""
        return self.root / self.evidence.anchor

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, or `None` when the store is PostgreSQL."""
        return self.root / self.store.url.removeprefix("sqlite:") if self.store.url.startswith("sqlite:") else None


_SECTIONS: dict[str, type[Struct]] = {
    "gateway": GatewaySettings,
    "store": StoreSettings,
    "paths": PathSettings,
    "policy": PolicySettings,
    "telemetry": TelemetrySettings,
    "log": LogSettings,
    "evidence": EvidenceSettings,
    "export": ExportSettings,
    "workflows": WorkflowSettings,
}
_RANGES: dict[tuple[str, str], tuple[int, int]] = {
    ("gateway", "port"): (0, 65535),
    ("gateway", "max_in_flight"): (1, 100_000),
    ("gateway", "max_body_bytes"): (1024, 64 * 1024 * 1024),
    ("gateway", "max_depth"): (4, 128),
    ("gateway", "body_timeout_seconds"): (1, 300),
    ("gateway", "drain_seconds"): (1, 3600),
    ("policy", "opa_timeout_ms"): (10, 60_000),
    ("telemetry", "metrics_seconds"): (1, 3600),
    ("evidence", "quorum"): (0, 16),
    ("evidence", "max_age_seconds"): (1, 86_400),
    ("export", "batch"): (1, 10_000),
    ("workflows", "poll_ms"): (10, 60_000),
    ("workflows", "lease_seconds"): (1, 3600),
    ("workflows", "in_flight"): (1, 10_000),
}
_CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("policy", "engine"): ("native", "opa"),
    ("log", "level"): ("debug", "info", "warning", "error"),
    ("log", "format"): ("json", "text"),
    ("export", "format"): ("jsonl", "ocsf", "cloudevents"),
    ("export", "by"): ("gateway", "command"),
    ("workflows", "engine"): ("auto", "local", "dbos"),
}


def load(directory: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of a working directory.

    Raises:
        ConfigError: Names the file (or variable), the key, and what was expected.
    """
    environ = os.environ if environ is None else environ
    path = directory / FILE
    if not path.is_file():
        raise ConfigError(f"{path}: not found; run `aegis init {directory}` to make a working directory, or pass --dir")
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    for name in document:
        if name not in _SECTIONS:
            raise ConfigError(f"{path}: unknown section `[{name}]`{_nearest(name, _SECTIONS)}")
    sections = {name: _section(path, name, document.get(name, {}), environ) for name in _SECTIONS}
    settings = Settings(root=directory.resolve(), **sections)
    if not settings.store.url.startswith(("sqlite:", "postgresql://", "postgres://")):
        raise ConfigError(f"{_place(path, 'store', 'url', environ)}: expected `sqlite:PATH` or `postgresql://...`")
    database = settings.workflows.database
    if database and not database.startswith(("sqlite:", "postgresql://", "postgres://")):
        raise ConfigError(f"{_place(path, 'workflows', 'database', environ)}: expected `sqlite:PATH` or `postgresql://...`")
    found = settings.policy
    url = _place(path, "policy", "opa_url", environ)
    if found.engine == "opa" and not found.opa_url:
        raise ConfigError(f'{url}: `engine = "opa"` needs the URL of an OPA, such as http://127.0.0.1:8181')
    if found.opa_url and not found.opa_url.startswith(("http://", "https://")):
        raise ConfigError(f"{url}: expected a URL that starts with http:// or https://")
    _check_evidence(path, settings.evidence)
    return settings


def _check_evidence(path: Path, found: EvidenceSettings) -> None:
    try:
        count = len(found.witnesses)
    except ConfigError as error:
        raise ConfigError(f"{path}: section `[evidence]`: {error}") from None
    if found.quorum > count:
        raise ConfigError(f"{path}: section `[evidence]`: `quorum` is {found.quorum}, but there are {count} witnesses")
    if not found.anchor:
        raise ConfigError(f"{path}: section `[evidence]`: `anchor`: expected a path, better on another disk than the database")


def _place(path: Path, section: str, key: str, environ: Mapping[str, str]) -> str:
    """Where a value came from: the variable, when there is one."""
    variable = f"AEGIS_{section}_{key}".upper()
    return f"environment variable `{variable}`" if variable in environ else f"{path}: key `{section}.{key}`"


def _section(path: Path, name: str, given: Any, environ: Mapping[str, str]) -> Any:
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: `{name}` must be a section, written `[{name}]`")
    known = {field.name: field for field in fields(_SECTIONS[name])}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ConfigError(f"{path}: unknown key `{name}.{key}`{_nearest(key, known)}")
        values[key] = _checked(f"{path}: key `{name}.{key}`", name, known[key], value)
    for key, field in known.items():
        variable = f"AEGIS_{name}_{key}".upper()
        if variable in environ:
            place = _place(path, name, key, environ)
            values[key] = _checked(place, name, field, _typed(place, environ[variable], field))
    return _SECTIONS[name](**values)


def _typed(place: str, text: str, field: FieldInfo) -> Any:
    if field.type is int:
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"{place}: expected an integer") from None
    return text


def _checked(place: str, section: str, field: FieldInfo, value: Any) -> Any:
    wanted = {int: "an integer", str: "text"}[field.type]
    if type(value) is not field.type:
        raise ConfigError(f"{place}: expected {wanted}")
    low_high = _RANGES.get((section, field.name))
    if low_high and not low_high[0] <= value <= low_high[1]:
        raise ConfigError(f"{place}: expected {low_high[0]} to {low_high[1]}, found {value}")
    choices = _CHOICES.get((section, field.name))
    if choices and value not in choices:
        raise ConfigError(f"{place}: found `{value}`; expected one of {', '.join(choices)}")
    return value


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; expected one of {', '.join(sorted(known))}"
