"""The port towards whoever keeps the key-encryption keys (KEK): files today, a key-management service another day.

A KEK never leaves its keeper: data keys are handed over to be wrapped and unwrapped. `context` ties a wrapped key to its tenant and
place, so that it opens nowhere else. What `wrap` gives back is opaque to the store and names the KEK, so that a tenant may have
several: one wraps, the others still unwrap.
"""

from typing import Protocol


class KeyManagement(Protocol):
    """Wraps and unwraps data keys under a tenant's KEK."""

    async def kek_id(self, tenant: str) -> str:
        """The id of the KEK that wraps now.

        Raises:
            ConfigError: The tenant has none, or it cannot be told which one it is.
        """

    def wrapped_by(self, wrapped: bytes) -> str:
        """The id of the KEK under which a key is wrapped; empty when the wrapping does not tell."""

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> bytes:
        """`key`, wrapped under the tenant's KEK of this moment."""

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        """The key that was wrapped, by whichever of the tenant's KEKs.

        Raises:
            SealError: The KEK is not there, or bytes or context are not those of the wrapping.
        """
