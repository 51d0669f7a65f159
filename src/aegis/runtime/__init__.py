"""L2: the thin shell that gathers facts, asks the core, records, then acts."""
