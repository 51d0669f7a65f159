"""Aegis: the runtime that lets AI agents act, and proves afterwards what it decided."""
