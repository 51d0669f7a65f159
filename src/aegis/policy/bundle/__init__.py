"""Signed policy bundles: what Open Policy Agent loads, and what a gateway compiles, in one file of reproducible bytes."""
