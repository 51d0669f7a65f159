"""Aegis: the runtime that lets AI agents act, and proves afterwards what it decided."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis.errors import ApprovalPending, GatewayError, PolicyViolation
    from aegis.sdk.agent import Agent
    from aegis.sdk.client import AsyncClient, Client

__all__ = ["Agent", "Client", "AsyncClient", "PolicyViolation", "ApprovalPending", "GatewayError"]


def __getattr__(name: str) -> Any:
    """Load the public names when they are first used, so that `aegis --help` stays fast."""
    if name in ("Client", "AsyncClient"):
        from aegis.sdk import client  # noqa: PLC0415 - lazily, see above

        return getattr(client, name)
    if name == "Agent":
        from aegis.sdk import agent  # noqa: PLC0415 - lazily, see above

        return agent.Agent
    if name in __all__:
        from aegis import errors  # noqa: PLC0415 - lazily, see above

        return getattr(errors, name)
    raise AttributeError(f"module `aegis` has no attribute `{name}`")
