"""Workflows: the graph that people and planners write, and the pure controller that says what happens next."""
