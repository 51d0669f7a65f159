"""The composition root: the only package that names concrete adapters.

    opening   settings into running parts
    process   what runs, as one
    tenants   documents into tenants
    checks    what `aegis check` asks

Everything that can be wrong with files, keys and documents is found here, before the first request.
"""

from aegis.app.checks import missing_credentials, policy_tests
from aegis.app.opening import check_keys, instance_name, opa_engine, open_app, open_store
from aegis.app.process import App
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
