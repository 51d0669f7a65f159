"""L2: what an agent's own process imports."""
