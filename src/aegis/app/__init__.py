"""The composition root: the only package that names concrete adapters.

    stores    settings into a store
    opening   settings into running parts
    process   what runs, as one
    tenants   documents into tenants
    checks    what `aegis check` asks

Everything that can be wrong with files, keys and documents is found here, before the first request. A name is imported when
somebody asks for it: a command that reads the journal does not wait for the parts of a gateway.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis.app.checks import missing_credentials, policy_tests
    from aegis.app.opening import check_keys, instance_name, opa_engine, open_app
    from aegis.app.process import App
    from aegis.app.stores import open_store
    from aegis.app.tenants import ToolHands, directory_of, guards_of, load_tenant, load_tenants, pinned_prompt, ruling_by_files

__all__ = [
    "App",
    "ToolHands",
    "check_keys",
    "directory_of",
    "guards_of",
    "instance_name",
    "load_tenant",
    "load_tenants",
    "missing_credentials",
    "opa_engine",
    "open_app",
    "open_store",
    "pinned_prompt",
    "policy_tests",
    "ruling_by_files",
]

_HOMES = {
    "checks": ("missing_credentials", "policy_tests"),
    "opening": ("check_keys", "instance_name", "opa_engine", "open_app"),
    "process": ("App",),
    "stores": ("open_store",),
    "tenants": (
        "ToolHands", "directory_of", "guards_of", "load_tenant", "load_tenants", "pinned_prompt", "ruling_by_files",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
