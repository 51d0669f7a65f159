"""Engines: what carries tasks to whoever serves their queue (the port is `runtime.engine`)."""
