"""The decision API and the tool door over HTTP, as one ASGI application."""
