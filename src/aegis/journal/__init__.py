"""L1: what a commit unit is, and the port of the store that commits it."""
