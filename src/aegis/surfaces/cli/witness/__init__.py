"""The commands `aegis witness`."""
