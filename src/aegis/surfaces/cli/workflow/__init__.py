"""The commands `aegis workflow`."""
