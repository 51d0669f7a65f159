"""The witness over HTTP."""
