"""Runs of workflows: started, moved on by events, carried out through the gateway's decision path, and found again after a crash."""
