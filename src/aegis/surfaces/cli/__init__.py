"""The command `aegis`."""
