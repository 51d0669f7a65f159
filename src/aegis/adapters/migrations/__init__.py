"""One history of the tables for both dialects; `aegis.adapters.migrate` runs it."""
