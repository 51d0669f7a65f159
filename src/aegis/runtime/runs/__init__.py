"""Runs of workflows: started, moved on by events, carried out through the gateway, and found again after a crash."""
